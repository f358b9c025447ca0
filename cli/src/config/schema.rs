//! `pintlectl config schema`: for editors that complete and check TOML.

use crate::print::line;
use anyhow::Result;

/// Prints it.
pub fn run() -> Result<()> {
    line(config::schema())
}
