//! What to do next about one pod: a pure choice over what is wanted, what is, and the time.

mod restart_all;
mod stop;

use super::observed::{Container, Driven, Hook, Image, Observed, Run, Sandbox};
use super::probes::{self, Kind};
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
    /// Ask a probe that is due.
    Probe {
        /// Of which container.
        container: String,
        /// Which.
        kind: Kind,
        /// Since when it is due.
        due: Timestamp,
    },
    /// Begin to stop this container: its preStop hook, if there is time for one, then its turn.
    Stop {
        /// Which.
        container: String,
        /// Seconds for all of it.
        grace: i64,
        /// Why.
        why: Why,
    },
    /// Send the stop signal to this container.
    Signal {
        /// Which.
        container: String,
        /// When SIGKILL follows.
        kill_at: Timestamp,
    },
    /// SIGKILL this container.
    Kill(String),
    /// Forget that containers have run, all but ephemeral ones: they begin anew, in the same sandbox.
    BeginAnew,
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

/// Why a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its pod ends.
    PodEnds,
    /// A probe failed too often.
    ProbeFailed {
        /// Which.
        kind: Kind,
        /// Whether it is started again.
        again: bool,
    },
    /// The hook after its start failed.
    PostStartFailed,
    /// The pod wants another image in it.
    Changed {
        /// Whether it is started again.
        again: bool,
    },
    /// It gets other requests or limits, and wants to be started anew with them.
    Resized,
    /// All of its pod's start again.
    AllRestart,
}

/// What to do now, and when to look again if nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In order.
    pub actions: Vec<Action>,
    /// The next point in time at which waiting is over.
    pub wake: Option<Timestamp>,
}

// === impl Why ===

impl Why {
    /// Upstream's words for the event.
    pub fn message(self, container: &str) -> String {
        let and = |again| if again { ", will be restarted" } else { "" };
        match self {
            Self::PodEnds | Self::AllRestart => format!("Stopping container {container}"),
            Self::ProbeFailed { kind, again } => {
                let probe = kind.name().to_lowercase();
                format!("Container {container} failed {probe} probe{}", and(again))
            }
            Self::PostStartFailed => "FailedPostStartHook".to_owned(),
            Self::Changed { again } => format!("Container {container} definition changed{}", and(again)),
            Self::Resized => format!("Container {container} resize requires restart"),
        }
    }

    /// Whether the container is started again whatever it ends with.
    pub fn again(self) -> bool {
        match self {
            // What becomes of it then is decided for all together.
            Self::PodEnds | Self::PostStartFailed | Self::AllRestart => false,
            Self::ProbeFailed { again, .. } | Self::Changed { again } => again,
            Self::Resized => true,
        }
    }
}

// === impl Decision ===

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
        ask(pod, observed, now, &mut decision);
        if wind_down(pod, observed, deleted.grace, now, &mut decision) {
            decision.act(Action::Finish);
        }
    } else if observed.ended.is_some() || spec::has_ended(pod, observed) {
        let grace = observed.grace.unwrap_or_else(|| spec::grace(pod));
        let _ = wind_down(pod, observed, grace, now, &mut decision);
    } else if past_deadline(pod, observed, now, &mut decision) {
        decision.act(Action::End {
            reason: "DeadlineExceeded",
            message: "Pod was active on the node longer than the specified deadline".to_owned(),
        });
    } else if restart_all::is_wanted(pod, observed) {
        restart_all::go_on(pod, observed, now, &mut decision);
    } else {
        stop::those_that_must_go(pod, observed, now, &mut decision);
        ask(pod, observed, now, &mut decision);
        go_on(pod, observed, now, &mut decision);
    }
    decision
}

/// Towards nothing: containers, then the sandbox. True when both are gone.
fn wind_down(pod: &Pod, observed: &Observed, grace: i64, now: Timestamp, decision: &mut Decision) -> bool {
    for (name, container) in observed.containers.iter().filter(|(_, container)| container.runs()) {
        match &container.stopping {
            None => decision.act(Action::Stop {
                container: name.clone(),
                grace,
                why: Why::PodEnds,
            }),
            Some(stopping) => stop::go_on(name, stopping, stop::has_turn(pod, observed, name), now, decision),
        }
    }
    if observed.runs() {
        return false;
    }
    if observed.sandbox == Sandbox::Up || observed.driven == Driven::Held {
        decision.act(Action::TearDown);
        return false;
    }
    // Drivers say when they have let go.
    observed.driven == Driven::Nothing
}

