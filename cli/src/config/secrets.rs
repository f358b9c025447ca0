//! `pintlectl config secrets`: new secrets for one machine, e.g. when its name, addresses or roles change.

use super::{bundle, machine_config, read, write_private};
use crate::print::line;
use anyhow::{Context, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// What it is told.
#[derive(Args)]
pub struct Secrets {
    /// The cluster's bundle.
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// Secrets that the machine had so far: their logins to registries are taken over.
    #[arg(long, value_name = "FILE")]
    logins_of: Option<PathBuf>,
    /// The machine's config.
    config: PathBuf,
    /// Where they go; must not be there yet.
    #[arg(long, default_value = "secrets.toml", value_name = "FILE")]
    output: PathBuf,
}

/// Makes them.
pub fn run(told: &Secrets) -> Result<()> {
    let config = machine_config(&told.config)?;
    let mut secrets = identity::cluster::machine_secrets(&bundle(&told.bundle)?, &config)?;
    if let Some(before) = &told.logins_of {
        secrets.registries = logins(before)?;
    }
    write_private(&told.output, &toml::to_string(&secrets)?)?;
    line(format!(
        "{} holds secrets for {}",
        told.output.display(),
        config.machine.name
    ))
}

/// The rest of the file need not fit the new config: that is why there are new secrets.
fn logins(path: &Path) -> Result<Vec<::config::RegistryLogin>> {
    let secrets: ::config::Secrets =
        toml::from_str(&read(path)?).with_context(|| format!("understand the secrets in {}", path.display()))?;
    Ok(secrets.registries)
}
