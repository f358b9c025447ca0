//! `pintlectl kubectl`: the tools tree's kubectl, for people who have none.

use crate::cluster::DEFAULT_NAME;
use anyhow::{Context, Result};
use clap::Args;
use image::{Progress, ToolsTree};
use qemu::Cluster;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// What `pintlectl kubectl` is told.
#[derive(Args)]
pub struct Kubectl {
    /// The throw-away cluster that is meant; say it before kubectl's own words. Default: KUBECONFIG, else `pintle`, else the
    /// only one that there is.
    #[arg(long)]
    name: Option<String>,
    /// What kubectl is told.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Run it, with its exit code as ours.
pub fn run(told: Kubectl) -> Result<ExitCode> {
    let status = command(told.name.as_deref())?
        .args(&told.arguments)
        .status()
        .context("run kubectl")?;
    Ok(ExitCode::from(
        status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}

/// The cluster of KUBECONFIG may be anybody's, so it takes none of this host's.
fn command(name: Option<&str>) -> Result<Command> {
    if name.is_none() && std::env::var_os("KUBECONFIG").is_some() {
        return Ok(ToolsTree::ensure(&Progress::new())?.command("kubectl"));
    }
    let cluster = match name {
        Some(name) => Cluster::open(name)?,
        None => default_cluster()?,
    };
    Ok(cluster.kubectl_command())
}

fn default_cluster() -> Result<Cluster> {
    let mut all = Cluster::list()?;
    let named = all
        .iter()
        .position(|listed| listed.cluster.plan().spec.name == DEFAULT_NAME);
    match named.or((all.len() == 1).then_some(0)) {
        Some(index) => Ok(all.swap_remove(index).cluster),
        None => Cluster::open(DEFAULT_NAME),
    }
}
