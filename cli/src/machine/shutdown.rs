//! `pintlectl shutdown`: the machine goes down.

use super::obeyed;
use crate::print::line;
use anyhow::Result;
use clap::Args;
use machine_client::Connection;
use proto::machine::v1::ShutdownRequest;

/// What it is told.
#[derive(Args)]
pub struct Shutdown {
    /// At once: services and pods are not stopped in order.
    #[arg(long)]
    force: bool,
}

/// Asks for it; returns when the machine has begun.
pub async fn run(machine: Connection, told: Shutdown) -> Result<()> {
    obeyed(machine.power().shutdown(ShutdownRequest { force: told.force }).await)?;
    line("the machine goes down")
}
