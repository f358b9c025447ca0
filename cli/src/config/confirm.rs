//! `pintlectl config confirm`: keep the config that is on trial.

use crate::machine::{Target, call, refused};
use crate::print::line;
use anyhow::Result;
use machine_client::Connection;
use proto::machine::v1::ConfirmConfigRequest;

/// Says so to the machine.
pub fn run(target: &Target) -> Result<()> {
    let confirm = async |machine: Connection| machine.config().confirm(ConfirmConfigRequest {}).await.map_err(refused);
    call(target, confirm)?;
    line("the config stays")
}
