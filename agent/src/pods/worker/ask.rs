//! What the worker asks of containers that run: probes and hooks. Each is a task until it is answered; its answer is an input.

use super::{Input, Worker};
use crate::pods::observed::{Hook, Run, Stage, Stopping};
use crate::pods::probes::{self, Answer, Kind};
use crate::pods::{hooks, spec};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

/// Which of a container's hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After its start.
    PostStart,
    /// Before its stop.
    PreStop,
}

// === impl Moment ===

impl Moment {
    /// The container's hook for it.
    pub fn of(self, container: &Container) -> Option<&LifecycleHandler> {
        let lifecycle = container.lifecycle.as_ref()?;
        match self {
            Self::PostStart => lifecycle.post_start.as_ref(),
            Self::PreStop => lifecycle.pre_stop.as_ref(),
        }
    }
}

impl Worker {
    /// Asks a probe.
    pub(super) fn probe(&mut self, name: &str, kind: Kind, due: Timestamp) {
        let Some(container) = spec::any_container(&self.pod, name).map(std::borrow::Cow::into_owned) else {
            return;
        };
        let (Some(sandbox), Some(probe)) = (self.sandbox.clone(), kind.of(&container).cloned()) else {
            return;
        };
        let Some(attempt) = self.attempt(name) else { return };
        let state = self.observed.container_mut(name).probes.of_mut(kind);
        state.asked(&probe, due, Timestamp::now());
        let (sender, ip) = (self.sender.clone(), self.observed.ips.first().copied());
        tokio::spawn(async move {
            let answer = probes::ask(&probe, &container, ip, &sandbox).await;
            let container = container.name;
            let _ = sender.send(Input::Probed {
                container,
                attempt,
                kind,
                answer,
            });
        });
    }

    /// Takes an answer; whether anything is another by it than before.
    pub(super) fn probed(&mut self, name: &str, attempt: u32, kind: Kind, answer: &Answer) -> bool {
        if self.attempt(name) != Some(attempt) {
            return false;
        }
        let Some(container) = spec::any_container(&self.pod, name).map(std::borrow::Cow::into_owned) else {
            return false;
        };
        let Some(probe) = kind.of(&container) else { return false };
        self.host.directory.probes.count(&self.pod, name, kind, answer);
        let word = kind.name();
        let said = match answer {
            Answer::Success => None,
            Answer::Warning(output) => Some(("ProbeWarning", format!("{word} probe warning: {output}"))),
            Answer::Failure(output) => Some(("Unhealthy", format!("{word} probe failed: {output}"))),
            Answer::Error(why) => Some((
                "Unhealthy",
                format!("{word} probe errored and resulted in unknown state: {why}"),
            )),
        };
        let known = self.observed.container(name);
        if let Some((reason, message)) = said
            && known.stopping.is_none()
        {
            self.host.events.warning(&self.pod, name, reason, message);
        }
        let was_started = probes::is_started(&container, known);
        let changed = self
            .observed
            .container_mut(name)
            .probes
            .of_mut(kind)
            .take(probe, answer);
        changed || was_started != probes::is_started(&container, self.observed.container(name))
    }

    /// Starts a hook of a container that runs, if it has one; whether it has.
    pub(super) fn run_hook(&mut self, name: &str, moment: Moment) -> bool {
        let Some(container) = spec::any_container(&self.pod, name).map(std::borrow::Cow::into_owned) else {
            return false;
        };
        let (Some(sandbox), Some(hook)) = (self.sandbox.clone(), moment.of(&container).cloned()) else {
            return false;
        };
        let Some(attempt) = self.attempt(name) else {
            return false;
        };
        let (sender, ip) = (self.sender.clone(), self.observed.ips.first().copied());
        let task = tokio::spawn(async move {
            let result = hooks::run(&hook, &container, ip, &sandbox).await;
            let container = container.name;
            let _ = sender.send(Input::Hooked {
                container,
                attempt,
                moment,
                result,
            });
        });
        if let Some(before) = self.hooks.insert(name.to_owned(), task.abort_handle()) {
            before.abort();
        }
        true
    }

    /// Takes a hook's end.
    pub(super) fn hooked(&mut self, name: &str, attempt: u32, moment: Moment, result: &Result<(), String>) {
        if self.attempt(name) != Some(attempt) {
            return;
        }
        if let Err(why) = result {
            tracing::warn!(pod = %spec::full_name(&self.pod), container = name, ?moment, why, "hook failed");
            // Without the cause, which may hold secrets of the server.
            let (reason, message) = match moment {
                Moment::PostStart => ("FailedPostStartHook", "PostStartHook failed"),
                Moment::PreStop => ("FailedPreStopHook", "PreStopHook failed"),
            };
            self.host.events.warning(&self.pod, name, reason, message.to_owned());
        }
        let container = self.observed.container_mut(name);
        match (moment, &mut container.stopping) {
            (Moment::PostStart, _) => {
                container.post_start = if result.is_ok() { Hook::Over } else { Hook::Failed };
            }
            (Moment::PreStop, Some(stopping)) if stopping.stage == Stage::Hook => stopping.stage = Stage::Turn,
            (Moment::PreStop, Some(Stopping { .. }) | None) => {}
        }
    }

    /// Which run of a container is going on.
    pub(super) fn attempt(&self, name: &str) -> Option<u32> {
        match self.observed.container(name).run {
            Run::Running { attempt, .. } => Some(attempt),
            Run::Never | Run::Ended(_) => None,
        }
    }
}
