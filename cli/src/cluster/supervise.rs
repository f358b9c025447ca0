//! `pintlectl cluster supervise`: the process that owns a cluster, started by `up` and ended by `down`.

use anyhow::{Context, Result, bail};
use clap::Args;
use qemu::{Cluster, wait};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The accelerator's probe and the registry come before the supervisor listens.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// What it is told.
#[derive(Args)]
pub struct Supervise {
    /// The cluster's name.
    #[arg(long)]
    name: String,
}

/// Own the cluster until told to stop.
pub fn run(told: &Supervise) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    Cluster::open(&told.name)?.supervise_until_stopped()
}

/// Start it in the background: it outlives this terminal.
pub fn start(cluster: &Cluster) -> Result<()> {
    let path = cluster.folder().supervisor_log();
    let log = std::fs::File::options().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("open {}", path.display()))?;
    let own = std::env::current_exe().context("find this program's file")?;
    let mut command = Command::new(own);
    command
        .args(["cluster", "supervise", "--name", &cluster.plan().spec.name])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Out of the terminal's process group, so that Ctrl-C there does not switch the machines off.
        .process_group(0);
    let mut supervisor = command.spawn().context("start the cluster's supervisor")?;
    let mut ended = None;
    wait::until("the cluster's supervisor", START_DEADLINE, || {
        ended = supervisor.try_wait().map_err(|error| error.to_string())?;
        match ended {
            Some(_) => Ok(()),
            None => cluster.status().map(drop).map_err(|error| format!("{error:#}")),
        }
    })
    .with_context(|| format!("see {}", path.display()))?;
    if let Some(status) = ended {
        let said = std::fs::read_to_string(&path).unwrap_or_default();
        let last = said.lines().last().unwrap_or_default().trim_start_matches("error: ");
        bail!(
            "{last} (the cluster's supervisor ended with {status}; its log is {})",
            path.display()
        );
    }
    Ok(())
}
