//! What to do next about one pod: a pure choice over what is wanted, what is, and the time.

use super::observed::{Container, Image, Observed, Run, Sandbox};
use super::spec::{self, RestartPolicy};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod};

/// Pause after a failed attempt to make a sandbox: upstream's sync loop comes round about as often.
const SANDBOX_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// One thing to do; the worker does them in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make namespaces, network, volumes and managed files.
    MakeSandbox,
    /// Have this container's image on the node.
    Pull(String),
    /// Start this container.
    Start(String),
    /// Ask this container to stop, and remember when patience ends.
    Stop {
        /// Which.
        container: String,
        /// Seconds until SIGKILL.
        grace: i64,
    },
    /// SIGKILL this container.
    Kill(String),
    /// Take namespaces, network and volumes down.
    TearDown,
    /// Say how it ended and take the pod out of the API.
    Finish,
    /// End the pod for this reason.
    End {
        /// For status.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
}

/// What to do now, and when to look again if nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In order.
    pub actions: Vec<Action>,
    /// The next point in time at which waiting is over.
    pub wake: Option<Timestamp>,
}

impl Decision {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Decides about one pod.
#[must_use]
pub fn decide(pod: &Pod, observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    if let Some(deleted) = observed.deleted {
        if wind_down(observed, deleted.grace, now, &mut decision) {
            decision.act(Action::Finish);
        }
    } else if observed.ended.is_some() || spec::has_ended(pod, observed) {
        let _ = wind_down(observed, spec::grace(pod), now, &mut decision);
    } else if past_deadline(pod, observed, now, &mut decision) {
        decision.act(Action::End {
            reason: "DeadlineExceeded",
            message: "Pod was active on the node longer than the specified deadline".to_owned(),
        });
    } else {
        go_on(pod, observed, now, &mut decision);
    }
    decision
}

/// Towards nothing: containers, then the sandbox. True when both are gone.
fn wind_down(observed: &Observed, grace: i64, now: Timestamp, decision: &mut Decision) -> bool {
    for (name, container) in observed.containers.iter().filter(|(_, container)| container.runs()) {
        match container.stopping {
            None => decision.act(Action::Stop {
                container: name.clone(),
                grace,
            }),
            Some(stopping) if stopping.killed => {}
            Some(stopping) if now >= stopping.kill_at => decision.act(Action::Kill(name.clone())),
            Some(stopping) => decision.wake_at(stopping.kill_at),
        }
    }
    if observed.runs() {
        return false;
    }
    if observed.sandbox == Sandbox::Up {
        decision.act(Action::TearDown);
        return false;
    }
    true
}

fn past_deadline(pod: &Pod, observed: &Observed, now: Timestamp, decision: &mut Decision) -> bool {
    let Some(seconds) = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds) else {
        return false;
    };
    let deadline = observed.seen + SignedDuration::from_secs(seconds);
    decision.wake_at(deadline);
    now >= deadline
}

/// Towards running: the sandbox, init containers one after the other, then all containers.
fn go_on(pod: &Pod, observed: &Observed, now: Timestamp, decision: &mut Decision) {
    match observed.sandbox {
        Sandbox::Up => {}
        Sandbox::Failed { at } if now < at + SANDBOX_RETRY => return decision.wake_at(at + SANDBOX_RETRY),
        Sandbox::Absent | Sandbox::Failed { .. } | Sandbox::Down => return decision.act(Action::MakeSandbox),
    }
    let policy = spec::restart_policy(pod);
    let initialized = spec::containers(pod)
        .iter()
        .any(|spec| started_once(observed.container(&spec.name)));
    for spec in spec::init_containers(pod) {
        let container = observed.container(&spec.name);
        if spec::is_sidecar(spec) {
            step(spec, container, RestartPolicy::Always, now, decision);
            if !container.runs() && !initialized {
                return;
            }
        } else if !container.succeeded() && !initialized {
            // A failed init container is tried again unless the pod is never restarted, and that pod has ended already.
            return step(spec, container, RestartPolicy::OnFailure, now, decision);
        }
    }
    for spec in spec::containers(pod) {
        step(spec, observed.container(&spec.name), policy, now, decision);
    }
}

fn started_once(container: &Container) -> bool {
    !matches!(container.run, Run::Never)
}

/// One container, one step nearer to running.
fn step(spec: &ContainerSpec, container: &Container, policy: RestartPolicy, now: Timestamp, decision: &mut Decision) {
    match &container.run {
        Run::Running { .. } => return,
        Run::Never => {}
        Run::Ended(ended) => {
            if !policy.restarts(ended.code) {
                return;
            }
            if let Some(until) = container.backoff.until(ended.finished, now) {
                return decision.wake_at(until);
            }
        }
    }
    if let Some(refused) = &container.refused
        && now < refused.retry
    {
        return decision.wake_at(refused.retry);
    }
    match &container.image {
        Image::Pulling => {}
        Image::Here { .. } => decision.act(Action::Start(spec.name.clone())),
        Image::Unknown => decision.act(Action::Pull(spec.name.clone())),
        Image::Failed { at, backoff, .. } => match backoff.until(*at, now) {
            Some(until) => decision.wake_at(until),
            None => decision.act(Action::Pull(spec.name.clone())),
        },
    }
}

#[cfg(test)]
mod tests;
