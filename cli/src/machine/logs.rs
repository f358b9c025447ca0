//! `pintlectl logs`: what a service wrote.

use super::refused;
use crate::print::bytes;
use anyhow::Result;
use clap::Args;
use machine_client::Connection;
use proto::machine::v1::ServiceLogRequest;

/// What it is told.
#[derive(Args)]
pub struct Logs {
    /// `agent`, `control` or `etcd`.
    service: String,
    /// Go on with new lines.
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines; 0 for all that are kept.
    #[arg(long, default_value_t = 0, value_name = "LINES")]
    tail: u32,
}

/// Prints it.
pub async fn run(machine: Connection, told: Logs) -> Result<()> {
    let request = ServiceLogRequest {
        service: told.service,
        follow: told.follow,
        tail_lines: told.tail,
    };
    let mut chunks = machine.logs().service(request).await.map_err(refused)?.into_inner();
    while let Some(chunk) = chunks.message().await.map_err(refused)? {
        bytes(&chunk.data)?;
    }
    Ok(())
}
