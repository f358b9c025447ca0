//! The cgroup tree of design: `/init`, `/system/*`, `/kubepods/*`; who is in a group, and how a group is emptied.

use crate::console;
use crate::provider::Provider;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where cgroup2 is mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// Groups whose children get controllers; parents before children.
const INNER: [&str; 5] = ["", "system", "kubepods", "kubepods/burstable", "kubepods/besteffort"];
/// Groups that hold processes.
const LEAVES: [&str; 4] = ["init", "system/agent", "system/control", "system/etcd"];

/// The tree as it came to be.
#[derive(Clone, Debug)]
pub struct Cgroups {
    root: PathBuf,
    /// Whether there is a cgroup2 at all.
    mounted: bool,
}

/// Makes the tree, moves PID 1 into `/init` and hands the controllers down.
pub fn prepare(provider: Provider) -> Cgroups {
    let cgroups = Cgroups {
        root: ROOT.into(),
        mounted: Path::new(ROOT).join("cgroup.procs").exists(),
    };
    if !cgroups.mounted {
        console::warn("cgroup v2 is not to be had: services and pods are neither limited nor cleaned up after");
        return cgroups;
    }
    if provider == Provider::Namespaces {
        leave_the_hosts_root(&cgroups);
    }
    for group in LEAVES.iter().chain(&INNER[1..]) {
        if let Err(why) = fs::create_dir_all(cgroups.path(group)) {
            console::warn(format_args!("make cgroup /{group}: {why}"));
        }
    }
    // A group with processes cannot hand controllers down (cgroup-v2.rst "No Internal Process Constraint").
    if let Err(why) = fs::write(cgroups.path("init").join("cgroup.procs"), "1") {
        console::warn(format_args!("move PID 1 to cgroup /init: {why}"));
    }
    hand_down_controllers(&cgroups);
    cgroups
}

impl Cgroups {
    /// No tree at all.
    pub fn none() -> Self {
        Cgroups {
            root: ROOT.into(),
            mounted: false,
        }
    }

    /// The folder of a group, e.g. of `system/agent`.
    pub fn path(&self, group: &str) -> PathBuf {
        self.root.join(group)
    }

    /// An open `cgroup.procs` to enter the group by; nothing where there are no groups.
    pub fn entrance(&self, group: &str) -> io::Result<Option<std::os::fd::OwnedFd>> {
        if !self.mounted {
            return Ok(None);
        }
        let procs = fs::OpenOptions::new()
            .write(true)
            .open(self.path(group).join("cgroup.procs"))?;
        Ok(Some(procs.into()))
    }

    /// Whether any process is in the group or below it.
    pub fn is_populated(&self, group: &str) -> bool {
        let events = fs::read_to_string(self.path(group).join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// SIGKILL to everything in the group and below it, at once (`cgroup.kill`).
    pub fn kill(&self, group: &str) -> io::Result<()> {
        fs::write(self.path(group).join("cgroup.kill"), "1")
    }

    /// The processes in the group and below it.
    pub fn processes(&self, group: &str) -> Vec<i32> {
        let mut found = Vec::new();
        let mut folders = vec![self.path(group)];
        while let Some(folder) = folders.pop() {
            let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(procs.lines().filter_map(|pid| pid.parse::<i32>().ok()));
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            let below = entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.extend(below.map(|entry| entry.path()));
        }
        found
    }
}

/// In namespaces, PID 1 may still be in the host's root group; the tree must not grow there. It gets a group of its own,
/// a cgroup namespace whose root that is, and a mount that shows it as `/`.
fn leave_the_hosts_root(cgroups: &Cgroups) {
    // The true root has no cgroup.type (cgroup-v2.rst "Core Interface Files").
    if cgroups.path("cgroup.type").exists() {
        return;
    }
    let name = std::env::var("PINTLE_MACHINE").unwrap_or_else(|_| "machine".to_owned());
    let Some(own) = free_group(cgroups, &name) else {
        return console::warn(format_args!(
            "all of the host's cgroups /pintle/{name}… are taken; staying in its root"
        ));
    };
    let moved = fs::create_dir_all(&own)
        .and_then(|()| fs::write(own.join("cgroup.procs"), "1"))
        .and_then(|()| unshare(CloneFlags::CLONE_NEWCGROUP).map_err(io::Error::from))
        .and_then(|()| umount2(ROOT, MntFlags::MNT_DETACH).map_err(io::Error::from))
        .and_then(|()| {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("cgroup2"), ROOT, Some("cgroup2"), flags, None::<&str>).map_err(io::Error::from)
        });
    if let Err(why) = moved {
        console::warn(format_args!(
            "leave the host's root cgroup for {}: {why}",
            own.display()
        ));
    }
}

/// The first group of this name that nobody is in: machines of several clusters may have one name, and a machine that
/// is gone leaves its groups behind, empty.
fn free_group(cgroups: &Cgroups, name: &str) -> Option<PathBuf> {
    let mut names = std::iter::once(name.to_owned()).chain((2..100).map(|number| format!("{name}-{number}")));
    let free = names.find(|name| !cgroups.is_populated(&format!("pintle/{name}")))?;
    Some(cgroups.path("pintle").join(free))
}

fn hand_down_controllers(cgroups: &Cgroups) {
    let available = fs::read_to_string(cgroups.path("cgroup.controllers")).unwrap_or_default();
    if available.trim().is_empty() {
        return console::warn("cgroup v2 has no controllers here (a v1 host keeps them): pods run without limits");
    }
    for group in INNER {
        for controller in available.split_ascii_whitespace() {
            // One at a time: a controller that cannot be handed down must not hold back the others.
            if let Err(why) = fs::write(
                cgroups.path(group).join("cgroup.subtree_control"),
                format!("+{controller}"),
            ) {
                console::warn(format_args!(
                    "hand controller {controller} down from cgroup /{group}: {why}"
                ));
            }
        }
    }
}
