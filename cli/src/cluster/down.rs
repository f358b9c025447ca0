//! `pintlectl cluster down`: stop a cluster and remove all that it has.

use super::DEFAULT_NAME;
use crate::elevate;
use anyhow::Result;
use clap::Args;
use qemu::{Cluster, ProviderName};

/// What it is told.
#[derive(Args)]
pub struct Down {
    /// The cluster's name.
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
}

/// Do it.
pub fn run(told: &Down) -> Result<()> {
    let cluster = Cluster::open(&told.name)?;
    if cluster.plan().spec.provider == ProviderName::Namespaces {
        elevate::ensure_root("what these machines wrote belongs to their own root")?;
    }
    cluster.remove()?;
    eprintln!(
        "cluster {} is gone; what was built stays in {}",
        told.name,
        qemu::caches()?.display()
    );
    Ok(())
}
