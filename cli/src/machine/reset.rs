//! `pintlectl reset`: wipe the machine's config and keys, and its data if asked.

use super::refused;
use crate::print::line;
use anyhow::{Result, ensure};
use clap::Args;
use machine_client::Connection;
use proto::machine::v1::ResetRequest;

/// What it is told.
#[derive(Args)]
pub struct Reset {
    /// DATA too: pods, container images, the control plane's store.
    #[arg(long)]
    data: bool,
    /// Yes, really.
    #[arg(long)]
    yes: bool,
}

// === impl Reset ===

impl Reset {
    /// Refuses unless the person said that they mean it; before anything is called.
    pub fn confirmed(self) -> Result<Self> {
        let lost = if self.data {
            "config, keys and all data"
        } else {
            "config and keys"
        };
        ensure!(self.yes, "this wipes the machine's {lost}: say --yes to do it");
        Ok(self)
    }
}

/// Asks for it; returns when the machine has begun.
pub async fn run(machine: Connection, told: Reset) -> Result<()> {
    let request = ResetRequest { data: told.data };
    machine.power().reset(request).await.map_err(refused)?;
    line("the machine wipes itself and restarts; unless its firmware brings a config, it waits for one")
}
