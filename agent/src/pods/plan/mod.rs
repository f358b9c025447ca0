//! From a pod's spec to the sandbox's plain Linux words: Kubernetes ends here. Pure; whatever had to be fetched comes in.

mod container;
mod devices;
pub mod dns;
pub mod downward;
pub mod env;
pub mod env_file;
mod expand;
pub mod hosts;
mod mounts;
mod pod;
mod ports;
pub mod requests;
pub mod resources;
pub mod security;
mod services;
mod signal;
pub mod user;

pub use container::{Inputs, command_line, container, home, variables};
pub use devices::with_devices;
pub use mounts::{Volume, Volumes, What};
pub use pod::{LABEL_UID, pod};
pub use ports::{host_ports, wanted};
pub use resources::cgroup;
pub use signal::signal;

use super::cpus::Cpus;
use super::tokens::TokenReference;
use super::topology::Topology;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What plans say about the machine that they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The node's name.
    pub node: String,
    /// The node's addresses, the first family first.
    pub ips: Vec<IpAddr>,
    /// Allocatable thousandths of CPUs.
    pub cpu_milli: i64,
    /// Allocatable memory in bytes.
    pub memory: i64,
    /// All memory in bytes.
    pub memory_capacity: i64,
    /// Allocatable bytes of disk for logs, upper layers and volumes.
    pub ephemeral_storage: i64,
    /// Bytes in huge pages, by their size as Kubernetes writes it, e.g. `2Mi`.
    pub huge_pages: BTreeMap<String, i64>,
    /// Bytes of swap that pods may share; 0 for none.
    pub swap: i64,
    /// Most pods.
    pub pods: i64,
    /// Most processes of one pod.
    pub pod_pids: Option<u64>,
    /// CPUs that containers may have for themselves.
    pub cpus: Cpus,
    /// How near their CPUs and devices are to be.
    pub topology: Topology,
}

impl Machine {
    /// All that pods may ask for.
    pub fn amounts(&self) -> requests::Amounts {
        let mut amounts: requests::Amounts = self
            .huge_pages
            .iter()
            .map(|(size, bytes)| (format!("hugepages-{size}"), *bytes))
            .collect();
        let fixed = [
            ("cpu", self.cpu_milli),
            ("memory", self.memory),
            ("ephemeral-storage", self.ephemeral_storage),
            ("pods", self.pods),
        ];
        amounts.extend(fixed.map(|(name, amount)| (name.to_owned(), amount)));
        amounts
    }
}

/// ConfigMaps and Secrets of the pod's namespace, by name, None for one that does not exist; and the pod's tokens.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    /// ConfigMaps.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    /// Secrets.
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// Tokens of the pod's account.
    pub tokens: BTreeMap<TokenReference, String>,
    /// Claims of the namespace, by name, each with the volume that it is bound to, if it is there.
    pub claims: BTreeMap<String, Option<Claim>>,
    /// Layers of the images that are volumes, by the volume's name.
    pub images: BTreeMap<String, Vec<std::path::PathBuf>>,
    /// Volumes that drivers have mounted, by the volume's name.
    pub driven: Volumes,
    /// Services of which containers learn by variables.
    pub services: Vec<Arc<Service>>,
    /// Files of the pod's volumes that have values of variables.
    pub env_files: env_file::EnvFiles,
}

/// A claim, and its volume once it is bound.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The claim.
    pub claim: PersistentVolumeClaim,
    /// Its volume.
    pub volume: Option<PersistentVolume>,
}

/// Names of ConfigMaps and Secrets, and which tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// ConfigMaps.
    pub config_maps: BTreeSet<String>,
    /// Secrets.
    pub secrets: BTreeSet<String>,
    /// Tokens of the pod's account.
    pub tokens: BTreeSet<TokenReference>,
    /// Claims.
    pub claims: BTreeSet<String>,
}

/// A container that cannot be planned as the pod stands; one sentence for its status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Lookups {
    /// The ConfigMap of that name, or upstream's words for a missing one.
    pub fn config_map(&self, name: &str) -> Result<&ConfigMap, Refusal> {
        let found = self.config_maps.get(name).and_then(Option::as_ref);
        found.ok_or_else(|| Refusal(format!("configmap {name:?} not found")))
    }

    /// The Secret of that name, or upstream's words for a missing one.
    pub fn secret(&self, name: &str) -> Result<&Secret, Refusal> {
        let found = self.secrets.get(name).and_then(Option::as_ref);
        found.ok_or_else(|| Refusal(format!("secret {name:?} not found")))
    }
}
