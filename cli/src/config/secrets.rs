//! `pintlectl config secrets`: new secrets for one machine, e.g. when its name, addresses or roles change.

use super::{bundle, machine_config, write_private};
use crate::print::line;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// What it is told.
#[derive(Args)]
pub struct Secrets {
    /// The cluster's bundle.
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// The machine's config.
    config: PathBuf,
    /// Where they go; must not be there yet.
    #[arg(long, default_value = "secrets.toml", value_name = "FILE")]
    output: PathBuf,
}

/// Makes them.
pub fn run(told: &Secrets) -> Result<()> {
    let config = machine_config(&told.config)?;
    let secrets = identity::cluster::machine_secrets(&bundle(&told.bundle)?, &config)?;
    write_private(&told.output, &toml::to_string(&secrets)?)?;
    line(format!(
        "{} holds secrets for {}",
        told.output.display(),
        config.machine.name
    ))
}
