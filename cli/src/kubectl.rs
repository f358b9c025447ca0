//! `pintlectl kubectl`: the tools tree's kubectl, for people who have none.

use crate::cluster::DEFAULT_NAME;
use anyhow::{Context, Result};
use clap::Args;
use qemu::Cluster;
use std::ffi::OsString;
use std::process::ExitCode;

/// What `pintlectl kubectl` is told.
#[derive(Args)]
pub struct Kubectl {
    /// The throw-away cluster that is meant; say it before kubectl's own words. Default: KUBECONFIG, else `pintle`.
    #[arg(long)]
    name: Option<String>,
    /// What kubectl is told.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Run it, with its exit code as ours.
pub fn run(told: Kubectl) -> Result<ExitCode> {
    let cluster = Cluster::open(told.name.as_deref().unwrap_or(DEFAULT_NAME))?;
    let mut command = cluster.kubectl_command();
    if let (None, Some(own)) = (&told.name, std::env::var_os("KUBECONFIG")) {
        command.env("KUBECONFIG", own);
    }
    let status = command.args(&told.arguments).status().context("run kubectl")?;
    Ok(ExitCode::from(
        status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}
