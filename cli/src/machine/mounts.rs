//! `pintlectl mounts`: what is mounted where, and how full it is.

use super::refused;
use crate::print::{Align, size, table};
use anyhow::Result;
use machine_client::Connection;
use proto::machine::v1::MountsRequest;

/// Prints them.
pub async fn run(machine: Connection) -> Result<()> {
    let mounts = machine
        .resources()
        .mounts(MountsRequest {})
        .await
        .map_err(refused)?
        .into_inner()
        .mounts;
    let rows = mounts.into_iter().map(|mount| {
        let space = |bytes| {
            if mount.size_bytes == 0 {
                String::new()
            } else {
                size(bytes)
            }
        };
        let (size, available) = (space(mount.size_bytes), space(mount.available_bytes));
        [mount.target, mount.fstype, size, available, mount.source, mount.options]
    });
    let columns = [
        ("TARGET", Align::Left),
        ("TYPE", Align::Left),
        ("SIZE", Align::Right),
        ("AVAILABLE", Align::Right),
        ("SOURCE", Align::Left),
        ("OPTIONS", Align::Left),
    ];
    table(columns, &rows.collect::<Vec<_>>())
}
