//! `pintlectl processes`: all of them.

use super::refused;
use crate::print::{Align, seconds, size, table};
use anyhow::Result;
use clap::Args;
use machine_client::Connection;
use proto::machine::v1::{Process, ProcessesRequest};

/// What it is told.
#[derive(Args)]
pub struct Processes {
    /// The kernel's own threads too.
    #[arg(short, long)]
    all: bool,
}

/// Prints them.
pub async fn run(machine: Connection, told: Processes) -> Result<()> {
    let processes = machine
        .resources()
        .processes(ProcessesRequest {})
        .await
        .map_err(refused)?
        .into_inner()
        .processes;
    let rows = processes
        .into_iter()
        .filter(|process| told.all || !process.command.is_empty())
        .map(row);
    let columns = [
        ("PID", Align::Right),
        ("PARENT", Align::Right),
        ("STATE", Align::Left),
        ("THREADS", Align::Right),
        ("CPU s", Align::Right),
        ("RSS", Align::Right),
        ("CGROUP", Align::Left),
        ("COMMAND", Align::Left),
    ];
    table(columns, &rows.collect::<Vec<_>>())
}

fn row(process: Process) -> [String; 8] {
    let command = if process.command.is_empty() {
        format!("[{}]", process.name)
    } else {
        process.command
    };
    [
        process.pid.to_string(),
        process.parent.to_string(),
        process.state,
        process.threads.to_string(),
        seconds(process.cpu_ms * 1000),
        size(process.rss_bytes),
        process.cgroup,
        command,
    ]
}
