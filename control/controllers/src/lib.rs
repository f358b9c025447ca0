//! The controllers, one folder each; every one reaches the cluster only through `client`.
//!
//! [`CONTROLLERS`](table) is the table: a controller is a folder and a line there. They share caches, see [`Context`].

mod bootstrap_tokens;
mod certificates;
mod cluster_authentication;
mod cluster_role_aggregation;
mod config_map;
mod context;
mod event_ttl;
mod every_kind;
mod garbage_collector;
mod kubernetes_service;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod pod;
mod pod_gc;
mod resource_quota;
mod root_ca;
mod service_account;
mod service_account_tokens;
mod service_cidrs;
mod storage_protection;
mod table;
mod taint_eviction;

pub use certificates::Signer;
pub use context::{Context, PodNetwork, Settings};
pub use kubernetes_service::publish;
pub use node_ipam::{Allocator, Full};
pub use node_lifecycle::{GRACE, taints};
pub use service_account_tokens::{AccountTokens, TokenOf};
pub use table::run;
