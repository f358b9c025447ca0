//! One machine of a cluster, as tests and the command line hold it.

use crate::supervisor::{MachineStatus, Request};
use crate::{Cluster, MachinePlan, wait};
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// One machine of a [`Cluster`].
pub struct Machine<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) plan: MachinePlan,
}

// === impl Machine ===

impl Machine<'_> {
    /// Its name, which is its node's name too.
    pub fn name(&self) -> &str {
        &self.plan.spec.name
    }

    /// Everything decided about it.
    pub fn plan(&self) -> &MachinePlan {
        &self.plan
    }

    /// Where its machine API (gRPC, TLS) is reached from here.
    pub fn machine_api(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.plan.ports.machine_api).into()
    }

    /// Where its Kubernetes API is reached from here, if it is a control plane.
    pub fn kubernetes_api(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.plan.ports.kubernetes).into()
    }

    /// What the supervisor knows of it.
    pub fn status(&self) -> Result<MachineStatus> {
        let all = self.cluster.status()?;
        all.into_iter()
            .find(|status| status.name == self.name())
            .with_context(|| format!("the supervisor does not know machine {}", self.name()))
    }

    /// Pull the plug and wait until it is off; its disk stays as it is.
    pub fn power_cut(&self) -> Result<()> {
        self.cluster.ask(&Request::Cut {
            machine: self.name().to_owned(),
        })
    }

    /// Switch it on, with the disk as it was left.
    pub fn power_on(&self) -> Result<()> {
        self.cluster.ask(&Request::On {
            machine: self.name().to_owned(),
        })
    }

    /// Press the reset button.
    pub fn reset(&self) -> Result<()> {
        self.cluster.ask(&Request::Reset {
            machine: self.name().to_owned(),
        })
    }

    /// Press Ctrl, Alt and Del on its keyboard.
    pub fn ctrl_alt_del(&self) -> Result<()> {
        self.cluster.ask(&Request::CtrlAltDel {
            machine: self.name().to_owned(),
        })
    }

    /// Throw away what the machine wrote to its disk; it must be off.
    pub fn wipe(&self) -> Result<()> {
        self.cluster.ask(&Request::Wipe {
            machine: self.name().to_owned(),
        })
    }

    /// Its serial console so far, all boots.
    pub fn console(&self) -> String {
        std::fs::read(&self.plan.console)
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Wait until its console says `text` somewhere after its first `from` bytes; gives the console.
    pub fn wait_console(&self, text: &str, from: usize, deadline: Duration) -> Result<String> {
        wait::until(&format!("{text:?} on the console of {}", self.name()), deadline, || {
            let console = self.console();
            match console.get(from..).is_some_and(|new| new.contains(text)) {
                true => Ok(console),
                false => Err(format!("its last lines are\n{}", last_lines(&console, 15))),
            }
        })
    }
}

/// The last `count` lines, for error messages.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
