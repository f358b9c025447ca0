//! What a machine is made of, behind one trait: virtual machines, or processes in namespaces.

mod arguments;
mod carry_over;
mod disk;
pub mod namespaces;
mod qemu;
mod qmp;

pub use carry_over::carry_over;
pub use namespaces::Namespaces;
pub use qemu::Qemu;

use crate::MachinePlan;
use crate::switch::Faults;
use anyhow::{Context, Result};
use std::sync::Arc;

/// Makes machines run.
pub trait Provider: Send + Sync {
    /// Runs `machine` from power-on until it ends, on the calling thread, which owns it: when the thread or the process
    /// dies, so does the machine. `started` gets its switches as soon as it runs.
    fn run(&self, machine: &MachinePlan, started: &mut (dyn FnMut(Arc<dyn Power>) + Send)) -> Result<Ended>;

    /// What goes wrong on the network between machines, from now on.
    fn set_faults(&self, faults: Faults) -> Result<()>;
}

/// The switches on a running machine's case.
pub trait Power: Send + Sync {
    /// Pull the plug: nothing is flushed, nobody is told.
    fn cut(&self) -> Result<()>;
    /// Press the reset button.
    fn reset(&self) -> Result<()>;
    /// Press Ctrl, Alt and Del on its keyboard.
    fn ctrl_alt_del(&self) -> Result<()>;
}

/// How a machine's run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// It wants to start again.
    Reboot,
    /// It switched itself off, or somebody pulled the plug.
    PowerOff,
}

/// Throw away what the stopped machine of `plan` wrote, so that its next start is its first.
pub fn wipe(plan: &MachinePlan) -> Result<()> {
    let files = arguments::Files::of(plan);
    for path in [files.disk, files.ovmf_vars] {
        gone(std::fs::remove_file(&path)).with_context(|| format!("remove {}", path.display()))?;
    }
    for path in ["state", "var"].map(|name| plan.folder.join(name)) {
        gone(std::fs::remove_dir_all(&path)).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// What was not there is gone too.
fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
