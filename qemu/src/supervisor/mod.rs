//! Owns a running cluster: its machines, its switch and its registry. One per cluster, in a process of its own or in a test's.

mod protocol;
mod serve;
mod slot;

pub use protocol::{MachineState, MachineStatus, Reply, Request};
pub(crate) use serve::ask;

use crate::provider::{Namespaces, Provider, Qemu};
use crate::registry::Registry;
use crate::{ClusterFolder, ClusterPlan, ProviderName};
use anyhow::{Context, Result};
use slot::Slot;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

/// A running cluster's owner; dropped, it stops all.
pub struct Supervisor {
    shared: Arc<Shared>,
    socket: PathBuf,
    _registry: Registry,
}

pub(crate) struct Shared {
    slots: Vec<Arc<Slot>>,
    provider: Box<dyn Provider>,
    is_stopping: Mutex<bool>,
    stopped: Condvar,
}

// === impl Supervisor ===

impl Supervisor {
    /// Start the registry and every machine of `plan`, and listen for requests in `folder`.
    pub fn start(folder: &ClusterFolder, plan: &ClusterPlan) -> Result<Self> {
        let machines = plan.machines(folder);
        let provider: Box<dyn Provider> = match plan.spec.provider {
            ProviderName::Qemu => Box::new(Qemu::start(&machines)?),
            ProviderName::Namespaces => Box::new(Namespaces::start(plan, &machines)?),
        };
        let registry = Registry::start(&plan.artifacts.tools, plan.registry_port, &folder.registry_log())?;
        let shared = Arc::new(Shared {
            slots: machines
                .into_iter()
                .map(|machine| Arc::new(Slot::new(machine)))
                .collect(),
            provider,
            is_stopping: Mutex::new(false),
            stopped: Condvar::new(),
        });
        serve::listen(&folder.supervisor_socket(), shared.clone())?;
        for slot in &shared.slots {
            let (slot, shared) = (slot.clone(), shared.clone());
            std::thread::Builder::new()
                .name(slot.plan.spec.name.clone())
                .spawn(move || slot.run(shared.provider.as_ref()))
                .context("start a machine's thread")?;
        }
        Ok(Self {
            shared,
            socket: folder.supervisor_socket(),
            _registry: registry,
        })
    }

    /// Until somebody asks to stop; then every machine is off.
    pub fn wait(self) {
        let mut is_stopping = self.shared.is_stopping.lock().expect(UNPOISONED);
        while !*is_stopping {
            is_stopping = self.shared.stopped.wait(is_stopping).expect(UNPOISONED);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shared.switch_all_off();
        // It may be gone together with the cluster's folder.
        let _ = std::fs::remove_file(&self.socket);
    }
}

// === impl Shared ===

impl Shared {
    /// Do what is asked.
    pub(crate) fn answer(&self, request: Request) -> Reply {
        let done = match request {
            Request::Status => return Reply::Status(self.slots.iter().map(|slot| slot.status()).collect()),
            Request::On { machine } => self.slot(&machine).map(|slot| slot.switch_on()),
            Request::Cut { machine } => self.slot(&machine).and_then(|slot| slot.cut()),
            Request::Reset { machine } => self.slot(&machine).and_then(|slot| slot.reset()),
            Request::CtrlAltDel { machine } => self.slot(&machine).and_then(|slot| slot.ctrl_alt_del()),
            Request::Wipe { machine } => self.slot(&machine).and_then(|slot| slot.wipe()),
            Request::Faults { faults } => self.provider.set_faults(faults),
            Request::Stop => {
                self.switch_all_off();
                Ok(())
            }
        };
        match done {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Refused(format!("{error:#}")),
        }
    }

    /// Let the supervisor end; after the answer, because its process ends with it.
    pub(crate) fn note_stopped(&self) {
        *self.is_stopping.lock().expect(UNPOISONED) = true;
        self.stopped.notify_all();
    }

    fn slot(&self, machine: &str) -> Result<&Slot> {
        let found = self.slots.iter().find(|slot| slot.plan.spec.name == machine);
        found
            .map(AsRef::as_ref)
            .with_context(|| format!("no machine is named {machine:?}"))
    }

    fn switch_all_off(&self) {
        for slot in &self.slots {
            if let Err(error) = slot.cut() {
                tracing::error!(machine = %slot.plan.spec.name, %error, "cannot switch a machine off");
            }
        }
    }
}

/// Why a lock of the supervisor cannot be poisoned.
const UNPOISONED: &str = "the lock holds because nobody panics while holding it";
