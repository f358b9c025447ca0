//! `pintlectl reboot`: the machine restarts.

use super::refused;
use crate::print::line;
use anyhow::Result;
use clap::Args;
use machine_client::Connection;
use proto::machine::v1::RebootRequest;

/// What it is told.
#[derive(Args)]
pub struct Reboot {
    /// At once: services and pods are not stopped in order.
    #[arg(long)]
    force: bool,
}

/// Asks for it; returns when the machine has begun.
pub async fn run(machine: Connection, told: Reboot) -> Result<()> {
    let request = RebootRequest { force: told.force };
    machine.power().reboot(request).await.map_err(refused)?;
    line("the machine restarts")
}
