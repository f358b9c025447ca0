//! What this node and its pods use at one moment: what metrics and statistics are made of.

use crate::node::Paths;
use crate::pods::directory::{Directory, Entry};
use sandbox::usage::{ContainerUsage, PodUsage, Traffic};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Everything at once.
#[derive(Clone)]
pub struct Usage {
    pub at: SystemTime,
    pub node: Node,
    /// The pods that run, as their workers last saw them.
    pub pods: Vec<Pod>,
}

/// One running pod.
#[derive(Clone)]
pub struct Pod {
    pub entry: Entry,
    pub usage: PodUsage,
    /// Nothing for a pod in the machine's own network.
    pub traffic: Vec<Traffic>,
}

/// The machine.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub cpu: Duration,
    pub memory_total: u64,
    pub memory: u64,
    pub working_set: u64,
    pub anonymous: u64,
    pub swap_total: u64,
    pub swap: u64,
    pub faults: u64,
    pub major_faults: u64,
    pub booted: u64,
    pub tasks: u64,
    pub tasks_max: u64,
    pub traffic: Vec<Traffic>,
    /// Where pods keep what they write.
    pub disk: Disk,
    /// Where images are.
    pub image_disk: Disk,
}

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub capacity: u64,
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// Looks.
pub async fn look(directory: &Directory, paths: &Paths) -> Usage {
    let entries: Vec<(Entry, sandbox::Pod)> = directory
        .all()
        .into_iter()
        .filter_map(|entry| Some((entry.clone(), entry.sandbox?)))
        .collect();
    let sandboxes: Vec<sandbox::Pod> = entries.iter().map(|(_, sandbox)| sandbox.clone()).collect();
    let usages = sandbox::usage::of_pods(&sandboxes).await;
    let paths = paths.clone();
    let looked = tokio::task::spawn_blocking(move || Usage {
        at: SystemTime::now(),
        node: Node::look(&paths),
        pods: entries
            .into_iter()
            .zip(usages)
            .filter_map(|((entry, sandbox), usage)| Some(Pod::new(entry, &sandbox, usage?)))
            .collect(),
    });
    looked.await.unwrap_or_else(|_| Usage {
        at: SystemTime::now(),
        node: Node::default(),
        pods: Vec::new(),
    })
}

// === impl Usage ===

impl Usage {
    /// The pod of that UID.
    pub fn of_pod(&self, uid: &str) -> Option<&Pod> {
        self.pods
            .iter()
            .find(|pod| pod.entry.pod.metadata.uid.as_deref() == Some(uid))
    }
}

// === impl Pod ===

impl Pod {
    /// The same attempt of a container, as it was then.
    pub fn of_container(&self, container: &ContainerUsage) -> Option<&ContainerUsage> {
        let mut all = self.usage.containers.iter();
        all.find(|known| (&known.name, known.attempt) == (&container.name, container.attempt))
    }

    fn new(entry: Entry, sandbox: &sandbox::Pod, usage: PodUsage) -> Self {
        let spec = entry.pod.spec.as_ref();
        let shares_network = spec.and_then(|spec| spec.host_network) == Some(true);
        let traffic = match shares_network {
            true => Vec::new(),
            false => sandbox::usage::traffic(sandbox.pid()),
        };
        Self { entry, usage, traffic }
    }
}

// === impl Node ===

impl Node {
    /// Looks; blocks.
    pub fn look(paths: &Paths) -> Self {
        let (meminfo, stat, vmstat) = (text("/proc/meminfo"), text("/proc/stat"), text("/proc/vmstat"));
        let kilobytes = |name: &str| number(&meminfo, name) * 1024;
        let (total, free) = (kilobytes("MemTotal:"), kilobytes("MemFree:"));
        let used = total.saturating_sub(free);
        Self {
            cpu: cpu(&stat),
            memory_total: total,
            memory: used,
            working_set: used.saturating_sub(kilobytes("Inactive(file):")),
            anonymous: kilobytes("AnonPages:"),
            swap_total: kilobytes("SwapTotal:"),
            swap: kilobytes("SwapTotal:").saturating_sub(kilobytes("SwapFree:")),
            faults: number(&vmstat, "pgfault"),
            major_faults: number(&vmstat, "pgmajfault"),
            booted: number(&stat, "btime"),
            tasks: tasks(&text("/proc/loadavg")),
            tasks_max: tasks_max(),
            traffic: sandbox::usage::traffic(std::process::id()),
            disk: Disk::of(&paths.kubelet),
            image_disk: Disk::of(&paths.oci),
        }
    }
}

// === impl Disk ===

impl Disk {
    fn of(path: &Path) -> Self {
        let Ok(stat) = nix::sys::statvfs::statvfs(path) else {
            return Self::default();
        };
        Self {
            capacity: stat.blocks() * stat.fragment_size(),
            available: stat.blocks_available() * stat.fragment_size(),
            inodes: stat.files(),
            inodes_free: stat.files_free(),
        }
    }

    pub fn used(&self) -> u64 {
        self.capacity.saturating_sub(self.available)
    }
}

/// All that was not idle nor waiting for a disk (man 5 proc_stat); a guest's time is in the user's already.
fn cpu(stat: &str) -> Duration {
    let line = stat.lines().next().unwrap_or_default();
    let numbers = line.split_ascii_whitespace().skip(1);
    let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| numbers.get(*index)).sum();
    Duration::from_millis(busy * 10)
}

/// Process IDs that there are: the kernel gives out no more than either says.
fn tasks_max() -> u64 {
    let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    let limits = limits.iter().filter_map(|path| text(path).trim().parse().ok());
    limits.min().unwrap_or(0)
}

/// `running/all` is the fourth word of /proc/loadavg, man 5 proc_loadavg.
fn tasks(loadavg: &str) -> u64 {
    let word = loadavg.split(' ').nth(3).and_then(|word| word.split_once('/'));
    word.and_then(|(_, all)| all.parse().ok()).unwrap_or(0)
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_counters_are_read() {
        assert_eq!(
            cpu("cpu  100 20 30 4000 50 6 7 8 9 0\ncpu0 1 1\n"),
            Duration::from_millis(1710)
        );
        assert_eq!(tasks("0.5 0.4 0.3 2/345 6789\n"), 345);
        assert_eq!(number("MemTotal:       24 kB\nMemFree: 7 kB\n", "MemFree:"), 7);
        let node = Node::look(&Paths::below(Path::new("/nowhere")));
        assert!(node.working_set > 0 && node.working_set < node.memory_total, "{node:?}");
        assert_eq!(node.disk, Disk::default());
    }
}
