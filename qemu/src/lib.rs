//! Boots images into clusters: machines, the switch between them, providers, and what "healthy" means.
//!
//! [`ClusterSpec`] says what is wanted, a [`Supervisor`] makes it real and keeps it so, a [`Cluster`] is what everybody
//! else holds: it speaks to the supervisor over a socket, so that a test and a command line do the same things.

mod accelerator;
mod artifacts;
mod cluster;
mod folder;
mod founding;
pub mod health;
pub mod kubernetes;
mod machine;
pub mod oci_images;
mod plan;
mod ports;
pub mod provider;
mod registry;
mod spec;
mod supervisor;
pub mod switch;
pub mod testing;
pub mod timeline;
mod tools;
pub mod wait;

pub use accelerator::Accelerator;
pub use artifacts::Artifacts;
pub use cluster::{Cluster, Listed};
pub use folder::{ClusterFolder, caches};
pub use machine::Machine;
pub use plan::{ClusterPlan, MachinePlan, MachinePorts, REGISTRY_HOST};
pub use spec::{Boot, ClusterSpec, MachineSpec, ProviderName};
pub use supervisor::{MachineState, MachineStatus, Supervisor};
