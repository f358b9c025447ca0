//! Signals as something to read, man 2 signalfd.

use crate::Error;
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::WaitOptions;
use std::os::fd::{AsFd, BorrowedFd};

/// Readable when a child has ended.
#[derive(Debug)]
pub struct ChildExits(SignalFd);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which child.
    pub pid: u32,
    /// What it returned, or 128 plus the signal.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

// === impl ChildExits ===

impl ChildExits {
    /// From now on SIGCHLD is read here; [`unblock`] in children that become another program.
    pub fn watch() -> Result<Self, Error> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block().map_err(Error::nix("sigprocmask"))?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(ChildExits)
            .map_err(Error::nix("signalfd"))
    }

    /// Takes every exit that is there.
    pub fn take(&self) -> Vec<Exit> {
        // One signal may stand for many exits, so it says nothing but "look".
        while let Ok(Some(_)) = self.0.read_signal() {}
        let mut exits = Vec::new();
        loop {
            // Any child (rustix's `waitpid(None)` means those of our own process group). Not nix's: it loses the exit of a process that a real-time signal killed.
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => exits.push(Exit::new(pid, status)),
                Err(rustix::io::Errno::INTR) => {}
                // ECHILD, or nobody has ended.
                Ok(None) | Err(_) => return exits,
            }
        }
    }
}

impl Exit {
    fn new(pid: rustix::process::Pid, status: rustix::process::WaitStatus) -> Exit {
        let signal = status.terminating_signal();
        let code = signal.map_or(status.exit_status().unwrap_or(0), |signal| 128 + signal);
        Exit {
            pid: pid.as_raw_nonzero().get() as u32,
            code,
            signal,
        }
    }
}

impl AsFd for ChildExits {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Ignores what is meant for people at a terminal or for the machine's shutdown: `signals` by number.
pub fn ignore(signals: &[Signal]) -> Result<(), Error> {
    set(signals, SigHandler::SigIgn)
}

/// Blocks nothing and ignores nothing of `signals` any more: what a new program expects.
pub fn unblock(signals: &[Signal]) -> Result<(), Error> {
    set(signals, SigHandler::SigDfl)?;
    SigSet::empty().thread_set_mask().map_err(Error::nix("sigprocmask"))
}

fn set(signals: &[Signal], handler: SigHandler) -> Result<(), Error> {
    for signal in signals {
        // SAFETY: neither SIG_IGN nor SIG_DFL runs code of ours.
        unsafe { nix::sys::signal::signal(*signal, handler) }.map_err(Error::nix("signal"))?;
    }
    Ok(())
}

pub use nix::sys::signal::Signal as Number;
