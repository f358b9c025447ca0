//! What this machine is and has, read from the kernel.

use super::NodeContext;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::fs;
use std::net::IpAddr;

/// The version of upstream's kubelet that this node behaves like.
pub const KUBELET: &str = "v1.36.0+pintle";
/// Pods that a node takes: upstream's default.
pub const PODS: u32 = 110;
/// Memory kept for the machine itself, upstream's hard eviction threshold: below it the node is short of memory.
const MEMORY_KEPT: u64 = 100 << 20;
/// Thousandths of DATA that are kept free: upstream's nodefs.available<10%.
const DISK_KEPT: u64 = 100;

/// A machine, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// As Go names it.
    pub architecture: &'static str,
    /// The node's addresses, at most one of each family.
    pub ips: Vec<IpAddr>,
    /// CPUs that are online.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    name: String,
    memory_available: u64,
    disk: u64,
    disk_available: u64,
    pids: u64,
    pids_max: u64,
    machine_id: String,
    system_uuid: String,
    boot_id: String,
    kernel: String,
}

impl Facts {
    /// Reads them; what cannot be read counts as nothing.
    pub async fn gather(context: &NodeContext) -> Self {
        let meminfo = text("/proc/meminfo");
        let loadavg = text("/proc/loadavg");
        let (disk, disk_available) = disk(&context.paths.kubelet);
        Self {
            architecture: if cfg!(target_arch = "aarch64") {
                "arm64"
            } else {
                "amd64"
            },
            ips: ips(context).await,
            cpus: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
            memory: kilobytes(&meminfo, "MemTotal:"),
            name: context.config.machine.name.clone(),
            memory_available: kilobytes(&meminfo, "MemAvailable:"),
            disk,
            disk_available,
            // `running/all` is the fourth word of /proc/loadavg, man 5 proc_loadavg.
            pids: loadavg
                .split(' ')
                .nth(3)
                .and_then(|word| word.split_once('/')?.1.parse().ok())
                .unwrap_or(0),
            pids_max: text("/proc/sys/kernel/pid_max").trim().parse().unwrap_or(u64::MAX),
            machine_id: text("/etc/machine-id").trim().to_owned(),
            system_uuid: text("/sys/class/dmi/id/product_uuid").trim().to_owned(),
            boot_id: text("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// Memory that pods may have.
    pub fn allocatable_memory(&self) -> u64 {
        self.memory.saturating_sub(MEMORY_KEPT)
    }

    /// Disk that pods may fill.
    pub fn allocatable_disk(&self) -> u64 {
        self.disk / 1000 * (1000 - DISK_KEPT)
    }

    pub(super) fn capacity(&self) -> Value {
        self.resources(self.memory, self.disk)
    }

    pub(super) fn allocatable(&self) -> Value {
        self.resources(self.allocatable_memory(), self.allocatable_disk())
    }

    fn resources(&self, memory: u64, disk: u64) -> Value {
        json!({
            "cpu": self.cpus.to_string(),
            "memory": format!("{}Ki", memory / 1024),
            "ephemeral-storage": format!("{}Ki", disk / 1024),
            "pods": PODS.to_string(),
        })
    }

    pub(super) fn addresses(&self) -> Value {
        let ips = self
            .ips
            .iter()
            .map(|ip| json!({"type": "InternalIP", "address": ip.to_string()}));
        ips.chain([json!({"type": "Hostname", "address": self.name})]).collect()
    }

    pub(super) fn node_info(&self) -> Value {
        let version = env!("CARGO_PKG_VERSION");
        json!({
            "architecture": self.architecture,
            "bootID": self.boot_id,
            "containerRuntimeVersion": format!("pintle://{version}"),
            "kernelVersion": self.kernel,
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET,
            "machineID": self.machine_id,
            "operatingSystem": "linux",
            "osImage": format!("Pintle {version}"),
            "systemUUID": self.system_uuid,
        })
    }

    pub(super) fn memory_is_short(&self) -> bool {
        self.memory_available < MEMORY_KEPT && self.memory > 0
    }

    pub(super) fn disk_is_short(&self) -> bool {
        self.disk_available < self.disk / 1000 * DISK_KEPT
    }

    pub(super) fn pids_are_short(&self) -> bool {
        self.pids > self.pids_max / 10 * 9
    }
}

/// The addresses inside the config's node prefix, else the first global one of each family.
async fn ips(context: &NodeContext) -> Vec<IpAddr> {
    let all = net::host::addresses().await.unwrap_or_default();
    choose(
        all.iter().map(|address| address.net.addr()),
        context.config.cluster.node_cidr,
    )
}

fn choose(all: impl Iterator<Item = IpAddr> + Clone, prefix: Option<IpNet>) -> Vec<IpAddr> {
    if let Some(prefix) = prefix {
        return all.clone().find(|ip| prefix.contains(ip)).into_iter().collect();
    }
    let first = |v4: bool| all.clone().find(|ip| ip.is_ipv4() == v4);
    first(true).into_iter().chain(first(false)).collect()
}

fn disk(path: &std::path::Path) -> (u64, u64) {
    match nix::sys::statvfs::statvfs(path) {
        Ok(stat) => (
            stat.blocks() * stat.fragment_size(),
            stat.blocks_available() * stat.fragment_size(),
        ),
        Err(_) => (0, 0),
    }
}

fn kilobytes(meminfo: &str, field: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_address_is_the_one_in_the_nodes_prefix() {
        let all: Vec<IpAddr> = ["10.0.2.15", "fd00::1", "10.77.0.11"]
            .iter()
            .map(|ip| ip.parse().unwrap())
            .collect();
        let choose = |prefix: Option<&str>| choose(all.iter().copied(), prefix.map(|prefix| prefix.parse().unwrap()));
        assert_eq!(choose(Some("10.77.0.0/24")), [all[2]]);
        assert_eq!(choose(None), [all[0], all[1]]);
        assert!(choose(Some("192.0.2.0/24")).is_empty());
    }
}
