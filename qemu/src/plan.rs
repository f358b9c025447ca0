//! A machine with everything decided: addresses, ports, places. Pure, apart from the ports that were found before.

use crate::{Artifacts, ClusterFolder, ClusterSpec, MachineSpec};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The address's last byte is 10 + number, and stays clear of the broadcast address.
pub const MOST_MACHINES: usize = 200;

/// Port of the Kubernetes API inside a machine.
pub const KUBERNETES_PORT: u16 = 6443;
/// Port of the machine API inside a machine.
pub const MACHINE_API_PORT: u16 = 50000;
/// How container images name the registry that the harness runs.
pub const REGISTRY_HOST: &str = "registry.test:5000";

/// A cluster with everything decided; kept in its folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPlan {
    /// What was asked for.
    pub spec: ClusterSpec,
    /// What its machines boot.
    pub artifacts: Artifacts,
    /// Where the registry listens on 127.0.0.1.
    pub registry_port: u16,
    /// In the order of the spec's machines.
    pub ports: Vec<MachinePorts>,
}

/// Where a machine's two APIs are reached on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachinePorts {
    /// The Kubernetes API, on a control plane.
    pub kubernetes: u16,
    /// The machine API.
    pub machine_api: u16,
}

/// One machine with everything decided.
#[derive(Clone, Debug)]
pub struct MachinePlan {
    /// What was asked for.
    pub spec: MachineSpec,
    /// The cluster's name.
    pub cluster: String,
    /// 1 and up.
    pub number: u8,
    /// Where it is reached.
    pub ports: MachinePorts,
    /// Its files.
    pub folder: PathBuf,
    /// Its serial console's log.
    pub console: PathBuf,
    /// The switch's socket for it.
    pub switch_socket: PathBuf,
    /// What it boots.
    pub artifacts: Artifacts,
}

// === impl ClusterPlan ===

impl ClusterPlan {
    /// The machines, in order.
    pub fn machines(&self, folder: &ClusterFolder) -> Vec<MachinePlan> {
        (self.spec.machines.iter().zip(&self.ports).zip(1u8..))
            .map(|((spec, ports), number)| MachinePlan {
                spec: spec.clone(),
                cluster: self.spec.name.clone(),
                number,
                ports: *ports,
                folder: folder.machine(&spec.name),
                console: folder.console(&spec.name),
                switch_socket: folder.path().join(format!("switch-{number}.sock")),
                artifacts: self.artifacts.clone(),
            })
            .collect()
    }
}

// === impl MachinePlan ===

impl MachinePlan {
    /// Hardware address of the interface to the outside.
    pub fn uplink_mac(&self) -> String {
        format!("52:54:00:00:01:{:02x}", self.number)
    }

    /// Hardware address of the interface to the other machines.
    pub fn cluster_mac(&self) -> String {
        cluster_mac(self.number)
    }

    /// Its address on the network between machines.
    pub fn cluster_address(&self) -> Ipv4Addr {
        cluster_address(self.number)
    }
}

/// Hardware address of machine `number` on the network between machines.
pub fn cluster_mac(number: u8) -> String {
    format!("52:54:00:00:02:{number:02x}")
}

/// Address of machine `number` on the network between machines, 10.77.0.0/24.
pub fn cluster_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + number)
}
