//! The machine config: one TOML file a machine, a table a concern; and its secrets, in a file of their own.
//!
//! Types and checks only: no files are read here. Unknown keys are refused.

mod diff;
mod machine;
mod node;
mod parse;
mod place;
mod problem;
mod rules;
mod secrets;
mod shape;

pub use diff::{Change, Changes, Effect, diff};
pub use ipnet::IpNet;
pub use machine::{
    AuditLog, Cluster, ControlPlane, Engine, Interface, Machine, MachineConfig, Network, Oci, Registry, Role, SignedBy,
    Storage,
};
pub use node::{CpuPolicy, Eviction, Node, Shutdown, SoftEviction, StaticPod, Swap, TopologyPolicy, TopologyScope};
pub use parse::{parse, parse_bundle, parse_secrets, schema};
pub use problem::{Problem, sentence};
pub use secrets::{Bundle, ControlPlaneSecrets, EncryptionKey, KeyPair, RegistryLogin, Secrets};
