//! The cgroup v2 tree: groups with limits, killing and removing them (cgroup-v2.rst). The facade of all resource limits.

use crate::Limits;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The controllers that limits need.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// How long a killed group may take to become empty. Killed tasks die within milliseconds unless a disk hangs.
const EMPTY_DEADLINE: Duration = Duration::from_secs(5);

/// A mounted cgroup v2 tree.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

/// One group of it.
#[derive(Clone, Debug)]
pub struct Group {
    dir: PathBuf,
}

/// What could not be done to a group.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path}: {cause}")]
pub struct CgroupError {
    /// What was tried.
    pub what: String,
    /// The group's folder or one of its files.
    pub path: PathBuf,
    /// Why it failed.
    pub cause: io::Error,
}

// === impl Tree ===

impl Tree {
    /// The tree that is mounted at `root`, if one is.
    pub fn at(root: &Path) -> Option<Tree> {
        // Every cgroup v2 folder has this file, and no other file system's does.
        root.join("cgroup.controllers")
            .exists()
            .then(|| Tree { root: root.to_owned() })
    }

    /// The controllers that limits need and this tree does not have.
    pub fn missing(&self) -> Vec<&'static str> {
        let there = words(&self.root.join("cgroup.controllers"));
        CONTROLLERS
            .into_iter()
            .filter(|name| !there.iter().any(|word| word == name))
            .collect()
    }

    /// Makes a group, and the way to it, with limits; those whose controller the machine lacks are left out.
    pub fn make(&self, path: &Path, limits: &Limits) -> Result<Group, CgroupError> {
        let group = self.group(path);
        // Mostly only its own folder is missing.
        let made = match fs::create_dir(&group.dir) {
            Err(cause) => cause.kind() == io::ErrorKind::AlreadyExists,
            Ok(()) => true,
        };
        let given = if made {
            words(&group.dir.join("cgroup.controllers"))
        } else {
            Vec::new()
        };
        if !wanted(limits).all(|name| given.iter().any(|word| word == name)) {
            self.make_way(path, limits)?;
        }
        group.limit(limits)?;
        Ok(group)
    }

    fn make_way(&self, path: &Path, limits: &Limits) -> Result<(), CgroupError> {
        let mut parent = self.root.clone();
        for part in path.components() {
            hand_down_controllers(&parent, limits)?;
            parent.push(part);
            match fs::create_dir(&parent) {
                Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(refused("make cgroup", &parent)(cause));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A group that exists or existed.
    pub fn group(&self, path: &Path) -> Group {
        Group {
            dir: self.root.join(path),
        }
    }
}

/// The controllers that a group with these limits is given. Those that few need cost every group a little, so they are handed down
/// only towards a group that has such a limit.
fn wanted(limits: &Limits) -> impl Iterator<Item = &'static str> {
    let hugetlb = (!limits.hugetlb.is_empty()).then_some("hugetlb");
    let cpuset = (limits.cpus.is_some() || limits.memory_nodes.is_some()).then_some("cpuset");
    CONTROLLERS.into_iter().chain(hugetlb).chain(cpuset)
}

/// Lets the children of a group have limits of their own.
fn hand_down_controllers(dir: &Path, limits: &Limits) -> Result<(), CgroupError> {
    let there = words(&dir.join("cgroup.controllers"));
    let file = dir.join("cgroup.subtree_control");
    let enabled = words(&file);
    let has = |list: &[String], name: &str| list.iter().any(|word| word == name);
    let lacking = wanted(limits).filter(|name| has(&there, name) && !has(&enabled, name));
    let lacking: Vec<String> = lacking.map(|name| format!("+{name}")).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    write(&file, &lacking.join(" "))
}

// === impl Group ===

impl Group {
    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The group of that name in it.
    pub(crate) fn child(&self, name: &str) -> Group {
        Group {
            dir: self.dir.join(name),
        }
    }

    fn limit(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.write_all(settings(limits))
    }

    /// Gives it other limits while it runs; what is `None` is unlimited from now on.
    pub fn limit_anew(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.write_all(unlimited(limits).into_iter().chain(settings(limits)))
    }

    /// Files that are missing belong to controllers that the machine lacks.
    fn write_all(&self, settings: impl IntoIterator<Item = (String, String)>) -> Result<(), CgroupError> {
        for (file, value) in settings {
            match write(&self.dir.join(file), &value) {
                Err(error) if error.cause.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// The CPUs that it was told to use, as the kernel writes them; empty where it was not.
    pub fn cpus(&self) -> String {
        let text = fs::read_to_string(self.dir.join("cpuset.cpus")).unwrap_or_default();
        text.trim().to_owned()
    }

    /// Has it use these CPUs from now on; one that is gone, or never was told, is left as it is.
    pub fn use_cpus(&self, cpus: &str) -> Result<(), CgroupError> {
        let file = self.dir.join("cpuset.cpus");
        match file.exists() && self.cpus() != cpus {
            true => write(&file, cpus),
            false => Ok(()),
        }
    }

    /// Bytes of memory in use.
    pub fn memory_in_use(&self) -> u64 {
        let text = fs::read_to_string(self.dir.join("memory.current")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Its folder, open, for clone3(2).
    pub fn open(&self) -> Result<OwnedFd, CgroupError> {
        fs::File::open(&self.dir)
            .map(OwnedFd::from)
            .map_err(refused("open cgroup", &self.dir))
    }

    /// Kills every process in it and below; none is fine.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match write(&self.dir.join("cgroup.kill"), "1") {
            Err(error) if error.cause.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Its processes, those of groups below left out.
    pub fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// How many of its processes the kernel has killed because of its memory limit.
    pub fn oom_kills(&self) -> u64 {
        let events = fs::read_to_string(self.dir.join("memory.events")).unwrap_or_default();
        let value = |line: &str| line.strip_prefix("oom_kill ")?.parse().ok();
        events.lines().find_map(value).unwrap_or(0)
    }

    /// Removes it and all below, waiting until killed processes are gone; it is fine when there is none.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + EMPTY_DEADLINE;
        loop {
            match fs::remove_dir(&self.dir) {
                Ok(()) => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(cause) if cause.raw_os_error() != Some(libc::EBUSY) || Instant::now() > deadline => {
                    return Err(refused("remove cgroup", &self.dir)(cause));
                }
                Err(_) => {}
            }
            let below = children(&self.dir);
            if below.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            for child in below {
                Group { dir: child }.remove()?;
            }
        }
    }
}

/// Files and what is written to them.
fn settings(limits: &Limits) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    if let Some(quota) = limits.cpu_quota_us {
        settings.push(("cpu.max".to_owned(), format!("{quota} 100000")));
    }
    if let Some(weight) = limits.cpu_weight {
        settings.push(("cpu.weight".to_owned(), weight.to_string()));
    }
    if let Some(bytes) = limits.memory_max {
        settings.push(("memory.max".to_owned(), bytes.to_string()));
    }
    if let Some(bytes) = limits.swap_max {
        settings.push(("memory.swap.max".to_owned(), bytes.to_string()));
    }
    for (size, bytes) in &limits.hugetlb {
        // Pages that are reserved and never touched count as well: a program dies at mmap(2) and not of SIGBUS later.
        settings.push((format!("hugetlb.{size}.max"), bytes.to_string()));
        settings.push((format!("hugetlb.{size}.rsvd.max"), bytes.to_string()));
    }
    if let Some(cpus) = &limits.cpus {
        settings.push(("cpuset.cpus".to_owned(), cpus.clone()));
    }
    if let Some(nodes) = &limits.memory_nodes {
        settings.push(("cpuset.mems".to_owned(), nodes.clone()));
    }
    if let Some(most) = limits.pids_max {
        settings.push(("pids.max".to_owned(), most.to_string()));
    }
    if limits.oom_group {
        settings.push(("memory.oom.group".to_owned(), "1".to_owned()));
    }
    settings
}

/// What the kernel starts with, for whatever `limits` does not say.
fn unlimited(limits: &Limits) -> Vec<(String, String)> {
    let defaults = [
        (limits.cpu_quota_us.is_none(), "cpu.max", "max 100000"),
        (limits.cpu_weight.is_none(), "cpu.weight", "100"),
        (limits.memory_max.is_none(), "memory.max", "max"),
        (limits.pids_max.is_none(), "pids.max", "max"),
    ];
    let unsaid = defaults.into_iter().filter(|(is_unsaid, _, _)| *is_unsaid);
    unsaid
        .map(|(_, file, value)| (file.to_owned(), value.to_owned()))
        .collect()
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn write(file: &Path, value: &str) -> Result<(), CgroupError> {
    let opened = fs::OpenOptions::new().write(true).open(file);
    opened
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(refused(&format!("write {value:?} to"), file))
}

fn refused(what: &str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let (what, path) = (what.to_owned(), path.to_owned());
    move |cause| CgroupError { what, path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_lines() {
        let limits = Limits {
            cpu_quota_us: Some(50_000),
            cpu_weight: Some(79),
            memory_max: Some(1 << 20),
            swap_max: Some(0),
            hugetlb: [("2MB".to_owned(), 2 << 20)].into(),
            cpus: Some("0-1".to_owned()),
            memory_nodes: Some("0".to_owned()),
            pids_max: Some(10),
            oom_group: true,
        };
        let lines: Vec<String> = settings(&limits)
            .into_iter()
            .map(|(file, value)| format!("{file}={value}"))
            .collect();
        let expected = [
            "cpu.max=50000 100000",
            "cpu.weight=79",
            "memory.max=1048576",
            "memory.swap.max=0",
            "hugetlb.2MB.max=2097152",
            "hugetlb.2MB.rsvd.max=2097152",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "pids.max=10",
            "memory.oom.group=1",
        ];
        assert_eq!(lines, expected);
        assert!(settings(&Limits::default()).is_empty());
        assert!(unlimited(&limits).is_empty());
        assert_eq!(
            unlimited(&Limits::default())[2],
            ("memory.max".to_owned(), "max".to_owned())
        );
    }

    #[test]
    fn what_is_no_tree_is_none() {
        assert!(Tree::at(Path::new("/proc")).is_none());
    }
}
