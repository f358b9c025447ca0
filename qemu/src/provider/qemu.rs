//! Virtual machines: one QEMU process each, on the harness's switch.

use super::arguments::{Files, arguments};
use super::qmp::Qmp;
use super::{Ended, Power, Provider, disk};
use crate::machine::last_lines;
use crate::switch::{Faults, Switch};
use crate::{Accelerator, MachinePlan, tools};
use anyhow::{Context, Result, bail};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::Arc;

/// Runs machines as QEMU processes.
pub struct Qemu {
    accelerator: Accelerator,
    switch: Switch,
}

/// A running QEMU's switches.
struct Case {
    process: OwnedFd,
    qmp: Qmp,
}

// === impl Qemu ===

impl Qemu {
    /// For these machines; starts the switch that they will be plugged into.
    pub fn start(machines: &[MachinePlan]) -> Result<Self> {
        let first = machines.first().context("a cluster has at least one machine")?;
        let accelerator = Accelerator::choose(&first.artifacts)?;
        let sockets: Vec<_> = machines
            .iter()
            .map(|plan| (plan.number, plan.switch_socket.clone()))
            .collect();
        let switch = Switch::start(&sockets)?;
        tracing::info!(
            ?accelerator,
            machines = machines.len(),
            "virtual machines are ready to start"
        );
        Ok(Self { accelerator, switch })
    }

    fn spawn(&self, plan: &MachinePlan, files: &Files) -> Result<Child> {
        let log = std::fs::File::create(&files.log).with_context(|| format!("create {}", files.log.display()))?;
        let mut command = tools::command(&plan.artifacts.tools, "qemu-system-x86_64");
        command
            .args(arguments(plan, self.accelerator, files))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        linux::lifeline::die_with_thread(&mut command);
        command
            .spawn()
            .with_context(|| format!("start QEMU for {}", plan.spec.name))
    }
}

impl Provider for Qemu {
    fn run(&self, plan: &MachinePlan, started: &mut (dyn FnMut(Arc<dyn Power>) + Send)) -> Result<Ended> {
        let files = Files::of(plan);
        disk::prepare(plan, &files)?;
        let mut child = self.spawn(plan, &files)?;
        let process = pidfd_open(rustix::process::Pid::from_child(&child), PidfdFlags::empty())?;
        let qmp = Qmp::connect(&files.qmp, || matches!(child.try_wait(), Ok(None)));
        let has_started = qmp.is_ok();
        match qmp {
            Ok(qmp) => started(Arc::new(Case { process, qmp })),
            // It ended, which is no news to `kill`, or hangs before it listens; its log says why.
            Err(_) => drop(child.kill()),
        }
        let status = child.wait().context("wait for QEMU")?;
        // Guests reset inside a running QEMU; it ends only when the guest is off or somebody pulled the plug.
        if has_started && (status.success() || status.signal() == Some(Signal::KILL.as_raw())) {
            return Ok(Ended::PowerOff);
        }
        let log = std::fs::read_to_string(&files.log).unwrap_or_default();
        bail!(
            "QEMU for {} ended with {status}: {}",
            plan.spec.name,
            last_lines(&log, 5)
        );
    }

    fn set_faults(&self, faults: Faults) -> Result<()> {
        self.switch.set_faults(faults);
        Ok(())
    }
}

// === impl Case ===

impl Power for Case {
    fn cut(&self) -> Result<()> {
        match pidfd_send_signal(&self.process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("kill QEMU"),
        }
    }

    fn reset(&self) -> Result<()> {
        self.qmp.execute("system_reset").map(drop)
    }

    fn ctrl_alt_del(&self) -> Result<()> {
        let keys = ["ctrl", "alt", "delete"].map(|key| json!({ "type": "qcode", "data": key }));
        self.qmp.execute_with("send-key", json!({ "keys": keys })).map(drop)
    }
}
