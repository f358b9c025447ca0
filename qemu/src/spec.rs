//! What is wanted: a cluster and its machines, as plain values that are kept in the cluster's folder.

use config::Role;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Enough for a control plane and a few pods; the OS itself needs a fraction of it.
const DEFAULT_MEMORY_MIB: u32 = 1024;

/// A cluster as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Its name: a DNS label, and the name of its folder.
    pub name: String,
    /// What its machines are made of.
    pub provider: ProviderName,
    /// At least one.
    pub machines: Vec<MachineSpec>,
}

/// One machine as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Host name and node name, a DNS label.
    pub name: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// Memory in MiB; the namespaces provider sets no limit.
    pub memory_mib: u32,
    /// Virtual processors; the namespaces provider sets no limit.
    pub cpus: u32,
    /// How a virtual machine starts.
    pub boot: Boot,
    /// Whether the machine finds its config and secrets; without them it waits in maintenance mode.
    pub is_configured: bool,
    /// How it runs pods.
    #[serde(default)]
    pub node: config::Node,
    /// A raw disk image to start from instead of the built one, for tests that break it.
    pub disk_image: Option<PathBuf>,
}

/// What machines are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderName {
    /// Virtual machines: the real boot chain.
    Qemu,
    /// Processes of this host in namespaces of their own: native speed, needs root, boots no kernel.
    Namespaces,
}

/// How a virtual machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// Firmware, boot loader, unified kernel image: what metal does.
    Uefi,
    /// QEMU loads kernel and initramfs itself; a second faster.
    Kernel,
}

// === impl ClusterSpec ===

impl ClusterSpec {
    /// `nodes` machines named `<name>-1` and up: the first is control plane and worker, the rest are pure workers.
    pub fn new(name: &str, nodes: usize) -> Self {
        let machine = |number: usize| MachineSpec::new(&format!("{name}-{number}"), roles_of(number));
        Self {
            name: name.to_owned(),
            provider: ProviderName::Qemu,
            machines: (1..=nodes).map(machine).collect(),
        }
    }

    /// Whether its names can be host names and its machines can get addresses.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            is_dns_label(&self.name),
            "cluster name {:?} is not a DNS label: use up to 40 of a-z, 0-9 and inner hyphens",
            self.name
        );
        anyhow::ensure!(
            (1..=crate::plan::MOST_MACHINES).contains(&self.machines.len()),
            "{} nodes asked for: a cluster on one host has 1 to {}",
            self.machines.len(),
            crate::plan::MOST_MACHINES
        );
        for (index, machine) in self.machines.iter().enumerate() {
            let is_taken = self.machines[..index].iter().any(|other| other.name == machine.name);
            anyhow::ensure!(!is_taken, "two machines are named {:?}", machine.name);
        }
        Ok(())
    }
}

// === impl MachineSpec ===

impl MachineSpec {
    /// A machine of this name that boots as metal does.
    pub fn new(name: &str, roles: Vec<Role>) -> Self {
        Self {
            name: name.to_owned(),
            roles,
            memory_mib: DEFAULT_MEMORY_MIB,
            cpus: 2,
            boot: Boot::Uefi,
            is_configured: true,
            node: config::Node::default(),
            disk_image: None,
        }
    }
}

// === impl ProviderName ===

impl std::fmt::Display for ProviderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ProviderName::Qemu => "qemu",
            ProviderName::Namespaces => "namespaces",
        })
    }
}

impl std::str::FromStr for ProviderName {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "qemu" => Ok(ProviderName::Qemu),
            "namespaces" => Ok(ProviderName::Namespaces),
            _ => Err(format!("no provider is named {word:?}: use qemu or namespaces")),
        }
    }
}

fn roles_of(number: usize) -> Vec<Role> {
    match number {
        1 => vec![Role::ControlPlane, Role::Worker],
        _ => vec![Role::Worker],
    }
}

/// Shorter than a label's 63, so that `-<number>` fits behind it.
fn is_dns_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 40 && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_machine_is_a_control_plane() {
        let spec = ClusterSpec::new("two", 2);
        spec.check().unwrap();
        assert_eq!(spec.machines[0].roles, [Role::ControlPlane, Role::Worker]);
        assert_eq!(spec.machines[1].roles, [Role::Worker]);
        assert_eq!(spec.machines[1].name, "two-2");
    }

    #[test]
    fn impossible_clusters_are_refused() {
        for (name, nodes) in [
            ("", 1),
            ("Big", 1),
            ("-a", 1),
            ("a/b", 1),
            ("../x", 1),
            ("a", 0),
            ("a", 1000),
        ] {
            assert!(
                ClusterSpec::new(name, nodes).check().is_err(),
                "{name:?} with {nodes} nodes"
            );
        }
    }
}
