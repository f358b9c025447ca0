//! What pods and their containers use: cgroup v2's counters; of a machine without cgroup v2, what /proc counts of their
//! processes, which forgets those that nobody of the container waited for.

use crate::cgroup::Group;
use crate::{ContainerState, Pod};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Counters of one group of processes. What the kernel does not say is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since its start.
    pub cpu: Duration,
    /// The part of it in programs.
    pub cpu_user: Duration,
    /// The part of it in the kernel.
    pub cpu_system: Duration,
    /// Periods in which it ran under a CPU limit.
    pub periods: u64,
    /// Those of them in which it was held back.
    pub throttled_periods: u64,
    /// How long it was held back.
    pub throttled: Duration,
    /// Bytes of memory, page cache included.
    pub memory: u64,
    /// The same without cache that is easily given back: what counts against a limit.
    pub working_set: u64,
    /// Bytes that no file is behind.
    pub anonymous: u64,
    /// Bytes of page cache.
    pub cache: u64,
    /// Bytes in swap.
    pub swap: u64,
    /// Page faults.
    pub faults: u64,
    /// Those of them that waited for a disk.
    pub major_faults: u64,
    /// Processes and threads.
    pub tasks: u64,
    /// Processes that the kernel killed for lack of memory.
    pub oom_kills: u64,
    /// Processes alone.
    pub processes: u64,
    /// Most bytes of memory that it ever had.
    pub memory_peak: u64,
    /// How often it wanted more memory than it may have.
    pub memory_limit_hits: u64,
    /// Bytes of files that are mapped.
    pub mapped: u64,
    /// Bytes that the kernel has for it.
    pub kernel: u64,
    /// Operations and bytes read from disks.
    pub read: [u64; 2],
    /// Operations and bytes written to disks.
    pub written: [u64; 2],
    /// Most bytes of swap that it may have.
    pub swap_limit: Option<u64>,
    /// Its share of the CPUs beside others, 100 by default.
    pub cpu_weight: u64,
    /// Most processes and threads that it may have.
    pub tasks_limit: Option<u64>,
    /// Most memory that it may have.
    pub memory_limit: Option<u64>,
    /// Microseconds of CPU that it may have in each of so many.
    pub cpu_limit: Option<(u64, u64)>,
}

/// One running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
    /// As in its plan.
    pub name: String,
    /// As in its plan.
    pub attempt: u32,
    /// When it started.
    pub started_at: SystemTime,
    /// What it uses.
    pub usage: Usage,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// All of it; its supervisor counts where there are cgroups.
    pub all: Usage,
    /// Its running containers.
    pub containers: Vec<ContainerUsage>,
}

/// What went through one network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Its name.
    pub interface: String,
    /// Bytes, packets, errors and drops that came.
    pub received: [u64; 4],
    /// The same that went.
    pub sent: [u64; 4],
}

/// What these pods use, in their order; nothing for one that does not answer.
pub async fn of_pods(pods: &[Pod]) -> Vec<Option<PodUsage>> {
    let mut states = Vec::new();
    for pod in pods {
        states.push((pod.clone(), pod.states().await.ok()));
    }
    let counted = tokio::task::spawn_blocking(move || count(&states)).await;
    counted.unwrap_or_else(|_| vec![None; pods.len()])
}

fn count(pods: &[(Pod, Option<Vec<ContainerState>>)]) -> Vec<Option<PodUsage>> {
    let without_groups = pods.iter().any(|(pod, _)| pod.group().is_none());
    let processes = if without_groups {
        by_namespace()
    } else {
        BTreeMap::new()
    };
    let each = pods.iter().map(|(pod, states)| {
        let running = states.as_ref()?.iter().filter(|state| state.ended.is_none());
        let containers = running.map(|state| ContainerUsage {
            name: state.name.clone(),
            attempt: state.attempt,
            started_at: state.started_at,
            usage: match pod.group() {
                Some(group) => of_group(&group.child(&format!("{}.{}", state.name, state.attempt))),
                None => processes
                    .get(&namespace(state.pid).unwrap_or_default())
                    .cloned()
                    .unwrap_or_default(),
            },
        });
        let containers: Vec<ContainerUsage> = containers.collect();
        let all = match pod.group() {
            Some(group) => of_group(group),
            None => containers
                .iter()
                .fold(Usage::default(), |sum, each| sum.plus(&each.usage)),
        };
        Some(PodUsage { all, containers })
    });
    each.collect()
}

