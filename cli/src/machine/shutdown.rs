//! `pintlectl shutdown`: the machine goes down.

use super::refused;
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
    let request = ShutdownRequest { force: told.force };
    machine.power().shutdown(request).await.map_err(refused)?;
    line("the machine goes down")
}
