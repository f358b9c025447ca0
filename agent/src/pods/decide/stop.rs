//! A container's way out: hook, turn, signal, SIGKILL (upstream: killContainer and terminationOrdering in pkg/kubelet/kuberuntime).

use super::super::observed::{Hook, Observed, Run, Stage, Stopping};
use super::super::probes;
use super::super::spec;
use super::{Action, Decision, Why, starts_again};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod};

/// What is left of the grace period when the stop signal is sent, at least: upstream's minimumGracePeriodInSeconds.
const LEAST: SignedDuration = SignedDuration::from_secs(2);

/// Containers of a pod that goes on which must not: those whose probe or hook failed, and those that are to be another image.
pub fn those_that_must_go(pod: &Pod, observed: &Observed, now: Timestamp, decision: &mut Decision) {
    for spec in spec::init_containers(pod).iter().chain(spec::containers(pod)) {
        let container = observed.container(&spec.name);
        if !matches!(container.run, Run::Running { .. }) {
            continue;
        }
        if let Some(stopping) = &container.stopping {
            go_on(&spec.name, stopping, true, now, decision);
            continue;
        }
        let again = starts_again(pod, spec);
        let is_other = !container.made_of.is_empty() && spec.image.as_ref() != Some(&container.made_of);
        let why = match (&container.post_start, probes::failed(spec, container)) {
            (Hook::Failed, _) => Why::PostStartFailed,
            (Hook::Over | Hook::Running, _) if is_other => Why::Changed { again },
            (Hook::Over | Hook::Running, Some(kind)) => Why::ProbeFailed { kind, again },
            (Hook::Over | Hook::Running, None) => continue,
        };
        decision.act(Action::Stop {
            container: spec.name.clone(),
            grace: grace(pod, spec, why),
            why,
        });
    }
}

/// A failed probe may have a grace period of its own.
fn grace(pod: &Pod, spec: &ContainerSpec, why: Why) -> i64 {
    let probe = match why {
        Why::ProbeFailed { kind, .. } => kind.of(spec),
        Why::PodEnds | Why::PostStartFailed | Why::Changed { .. } | Why::Resized | Why::AllRestart => None,
    };
    let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
    own.unwrap_or_else(|| spec::grace(pod))
}

/// One step further on the way out.
pub fn go_on(name: &str, stopping: &Stopping, has_turn: bool, now: Timestamp, decision: &mut Decision) {
    let signal = || Action::Signal {
        container: name.to_owned(),
        kill_at: stopping.deadline.max(now + LEAST),
    };
    match stopping.stage {
        Stage::Turn if has_turn => decision.act(signal()),
        Stage::Hook | Stage::Turn if now >= stopping.deadline => decision.act(signal()),
        Stage::Hook | Stage::Turn => decision.wake_at(stopping.deadline),
        Stage::Signalled { kill_at } if now >= kill_at => decision.act(Action::Kill(name.to_owned())),
        Stage::Signalled { kill_at } => decision.wake_at(kill_at),
        Stage::Killed => {}
    }
}

/// Whether a container of a pod that ends may be sent its signal: a sidecar waits until all ordinary containers and all
/// sidecars after it have ended (KEP-753).
pub fn has_turn(pod: &Pod, observed: &Observed, name: &str) -> bool {
    let inits = spec::init_containers(pod);
    let Some(place) = inits
        .iter()
        .position(|init| init.name == name && spec::is_sidecar(init))
    else {
        return true;
    };
    let later = inits[place + 1..].iter().filter(|init| spec::is_sidecar(init));
    let mut needing = later.chain(spec::containers(pod));
    !needing.any(|spec| observed.container(&spec.name).runs())
}
