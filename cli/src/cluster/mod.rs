//! `pintlectl cluster`: throw-away clusters on this host.

mod down;
mod list;
mod supervise;
mod up;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

/// The cluster that is meant where none is named.
pub const DEFAULT_NAME: &str = "pintle";

/// What can be done with them.
#[derive(Subcommand)]
pub enum Command {
    /// Build what is missing, boot a cluster, run a demo pod on it (`cargo up`).
    Up(up::Up),
    /// Stop a cluster and remove all that it has (`cargo down`).
    Down(down::Down),
    /// Show all clusters and their machines.
    List,
    /// Own a cluster's machines until told to stop; `up` starts this.
    #[command(hide = true)]
    Supervise(supervise::Supervise),
}

/// Do it.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(told) => up::run(told)?,
        Command::Down(told) => down::run(&told)?,
        Command::List => list::run()?,
        Command::Supervise(told) => supervise::run(&told)?,
    }
    Ok(ExitCode::SUCCESS)
}
