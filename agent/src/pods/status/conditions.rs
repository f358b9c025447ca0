//! A pod's conditions; times of the last change are kept from what the API has.

use super::super::observed::{Observed, Sandbox};
use super::super::spec;
use super::containers::{has_initialized, is_done};
use super::phase::Phase;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Conditions of this node's that are there only while they hold.
pub const PASSING: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

/// Conditions that nobody but this node says (upstream: kubelet/types, PodConditionByKubelet).
const OWN: [&str; 8] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "AllContainersRestarting",
    PASSING[0],
    PASSING[1],
];

/// Why this node, and not somebody else, disrupts a pod.
const BY_NODE: &str = "TerminationByKubelet";

/// Whether this node says it, and takes nobody else's word for it.
pub fn is_own(condition: &PodCondition) -> bool {
    let disrupts = condition.type_ == "DisruptionTarget" && condition.reason.as_deref() == Some(BY_NODE);
    OWN.contains(&condition.type_.as_str()) || disrupts
}

struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

/// The node's five conditions, and whatever others wrote. `containers`: those that are to be ready.
pub fn conditions(
    pod: &Pod,
    observed: &Observed,
    phase: Phase,
    containers: &[&ContainerStatus],
    now: Timestamp,
) -> Vec<PodCondition> {
    let known = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let scheduled = Verdict {
        kind: "PodScheduled",
        holds: true,
        reason: None,
        message: None,
    };
    let sandbox = Verdict {
        kind: "PodReadyToStartContainers",
        holds: observed.sandbox == Sandbox::Up,
        reason: None,
        message: None,
    };
    let restarting = spec::may_restart_all(pod).then(|| all_restarting(pod, observed, phase));
    let ready = containers_ready(phase, containers);
    let gates = gates(pod, known, &ready);
    let verdicts = [sandbox, initialized(pod, observed, phase), gates, ready, scheduled];
    let resize = observed.resize.iter().map(|resize| Verdict {
        kind: resize.condition,
        holds: true,
        reason: Some(resize.reason),
        message: Some(resize.message.clone()),
    });
    let disruption = observed.disruption.iter().map(|message| Verdict {
        kind: "DisruptionTarget",
        holds: true,
        reason: Some(BY_NODE),
        message: Some(message.clone()),
    });
    let ours: Vec<PodCondition> = verdicts
        .into_iter()
        .chain(restarting)
        .chain(resize)
        .chain(disruption)
        .map(|verdict| dated(pod, known, verdict, now))
        .collect();
    let others = known
        .iter()
        .filter(|known| !PASSING.contains(&known.type_.as_str()))
        .filter(|known| ours.iter().all(|condition| condition.type_ != known.type_))
        .cloned();
    let mut all = ours.clone();
    all.extend(others);
    all
}

fn initialized(pod: &Pod, observed: &Observed, phase: Phase) -> Verdict {
    let verdict = |holds, reason, message| Verdict {
        kind: "Initialized",
        holds,
        reason,
        message,
    };
    if phase == Phase::Succeeded {
        return verdict(true, Some("PodCompleted"), None);
    }
    if has_initialized(pod, observed) {
        return verdict(true, None, None);
    }
    let incomplete = spec::init_containers(pod)
        .iter()
        .filter(|spec| !is_done(spec, observed));
    let names: Vec<&str> = incomplete.map(|spec| spec.name.as_str()).collect();
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    verdict(false, Some("ContainersNotInitialized"), Some(message))
}

/// Of pods with rules by which one container's end has all start again (KEP-5532).
fn all_restarting(pod: &Pod, observed: &Observed, phase: Phase) -> Verdict {
    let begins = spec::restart_sources(pod, observed).next().is_some();
    let (reason, message) = match phase {
        Phase::Succeeded => (Some("PodCompleted"), None),
        Phase::Failed => (Some("PodFailed"), None),
        Phase::Pending | Phase::Running if begins => (
            Some("RestartAllContainersStarted"),
            Some("container exited with restart policy rule".to_owned()),
        ),
        Phase::Pending | Phase::Running => (None, None),
    };
    Verdict {
        kind: "AllContainersRestarting",
        holds: begins && !phase.is_final(),
        reason,
        message,
    }
}

fn containers_ready(phase: Phase, containers: &[&ContainerStatus]) -> Verdict {
    let verdict = |holds, reason, message| Verdict {
        kind: "ContainersReady",
        holds,
        reason,
        message,
    };
    if phase.is_final() {
        let reason = if phase == Phase::Succeeded {
            "PodCompleted"
        } else {
            "PodFailed"
        };
        return verdict(false, Some(reason), None);
    }
    let unready: Vec<&str> = containers
        .iter()
        .filter(|status| !status.ready)
        .map(|status| status.name.as_str())
        .collect();
    if unready.is_empty() {
        return verdict(true, None, None);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    verdict(false, Some("ContainersNotReady"), Some(message))
}

/// Ready is ContainersReady plus every readiness gate (KEP-580).
fn gates(pod: &Pod, known: &[PodCondition], ready: &Verdict) -> Verdict {
    let wanted = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.readiness_gates.as_deref())
        .unwrap_or_default();
    let shut = wanted.iter().filter_map(|gate| {
        let kind = &gate.condition_type;
        match known.iter().find(|condition| condition.type_ == *kind) {
            None => Some(format!(
                "corresponding condition of pod readiness gate {kind:?} does not exist."
            )),
            Some(condition) if condition.status != "True" => Some(format!(
                "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                condition.status
            )),
            Some(_) => None,
        }
    });
    let shut: Vec<String> = shut.collect();
    match shut.is_empty() {
        false if ready.holds => Verdict {
            kind: "Ready",
            holds: false,
            reason: Some("ReadinessGatesNotReady"),
            message: Some(shut.join(", ")),
        },
        false | true => Verdict {
            kind: "Ready",
            holds: ready.holds,
            reason: ready.reason,
            message: ready.message.clone(),
        },
    }
}

fn dated(pod: &Pod, known: &[PodCondition], verdict: Verdict, now: Timestamp) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = known
        .iter()
        .find(|condition| condition.type_ == verdict.kind && condition.status == status);
    let since = before
        .and_then(|condition| condition.last_transition_time.clone())
        .unwrap_or(Time(now));
    PodCondition {
        type_: verdict.kind.to_owned(),
        status: status.to_owned(),
        last_transition_time: Some(since),
        observed_generation: pod.metadata.generation,
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        ..PodCondition::default()
    }
}
