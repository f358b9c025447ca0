//! The machine config: one TOML file a machine, a table a concern; and its secrets, in a file of their own.
//!
//! Types and checks only: no files are read here. Unknown keys are refused.

mod machine;
mod secrets;

pub use ipnet::IpNet;
pub use machine::{
    Cluster, ControlPlane, Engine, Interface, Machine, MachineConfig, Network, Oci, Registry, Role, Storage,
};
pub use secrets::{Bundle, ControlPlaneSecrets, KeyPair, Secrets};
