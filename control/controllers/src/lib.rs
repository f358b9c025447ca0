//! The controllers, one folder each; every one reaches the cluster only through `client`.
//!
//! [`CONTROLLERS`](table) is the table: a controller is a folder and a line there. They share caches, see [`Context`].

mod context;
mod event_ttl;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod pod_gc;
mod service_account;
mod table;

pub use context::{Context, Settings};
pub use node_ipam::{Allocator, Full};
pub use node_lifecycle::{GRACE, taints};
pub use table::run;