// === impl Usage ===

impl Usage {
    fn plus(mut self, other: &Usage) -> Usage {
        self.cpu += other.cpu;
        self.cpu_user += other.cpu_user;
        self.cpu_system += other.cpu_system;
        self.memory += other.memory;
        self.working_set += other.working_set;
        self.anonymous += other.anonymous;
        self.cache += other.cache;
        self.swap += other.swap;
        self.faults += other.faults;
        self.major_faults += other.major_faults;
        self.tasks += other.tasks;
        self.processes += other.processes;
        self
    }
}

/// A cgroup's counters (cgroup-v2.rst, "CPU Interface Files", "Memory Interface Files").
fn of_group(group: &Group) -> Usage {
    let dir = group.dir();
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let number = |name: &str| read(name).trim().parse::<u64>().unwrap_or(0);
    let (cpu, memory, events) = (read("cpu.stat"), read("memory.stat"), read("memory.events"));
    let micros = |name: &str| Duration::from_micros(value(&cpu, name));
    let current = number("memory.current");
    let io = read("io.stat");
    Usage {
        processes: read("cgroup.procs").lines().count() as u64,
        memory_peak: number("memory.peak"),
        memory_limit_hits: value(&events, "max"),
        mapped: value(&memory, "file_mapped"),
        kernel: value(&memory, "kernel"),
        read: [of_disks(&io, "rios="), of_disks(&io, "rbytes=")],
        written: [of_disks(&io, "wios="), of_disks(&io, "wbytes=")],
        // `max`: none.
        swap_limit: read("memory.swap.max").trim().parse().ok(),
        cpu_weight: number("cpu.weight"),
        tasks_limit: read("pids.max").trim().parse().ok(),
        cpu: micros("usage_usec"),
        cpu_user: micros("user_usec"),
        cpu_system: micros("system_usec"),
        periods: value(&cpu, "nr_periods"),
        throttled_periods: value(&cpu, "nr_throttled"),
        throttled: micros("throttled_usec"),
        memory: current,
        working_set: current.saturating_sub(value(&memory, "inactive_file")),
        anonymous: value(&memory, "anon"),
        cache: value(&memory, "file"),
        swap: number("memory.swap.current"),
        faults: value(&memory, "pgfault"),
        major_faults: value(&memory, "pgmajfault"),
        tasks: number("pids.current"),
        oom_kills: value(&events, "oom_kill"),
        // `max`: none.
        memory_limit: read("memory.max").trim().parse().ok(),
        cpu_limit: cpu_limit(&read("cpu.max")),
    }
}

/// A number of every disk together, in lines like `8:0 rbytes=1 wbytes=2 rios=3 wios=4` (cgroup-v2.rst, "IO Interface Files").
fn of_disks(text: &str, key: &str) -> u64 {
    let words = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key));
    words.filter_map(|number| number.parse::<u64>().ok()).sum()
}

fn cpu_limit(text: &str) -> Option<(u64, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some((quota.parse().ok()?, period.parse().ok()?))
}

/// A number behind its name, in lines of both.
fn value(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// Everybody's counters, by PID namespace: each container has one of its own.
fn by_namespace() -> BTreeMap<String, Usage> {
    let mut found: BTreeMap<String, Usage> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Some(namespace) = namespace(pid) else { continue };
        let Some(usage) = of_process(&entry.path()) else {
            continue;
        };
        let sum = found.remove(&namespace).unwrap_or_default();
        found.insert(namespace, sum.plus(&usage));
    }
    found
}

fn namespace(pid: u32) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
    link.into_os_string().into_string().ok()
}

