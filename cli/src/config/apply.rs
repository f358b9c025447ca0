//! `pintlectl config apply`: give the machine another config.

use super::read;
use crate::machine::{Target, call, refused};
use crate::print::line;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use machine_client::Connection;
use proto::machine::v1::{Applied, ApplyConfigRequest, ApplyMode};
use std::path::PathBuf;

/// What it is told.
#[derive(Args)]
pub struct Apply {
    /// Machine config.
    file: PathBuf,
    /// The machine's secrets; without, it keeps those that it has.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// How.
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// With `--mode try`: seconds until it is taken back, from when it is in effect. Default: 300.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Only say what would change.
    DryRun,
    /// At once where that is possible, else with a reboot.
    Auto,
    /// With a reboot.
    Reboot,
    /// As auto, and taken back unless `config confirm` keeps it in time.
    Try,
    /// Only stored; it takes effect with the next start.
    Staged,
}

/// Applies it and says what became of it.
pub fn run(target: &Target, told: &Apply) -> Result<()> {
    let config = read(&told.file)?;
    // What is wrong with it is known here already, in the file's own name.
    super::machine_config(&told.file)?;
    let secrets = told.secrets.as_deref().map(read).transpose()?.unwrap_or_default();
    let mode = match told.mode {
        Mode::DryRun => ApplyMode::DryRun,
        Mode::Auto => ApplyMode::Auto,
        Mode::Reboot => ApplyMode::Reboot,
        Mode::Try => ApplyMode::Try,
        Mode::Staged => ApplyMode::Staged,
    };
    anyhow::ensure!(
        told.seconds == 0 || told.mode == Mode::Try,
        "--for says how long a trial lasts: give --mode try too"
    );
    let request = ApplyConfigRequest {
        config,
        secrets,
        mode: mode.into(),
        try_seconds: told.seconds,
    };
    let reply = call(target, async |machine: Connection| {
        machine.config().apply(request).await.map_err(refused)
    })?;
    let reply = reply.into_inner();
    if !reply.diff.is_empty() {
        line(reply.diff.trim_end())?;
    }
    line(match (reply.applied(), told.mode) {
        (Applied::Unspecified, _) => bail!("the machine did not say what it did: it may be newer than this pintlectl"),
        (Applied::Nothing, Mode::DryRun) if reply.diff.is_empty() => "nothing would change",
        (Applied::Nothing, Mode::DryRun) => "nothing was applied (dry run)",
        (Applied::Nothing, Mode::Auto | Mode::Reboot | Mode::Try | Mode::Staged) => {
            "nothing differs; nothing was applied"
        }
        (Applied::Live, Mode::Try) => "on trial: `pintlectl config confirm` keeps it, else it is taken back",
        (Applied::Rebooting, Mode::Try) => {
            "the machine reboots into its trial: then `pintlectl config confirm` keeps it, else the machine reboots into what it had"
        }
        (Applied::Staged, _) => "stored; it takes effect with the next start",
        (Applied::Live, _) => "applied",
        (Applied::Rebooting, _) => "stored; the machine reboots into it",
        (Applied::Starting, _) => "stored; the machine leaves maintenance",
    })
}
