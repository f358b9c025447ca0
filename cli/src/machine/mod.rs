//! Commands that call one machine: which machine, as whom, and one file a command.

pub mod dmesg;
pub mod events;
pub mod health;
pub mod info;
pub mod logs;
pub mod memory;
pub mod mounts;
pub mod oci;
pub mod processes;
pub mod reboot;
pub mod reset;
pub mod services;
pub mod shutdown;
pub mod timeline;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use machine_client::{Connection, Credentials, IdentityFile, MachineAddress, connect, explain};
use qemu::ClusterFolder;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;
use tonic::Status;

/// Which machine is called, and as whom.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Identity file. Default: that of the throw-away cluster made last.
    #[arg(long, global = true, env = "PINTLE_IDENTITY", value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Machine: a name from the identity file or ADDRESS[:PORT]. Default: the first of the identity file.
    #[arg(long, global = true, value_name = "MACHINE")]
    pub node: Option<String>,
    /// Fingerprint on the console of a machine without a config; then no identity is used.
    #[arg(long, global = true, requires = "node", value_name = "SHA256")]
    pub fingerprint: Option<String>,
}

/// Connects and does something with the connection.
pub fn call<T>(target: &Target, work: impl AsyncFnOnce(Connection) -> Result<T>) -> Result<T> {
    block_on(async { work(target.connect().await?).await })
}

/// Connects, calls, and prints; the usual command.
pub fn run(target: &Target, work: impl AsyncFnOnce(Connection) -> Result<()>) -> Result<ExitCode> {
    call(target, work).map(|()| ExitCode::SUCCESS)
}

/// Runs something that waits for machines.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(work)
}

/// A failed call, for a person.
pub fn refused(status: Status) -> anyhow::Error {
    anyhow!("{}", explain(&status))
}

// === impl Target ===

impl Target {
    /// A connection that answered.
    pub async fn connect(&self) -> Result<Connection> {
        if let (Some(fingerprint), Some(node)) = (&self.fingerprint, &self.node) {
            let machine = MachineAddress::from_address(node)
                .with_context(|| format!("--node {node}: give the address that stands on the console"))?;
            return Ok(connect(&machine, Credentials::Fingerprint(fingerprint)).await?);
        }
        let identity = self.identity_file()?;
        let machine = identity.machine(self.node.as_deref())?;
        Ok(connect(&machine, Credentials::Identity(&identity)).await?)
    }

    /// The identity file's content.
    pub fn identity_file(&self) -> Result<IdentityFile> {
        let path = self.identity_path()?;
        let text = fs::read_to_string(&path).with_context(|| format!("read identity file {}", path.display()))?;
        IdentityFile::parse(&text).with_context(|| path.display().to_string())
    }

    /// The identity file that is meant.
    pub fn identity_path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.identity {
            return Ok(path.clone());
        }
        let mut newest: Option<(SystemTime, PathBuf)> = None;
        for name in ClusterFolder::names()? {
            let path = ClusterFolder::of(&name)?.admin();
            let Ok(made) = fs::metadata(&path).and_then(|found| found.modified()) else {
                continue;
            };
            if newest.as_ref().is_none_or(|(when, _)| made > *when) {
                newest = Some((made, path));
            }
        }
        match newest {
            Some((_, path)) => Ok(path),
            None => bail!(
                "as whom? give --identity FILE (or PINTLE_IDENTITY), or make a cluster with `pintlectl cluster up`"
            ),
        }
    }
}
