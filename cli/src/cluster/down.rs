//! `pintlectl cluster down`: stop a cluster and remove all that it has.

use super::DEFAULT_NAME;
use anyhow::Result;
use clap::Args;
use qemu::Cluster;

/// What it is told.
#[derive(Args)]
pub struct Down {
    /// The cluster's name.
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
}

/// Do it.
pub fn run(told: &Down) -> Result<()> {
    Cluster::open(&told.name)?.remove()?;
    eprintln!(
        "cluster {} is gone; what was built stays in {}",
        told.name,
        qemu::caches()?.display()
    );
    Ok(())
}
