//! `pintlectl config identity`: another identity towards the machine API, e.g. for somebody who may only look.

use super::{bundle, read, write_private};
use crate::print::line;
use anyhow::{Context, Result};
use clap::Args;
use identity::Role;
use machine_client::IdentityFile;
use std::path::PathBuf;

/// What it is told.
#[derive(Args)]
pub struct Identity {
    /// The cluster's bundle.
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// `admin`, `operator` or `reader`.
    #[arg(long)]
    role: Role,
    /// An identity file of the cluster, whose list of machines is taken over.
    #[arg(long, value_name = "FILE")]
    like: PathBuf,
    /// Where it goes; must not be there yet.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Makes it.
pub fn run(told: &Identity) -> Result<()> {
    let bundle = bundle(&told.bundle)?;
    let like = IdentityFile::parse(&read(&told.like)?).with_context(|| told.like.display().to_string())?;
    let pair = identity::cluster::admin(&bundle, told.role)?;
    let ca = bundle.machine_ca.certificate;
    let file = IdentityFile {
        ca,
        certificate: pair.certificate,
        key: pair.key,
        ..like
    };
    write_private(&told.output, &file.to_toml())?;
    line(format!(
        "{} is an identity with the role {}",
        told.output.display(),
        told.role
    ))
}
