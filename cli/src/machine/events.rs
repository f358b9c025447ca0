//! `pintlectl events`: what happened on the machine since its agent started, and what happens.

use super::refused;
use crate::print::{line, seconds};
use anyhow::Result;
use clap::Args;
use machine_client::Connection;
use proto::machine::v1::{Event, EventsRequest};

/// What it is told.
#[derive(Args)]
pub struct Events {
    /// Go on with new ones.
    #[arg(short, long)]
    follow: bool,
}

/// Prints them, a line each.
pub async fn run(machine: Connection, told: Events) -> Result<()> {
    let request = EventsRequest { follow: told.follow };
    let mut events = machine.info().events(request).await.map_err(refused)?.into_inner();
    let mut last = 0;
    while let Some(event) = events.message().await.map_err(refused)? {
        if last != 0 && event.number > last + 1 {
            line(format!("({} events were missed)", event.number - last - 1))?;
        }
        last = event.number;
        line(text(&event))?;
    }
    Ok(())
}

fn text(event: &Event) -> String {
    let at = seconds(event.at_us);
    format!("{at:>12}  {:<8} {:<18} {}", event.kind, event.subject, event.message)
        .trim_end()
        .to_owned()
}
