//! `pintlectl services`: what PID 1 keeps running, and its restart.

use super::refused;
use crate::print::{Align, age, line, table};
use anyhow::Result;
use clap::Args;
use machine_client::Connection;
use proto::machine::v1::{ListServicesRequest, RestartServiceRequest};
use std::time::Duration;

/// What it is told.
#[derive(Args)]
pub struct Services {
    /// Restart this one instead of listing them.
    #[arg(long, value_name = "SERVICE")]
    restart: Option<String>,
    /// With --restart: SIGKILL at once, as if it had crashed; no pod stops.
    #[arg(long, requires = "restart")]
    kill: bool,
}

/// Lists them, or restarts one.
pub async fn run(machine: Connection, told: Services) -> Result<()> {
    if let Some(name) = told.restart {
        let request = RestartServiceRequest {
            name: name.clone(),
            kill: told.kill,
        };
        machine.services().restart(request).await.map_err(refused)?;
        return line(format!("{name} restarts"));
    }
    let services = machine
        .services()
        .list(ListServicesRequest {})
        .await
        .map_err(refused)?
        .into_inner()
        .services;
    let rows = services.into_iter().map(|state| {
        let pid = if state.pid == 0 {
            String::new()
        } else {
            state.pid.to_string()
        };
        let since = age(Duration::from_millis(state.phase_ms));
        [
            state.name,
            state.phase,
            since,
            pid,
            state.restarts.to_string(),
            state.last_end,
        ]
    });
    let columns = [
        ("SERVICE", Align::Left),
        ("PHASE", Align::Left),
        ("SINCE", Align::Right),
        ("PID", Align::Right),
        ("RESTARTS", Align::Right),
        ("LAST END", Align::Left),
    ];
    table(columns, &rows.collect::<Vec<_>>())
}
