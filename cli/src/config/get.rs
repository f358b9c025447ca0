//! `pintlectl config get`: the config that the machine runs with.

use crate::machine::{Target, call, refused};
use crate::print::bytes;
use anyhow::Result;
use proto::machine::v1::GetConfigRequest;

/// Prints it as it was applied.
pub fn run(target: &Target) -> Result<()> {
    let get =
        async |machine: machine_client::Connection| machine.config().get(GetConfigRequest {}).await.map_err(refused);
    bytes(call(target, get)?.into_inner().config.as_bytes())
}
