//! `pintlectl info`: what the machine is.

use super::refused;
use crate::print::{age, line, size};
use anyhow::Result;
use machine_client::Connection;
use proto::machine::v1::{GetInfoRequest, Stage};
use std::time::Duration;

/// Prints it.
pub async fn run(machine: Connection) -> Result<()> {
    let info = machine
        .info()
        .get(GetInfoRequest {})
        .await
        .map_err(refused)?
        .into_inner();
    let name = if info.name.is_empty() { "(none yet)" } else { &info.name };
    let rows = [
        ("name", name.to_owned()),
        ("cluster", info.cluster.clone()),
        ("stage", stage(info.stage()).to_owned()),
        ("roles", info.roles.join(", ")),
        ("addresses", info.addresses.join(", ")),
        ("up", age(Duration::from_millis(info.uptime_ms))),
        ("provider", info.provider.clone()),
        ("pintle", info.pintle_version.clone()),
        ("kernel", info.kernel_version.clone()),
        ("cpus", info.cpus.to_string()),
        ("memory", size(info.memory_bytes)),
        ("boot id", info.boot_id.clone()),
    ];
    for (key, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        line(format!("{key:<10} {value}"))?;
    }
    for sentence in &info.lacks {
        line(format!("{:<10} {sentence}", "lacks"))?;
    }
    Ok(())
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Unspecified => "unknown",
        Stage::Maintenance => "maintenance: it waits for a config",
        Stage::Booting => "booting",
        Stage::Running => "running",
    }
}
