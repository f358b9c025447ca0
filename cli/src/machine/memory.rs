//! `pintlectl memory`: the machine's, and what Pintle's own programs use of it.

use super::refused;
use crate::print::{Align, line, size, table};
use anyhow::Result;
use machine_client::Connection;
use proto::machine::v1::MemoryRequest;

/// Prints it.
pub async fn run(machine: Connection) -> Result<()> {
    let memory = machine
        .resources()
        .memory(MemoryRequest {})
        .await
        .map_err(refused)?
        .into_inner();
    for (name, bytes) in [
        ("total", memory.total_bytes),
        ("available", memory.available_bytes),
        ("free", memory.free_bytes),
        ("cached", memory.cached_bytes),
        ("slab", memory.slab_bytes),
    ] {
        line(format!("{name:<10} {:>10}", size(bytes)))?;
    }
    line("")?;
    let rows = memory.programs.into_iter().map(|program| {
        let sizes = [program.pss_bytes, program.anonymous_bytes, program.rss_bytes].map(size);
        let [pss, anonymous, rss] = sizes;
        [program.name, program.pid.to_string(), pss, anonymous, rss]
    });
    let columns = [
        ("PROGRAM", Align::Left),
        ("PID", Align::Right),
        ("PSS", Align::Right),
        ("ANONYMOUS", Align::Right),
        ("RSS", Align::Right),
    ];
    table(columns, &rows.collect::<Vec<_>>())
}
