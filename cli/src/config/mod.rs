//! `pintlectl config`: make, check, read and apply machine configs. One file a command.

mod apply;
mod confirm;
mod generate;
mod get;
mod identity;
mod schema;
mod secrets;
mod validate;

use crate::machine::Target;
use anyhow::{Context, Result};
use clap::Subcommand;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

/// What `config` can do.
#[derive(Subcommand)]
pub enum Command {
    /// A new cluster's files: CAs, a config and secrets for each machine, an identity file, a kubeconfig.
    Generate(generate::Generate),
    /// New secrets for one machine, from its cluster's bundle.
    Secrets(secrets::Secrets),
    /// A new identity towards the machine API, from the cluster's bundle.
    Identity(identity::Identity),
    /// The machine config's JSON Schema.
    Schema,
    /// Is this a good machine config? Asks no machine.
    Validate(validate::Validate),
    /// The config that the machine runs with.
    Get,
    /// Give the machine another config.
    Apply(apply::Apply),
    /// Keep the config that is on trial (`apply --mode try`).
    Confirm,
}

/// Does it.
pub fn run(target: &Target, command: Command) -> Result<ExitCode> {
    match command {
        Command::Generate(told) => generate::run(&told),
        Command::Secrets(told) => secrets::run(&told),
        Command::Identity(told) => identity::run(&told),
        Command::Schema => schema::run(),
        Command::Validate(told) => return validate::run(&told),
        Command::Get => get::run(target),
        Command::Apply(told) => apply::run(target, &told),
        Command::Confirm => confirm::run(target),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// A file that only its owner reads, and that was not there before.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("write {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("write {}", path.display()))
}

/// A checked machine config of a file.
fn machine_config(path: &Path) -> Result<::config::MachineConfig> {
    ::config::parse(&read(path)?)
        .map_err(|problems| anyhow::anyhow!("{}: {}", path.display(), ::config::sentence(&problems)))
}

fn bundle(path: &Path) -> Result<::config::Bundle> {
    ::config::parse_bundle(&read(path)?)
        .map_err(|problems| anyhow::anyhow!("{}: {}", path.display(), ::config::sentence(&problems)))
}