/// One process with the children that it waited for (man 5 proc_pid_stat; times are in hundredths of seconds, USER_HZ).
fn of_process(dir: &Path) -> Option<Usage> {
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    // The name is in parentheses and may hold anything.
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| {
        words
            .get(number - 3)
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let hundredths = |count: u64| Duration::from_millis(count * 10);
    let status = fs::read_to_string(dir.join("status")).unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let count = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
        count.unwrap_or(0) * 1024
    };
    let (user, system) = (field(14) + field(16), field(15) + field(17));
    let resident = bytes("VmRSS:");
    Some(Usage {
        cpu: hundredths(user + system),
        cpu_user: hundredths(user),
        cpu_system: hundredths(system),
        memory: resident,
        working_set: resident,
        anonymous: bytes("RssAnon:"),
        cache: bytes("RssFile:"),
        swap: bytes("VmSwap:"),
        faults: field(10) + field(12),
        major_faults: field(12),
        tasks: field(20),
        processes: 1,
        ..Usage::default()
    })
}

/// How many files processes have open, and how many of those are sockets.
pub fn open_files(processes: &[u32]) -> (u64, u64) {
    let (mut files, mut sockets) = (0, 0);
    for pid in processes {
        for file in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            files += 1;
            let target = fs::read_link(file.path()).unwrap_or_default();
            sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
        }
    }
    (files, sockets)
}

/// What went through the interfaces of a process's network (man 5 proc_pid_net, `dev`), the loopback left out.
pub fn traffic(pid: u32) -> Vec<Traffic> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    interfaces(&text)
}

fn interfaces(text: &str) -> Vec<Traffic> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let each = lines.filter_map(|(name, numbers)| {
        let numbers: Vec<u64> = numbers
            .split_ascii_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        // The first eight are what came, the next what went: bytes, packets, errors, drops, and more.
        Some(Traffic {
            interface: name.trim().to_owned(),
            received: numbers.get(..4)?.try_into().ok()?,
            sent: numbers.get(8..12)?.try_into().ok()?,
        })
    });
    each.filter(|traffic| traffic.interface != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Tree;

    #[test]
    fn a_groups_counters_are_read() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("cgroup.controllers", "cpu memory pids\n"),
            (
                "cpu.stat",
                "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 7\nnr_throttled 2\n",
            ),
            ("cpu.max", "50000 100000\n"),
            ("memory.current", "1000\n"),
            ("memory.max", "max\n"),
            (
                "memory.stat",
                "anon 600\nfile 400\ninactive_file 300\nactive_file 100\npgfault 5\npgmajfault 1\n",
            ),
            ("memory.events", "oom 1\noom_kill 3\n"),
            ("pids.current", "4\n"),
            ("cgroup.procs", "11\n12\n"),
            ("memory.peak", "2000\n"),
            (
                "io.stat",
                "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n8:16 rbytes=5 wbytes=0 rios=1 wios=0\n",
            ),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let usage = of_group(&Tree::at(dir.path()).unwrap().group(Path::new("")));
        assert_eq!((usage.cpu, usage.periods), (Duration::from_millis(1500), 7));
        assert_eq!((usage.memory, usage.working_set, usage.cache), (1000, 700, 400));
        assert_eq!((usage.memory_limit, usage.cpu_limit), (None, Some((50_000, 100_000))));
        assert_eq!((usage.tasks, usage.oom_kills, usage.faults), (4, 3, 5));
        assert_eq!((usage.processes, usage.memory_peak), (2, 2000));
        assert_eq!((usage.read, usage.written), ([2, 15], [2, 20]));
    }

    #[test]
    fn without_cgroups_processes_are_counted() {
        let mine = namespace(std::process::id()).unwrap();
        let usage = by_namespace().remove(&mine).unwrap();
        assert!(usage.tasks > 0 && usage.working_set > 0, "{usage:?}");
    }

    #[test]
    fn interfaces_are_read() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  \
                    eth0: 100 2 1 3 0 0 0 0 200 4 5 6 0 0 0 0\n";
        let [eth] = interfaces(text).try_into().unwrap();
        assert_eq!(
            (eth.interface.as_str(), eth.received, eth.sent),
            ("eth0", [100, 2, 1, 3], [200, 4, 5, 6])
        );
    }
}
