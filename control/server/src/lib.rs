//! The Kubernetes API over HTTP: who asks, may they, what does the cluster say to it, then the store.
//!
//! A request's way: [`listen`] (TLS, identity) → `request` (which verb on what) → `authorize` → `decode` → `admission` →
//! `verbs` (which name no kind) → store. What knows a kind stands in `actions/`, `admission/` or `streams/`.

mod actions;
mod admission;
mod audit;
mod authenticate;
mod authorize;
mod body;
mod call;
mod compress;
mod decode;
mod definitions;
mod encode;
mod filter;
mod idle;
mod in_flight;
mod in_process;
mod listen;
mod manage;
mod negotiate;
mod options;
mod paths;
pub mod protobuf;
mod query;
mod render;
mod reply;
mod request;
mod server;
mod streams;
mod traffic;
mod user;
mod verbs;

pub use audit::{Audit, AuditError, AuditFile};
pub use authenticate::{Tokens, TokensError};
pub use authorize::policy::reconcile as reconcile_policy;
pub use authorize::{Asked, Attributes, Authorizer, Decision, Resource};
pub use in_process::InProcess;
pub use listen::{PROTOCOLS, listen};
pub use server::Server;
pub use streams::Nodes;
pub use user::User;
