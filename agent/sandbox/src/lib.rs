//! A plan made real: processes in namespaces, cgroups and mounts; knows no Kubernetes.

mod plan;

pub use plan::{ContainerPlan, Limits, Mount, Network, PodPlan, Root, Seccomp, Source, User};