fn past_deadline(pod: &Pod, observed: &Observed, now: Timestamp, decision: &mut Decision) -> bool {
    let Some(seconds) = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds) else {
        return false;
    };
    let deadline = observed.seen + SignedDuration::from_secs(seconds);
    decision.wake_at(deadline);
    now >= deadline
}

/// Asks every probe that is due.
fn ask(pod: &Pod, observed: &Observed, now: Timestamp, decision: &mut Decision) {
    let ends = observed.deleted.is_some();
    for spec in spec::init_containers(pod).iter().chain(spec::containers(pod)) {
        let container = observed.container(&spec.name);
        for kind in probes::KINDS {
            match probes::due(spec, container, kind, ends) {
                Some(due) if due <= now => decision.act(Action::Probe {
                    container: spec.name.clone(),
                    kind,
                    due,
                }),
                Some(due) => decision.wake_at(due),
                None => {}
            }
        }
    }
}

/// Towards running: the sandbox, init containers one after the other, then all containers.
fn go_on(pod: &Pod, observed: &Observed, now: Timestamp, decision: &mut Decision) {
    match observed.sandbox {
        Sandbox::Up => {}
        Sandbox::Failed { at } if now < at + SANDBOX_RETRY => return decision.wake_at(at + SANDBOX_RETRY),
        Sandbox::Absent | Sandbox::Failed { .. } | Sandbox::Down => return decision.act(Action::MakeSandbox),
    }
    for ephemeral in spec::ephemeral_containers(pod) {
        let container = observed.container(&ephemeral.name);
        if matches!(container.run, Run::Never) {
            step(pod, &spec::as_container(ephemeral), container, now, decision);
        }
    }
    let initialized = spec::is_initialized(pod, observed);
    for spec in spec::init_containers(pod) {
        let container = observed.container(&spec.name);
        if spec::is_sidecar(spec) {
            step(pod, spec, container, now, decision);
            if !probes::is_started(spec, container) && !initialized {
                return;
            }
        } else if !container.succeeded() && !initialized {
            // One that failed for good has ended the pod already.
            return step(pod, spec, container, now, decision);
        }
    }
    let mut in_turn = true;
    for spec in spec::containers(pod) {
        let container = observed.container(&spec.name);
        step_in_turn(pod, spec, container, in_turn, now, decision);
        in_turn &= lets_others_start(spec, container);
    }
}

/// A container's first start waits for those before it: pods rely on a hook of the first to be over before the second starts.
/// Images are pulled meanwhile.
fn step_in_turn(
    pod: &Pod,
    spec: &ContainerSpec,
    container: &Container,
    in_turn: bool,
    now: Timestamp,
    decision: &mut Decision,
) {
    let is_first = matches!(container.run, Run::Never);
    let is_here = matches!(container.image, Image::Here { .. });
    if in_turn || !is_first || !is_here {
        step(pod, spec, container, now, decision);
    }
}

fn lets_others_start(spec: &ContainerSpec, container: &Container) -> bool {
    let has_hook = spec.lifecycle.as_ref().is_some_and(|all| all.post_start.is_some());
    let comes_first = match container.image {
        Image::Unknown | Image::Pulling => true,
        // It starts now, and its hook runs only then.
        Image::Here { .. } => has_hook && container.refused.is_none(),
        Image::Failed { .. } => false,
    };
    !(comes_first && matches!(container.run, Run::Never)) && container.post_start != Hook::Running
}

/// One container, one step nearer to running.
fn step(pod: &Pod, spec: &ContainerSpec, container: &Container, now: Timestamp, decision: &mut Decision) {
    match &container.run {
        Run::Running { .. } => return,
        Run::Never => {}
        Run::Ended(ended) => {
            if !container.again && !spec::restarts(pod, spec, ended.code) {
                return;
            }
            if let Some(until) = container.pause(ended, now) {
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

/// Whether a container that is stopped for a probe or a change is started again (upstream: computePodActions).
fn starts_again(pod: &Pod, spec: &ContainerSpec) -> bool {
    spec::policy(pod, spec) != RestartPolicy::Never
}

#[cfg(test)]
mod tests;
