//! Containers without a cluster: create, start, wait for the end and delete, by Pintle's sandbox and by other runtimes.
//!
//! All of them do the same: one process in PID, mount, network, IPC, UTS and cgroup namespaces, the same root, mounts,
//! hidden paths, capabilities, limits and allowed system calls.

mod own;
mod peer;

use crate::report::Report;
use anyhow::{Context, ensure};
use clap::Args;
use std::path::PathBuf;

/// What is asked for.
#[derive(Args)]
pub struct Asked {
    /// The root that every container gets, read-only; its /bin/true is what runs.
    #[arg(long)]
    rootfs: PathBuf,
    /// Pintle's pod supervisor.
    #[arg(long)]
    pod_init: PathBuf,
    /// Another OCI runtime's program, e.g. /usr/bin/crun; several if given more than once.
    #[arg(long)]
    peer: Vec<PathBuf>,
    /// Options for each of the peers, e.g. --cgroup-manager=disabled where a host lacks what they need.
    #[arg(long, allow_hyphen_values = true)]
    peer_option: Vec<String>,
    /// A cgroup v2 tree that may be written to.
    #[arg(long, default_value = "/sys/fs/cgroup")]
    cgroups: PathBuf,
    /// How many containers each of them runs.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
}

/// Limits of each container, as a pod that asks for a tenth of a CPU would have them.
const MEMORY_MAX: u64 = 128 << 20;
const PIDS_MAX: u64 = 1024;
const CPU_WEIGHT: u64 = 4;

/// What no container may see, and what it may only read; upstream's defaults.
const MASKED: [&str; 8] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const CAPABILITIES: [&str; 5] = [
    "CAP_CHOWN",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
];

/// Measures Pintle first, then the peers, one after the other.
pub async fn measure(asked: &Asked, report: &mut Report) -> anyhow::Result<()> {
    let program = asked.rootfs.join("bin/true");
    ensure!(program.is_file(), "{} is missing in the root", program.display());
    let folder = tempfile::tempdir().context("make a folder for the containers")?;
    own::measure(asked, folder.path(), report).await?;
    for program in &asked.peer {
        peer::measure(asked, program, folder.path(), report)?;
    }
    Ok(())
}
