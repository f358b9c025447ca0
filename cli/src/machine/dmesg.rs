//! `pintlectl dmesg`: the kernel's log.

use super::refused;
use crate::print::{line, seconds};
use anyhow::Result;
use clap::Args;
use machine_client::Connection;
use proto::machine::v1::KernelLogRequest;

/// What it is told.
#[derive(Args)]
pub struct Dmesg {
    /// Go on with new lines.
    #[arg(short, long)]
    follow: bool,
}

/// Prints it.
pub async fn run(machine: Connection, told: Dmesg) -> Result<()> {
    let request = KernelLogRequest { follow: told.follow };
    let mut lines = machine.logs().kernel(request).await.map_err(refused)?.into_inner();
    while let Some(found) = lines.message().await.map_err(refused)? {
        let at = seconds(found.at_us);
        line(format!("[{at:>10}] {:<6} {}", level(found.level), found.text))?;
    }
    Ok(())
}

/// syslog's words; the harmless ones say nothing.
fn level(level: u32) -> &'static str {
    match level {
        0 => "EMERG",
        1 => "ALERT",
        2 => "CRIT",
        3 => "ERROR",
        4 => "WARN",
        _ => "",
    }
}
