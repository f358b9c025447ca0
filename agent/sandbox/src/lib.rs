//! A plan made real: processes in namespaces, cgroups and mounts; knows no Kubernetes.
//!
//! [`Sandboxes`] starts a pod-init for each pod and finds them again after the agent restarted; [`Pod`] speaks to one of them
//! over its socket. Every call is a connection of its own, so a `Pod` holds no state that a dead agent could lose.

pub mod bare;
pub mod cgroup;
mod connection;
mod exec;
pub mod filter;
mod plan;
mod pod;
pub mod protocol;
mod sandboxes;
mod state;
pub mod sweep;
mod terminal;
pub mod usage;
pub mod wire;

pub use exec::{Exec, ExecError, Reader, Writer};
pub use plan::{
    Access, ContainerPlan, ExecPlan, Forbids, Ipc, LOG_FILES, LOG_SIZE, Limits, Mount, Network, Node, Opens, PodPlan,
    Processes, Propagation, Root, Seccomp, Source, User, Users, log_files,
};
pub use pod::{CallError, DestroyError, Events, Pod, SOCKET, StartContainerError};
pub use sandboxes::{AdoptError, OpenError, PLAN, READY, Sandboxes, Settings, StartError};
pub use state::{ContainerState, Ended};
