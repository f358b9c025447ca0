//! What this machine is and has, read from the kernel.

use super::NodeContext;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

/// The version of upstream's kubelet that this node behaves like.
pub const KUBELET: &str = "v1.36.0+pintle";

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
    /// Bytes of swap.
    pub swap: u64,
    /// Bytes in huge pages, by their size as Kubernetes writes it, e.g. `2Mi`.
    pub huge_pages: BTreeMap<String, u64>,
    name: String,
    disk: u64,
    node: config::Node,
    machine_id: String,
    system_uuid: String,
    boot_id: String,
    kernel: String,
}

impl Facts {
    /// Reads them; what cannot be read counts as nothing.
    pub async fn gather(context: &NodeContext) -> Self {
        let meminfo = text("/proc/meminfo");
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
            swap: kilobytes(&meminfo, "SwapTotal:"),
            huge_pages: huge_pages(),
            disk: disk(&context.paths.kubelet),
            node: context.config.node.clone(),
            machine_id: text("/etc/machine-id").trim().to_owned(),
            system_uuid: text("/sys/class/dmi/id/product_uuid").trim().to_owned(),
            boot_id: text("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// Thousandths of CPUs that pods may have.
    pub fn allocatable_cpu(&self) -> u64 {
        (self.cpus * 1000).saturating_sub(self.node.reserved_cpu_millis.into())
    }

    /// Memory that pods may have: what is neither reserved, nor kept free by eviction, nor in huge pages.
    pub fn allocatable_memory(&self) -> u64 {
        let reserved = u64::from(self.node.reserved_memory_mib) << 20;
        let huge: u64 = self.huge_pages.values().sum();
        let kept = reserved + self.node.eviction.memory_bytes(self.memory) + huge;
        self.memory.saturating_sub(kept)
    }

    /// Disk that pods may fill.
    pub fn allocatable_disk(&self) -> u64 {
        self.disk / 100 * 100_u64.saturating_sub(self.node.eviction.disk_percent.into())
    }

    pub(super) fn capacity(&self) -> Value {
        self.resources(self.cpus * 1000, self.memory, self.disk)
    }

    pub(super) fn allocatable(&self) -> Value {
        self.resources(
            self.allocatable_cpu(),
            self.allocatable_memory(),
            self.allocatable_disk(),
        )
    }

    fn resources(&self, cpu_milli: u64, memory: u64, disk: u64) -> Value {
        let mut resources = json!({
            "cpu": if cpu_milli.is_multiple_of(1000) { (cpu_milli / 1000).to_string() } else { format!("{cpu_milli}m") },
            "memory": format!("{}Ki", memory / 1024),
            "ephemeral-storage": format!("{}Ki", disk / 1024),
            "pods": self.node.max_pods.to_string(),
        });
        for (size, bytes) in &self.huge_pages {
            let amount = if *bytes == 0 {
                "0".to_owned()
            } else {
                format!("{}Ki", bytes / 1024)
            };
            resources[format!("hugepages-{size}")] = amount.into();
        }
        resources
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
}

/// What the kernel has set aside, for each size that it knows (Documentation/admin-guide/mm/hugetlbpage.rst).
fn huge_pages() -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let size = name.strip_prefix("hugepages-").and_then(|name| name.strip_suffix("kB"));
        let Some(size) = size.and_then(|size| size.parse::<u64>().ok()) else {
            continue;
        };
        let count = fs::read_to_string(entry.path().join("nr_hugepages")).unwrap_or_default();
        let bytes = count.trim().parse().unwrap_or(0) * size * 1024;
        let size = match size {
            size if size % (1 << 20) == 0 => format!("{}Gi", size >> 20),
            size if size % (1 << 10) == 0 => format!("{}Mi", size >> 10),
            size => format!("{size}Ki"),
        };
        found.insert(size, bytes);
    }
    found
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

/// The size of the disk that a folder is on, or will be on once it is made.
fn disk(path: &std::path::Path) -> u64 {
    let there = path.ancestors().find(|folder| folder.exists());
    let stat = there.and_then(|folder| nix::sys::statvfs::statvfs(folder).ok());
    stat.map_or(0, |stat| stat.blocks() * stat.fragment_size())
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
