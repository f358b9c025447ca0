//! One machine's place in the supervisor: a thread that owns the machine, and the switches for everybody else.

use super::{MachineState, MachineStatus, UNPOISONED};
use crate::MachinePlan;
use crate::provider::{Ended, Power, Provider};
use anyhow::{Context, Result, bail, ensure};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// A killed process is gone in milliseconds, unless the host's disk is stuck.
const OFF_DEADLINE: Duration = Duration::from_secs(20);

/// A machine and whether it shall run.
pub struct Slot {
    pub plan: MachinePlan,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    is_wanted: bool,
    state: MachineState,
    power: Option<Arc<dyn Power>>,
    starts: u32,
    started: Option<SystemTime>,
}

// === impl Slot ===

impl Slot {
    /// A machine that shall run.
    pub fn new(plan: MachinePlan) -> Self {
        let inner = Inner {
            is_wanted: true,
            state: MachineState::Off,
            power: None,
            starts: 0,
            started: None,
        };
        Self {
            plan,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        }
    }

    /// Own the machine for good: start it whenever it is wanted, again when it wants to.
    pub fn run(&self, provider: &dyn Provider) -> ! {
        loop {
            self.wait_until_wanted();
            let ended = provider.run(&self.plan, &mut |power| self.note_started(power));
            self.note_ended(ended);
        }
    }

    pub fn status(&self) -> MachineStatus {
        let inner = self.lock();
        let started = inner
            .started
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        MachineStatus {
            name: self.plan.spec.name.clone(),
            state: inner.state.clone(),
            starts: inner.starts,
            started_ms: started.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    pub fn switch_on(&self) {
        self.lock().is_wanted = true;
        self.changed.notify_all();
    }

    /// Pull the plug and wait until it is off.
    pub fn cut(&self) -> Result<()> {
        let mut inner = self.lock();
        inner.is_wanted = false;
        // It may be just starting; then its switches come in a moment.
        loop {
            if let Some(power) = inner.power.take() {
                power.cut()?;
            }
            match inner.state {
                MachineState::Off | MachineState::Broken(_) => return Ok(()),
                MachineState::Starting | MachineState::Running => {}
            }
            let waited = self.changed.wait_timeout(inner, OFF_DEADLINE).expect(UNPOISONED);
            if waited.1.timed_out() {
                bail!("{} is not off after {OFF_DEADLINE:?}", self.plan.spec.name);
            }
            inner = waited.0;
        }
    }

    pub fn reset(&self) -> Result<()> {
        self.power()?.reset()
    }

    pub fn ctrl_alt_del(&self) -> Result<()> {
        self.power()?.ctrl_alt_del()
    }

    fn power(&self) -> Result<Arc<dyn Power>> {
        let power = self.lock().power.clone();
        power.with_context(|| format!("{} does not run", self.plan.spec.name))
    }

    pub fn wipe(&self) -> Result<()> {
        let inner = self.lock();
        let is_off = !inner.is_wanted && matches!(inner.state, MachineState::Off | MachineState::Broken(_));
        ensure!(
            is_off,
            "{} runs: switch it off before its disk goes",
            self.plan.spec.name
        );
        crate::provider::wipe(&self.plan)
    }

    fn wait_until_wanted(&self) {
        let mut inner = self.lock();
        while !inner.is_wanted {
            inner = self.changed.wait(inner).expect(UNPOISONED);
        }
        inner.state = MachineState::Starting;
        inner.starts += 1;
        inner.started = Some(SystemTime::now());
        self.changed.notify_all();
    }

    fn note_started(&self, power: Arc<dyn Power>) {
        let mut inner = self.lock();
        inner.state = MachineState::Running;
        inner.power = Some(power);
        self.changed.notify_all();
        tracing::info!(machine = %self.plan.spec.name, start = inner.starts, "machine started");
    }

    fn note_ended(&self, ended: Result<Ended>) {
        let mut inner = self.lock();
        inner.power = None;
        inner.state = MachineState::Off;
        match ended {
            Ok(Ended::Reboot) => {}
            Ok(Ended::PowerOff) => inner.is_wanted = false,
            Err(error) => {
                inner.is_wanted = false;
                inner.state = MachineState::Broken(format!("{error:#}"));
            }
        }
        self.changed.notify_all();
        tracing::info!(machine = %self.plan.spec.name, state = %inner.state, "machine ended");
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(UNPOISONED)
    }
}
