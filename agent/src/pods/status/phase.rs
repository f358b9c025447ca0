//! The one word for a pod (upstream: the kubelet's getPhase).

use super::super::observed::{Hook, Observed, Run, Sandbox};
use super::super::spec;
use k8s_openapi::api::core::v1::{Container, Pod};

/// A pod's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have been started.
    Pending,
    /// Started, and some container runs or will again.
    Running,
    /// All ended well, for good.
    Succeeded,
    /// All ended, at least one badly, for good.
    Failed,
}

impl Phase {
    /// The API's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Whether the pod was deleted and nothing of it is left here: what did not run by now never will.
pub fn is_gone(observed: &Observed) -> bool {
    observed.deleted.is_some() && !observed.runs() && observed.sandbox != Sandbox::Up
}

/// Decides.
pub fn phase(pod: &Pod, observed: &Observed) -> Phase {
    let stopped = observed.deleted.is_some() && !observed.runs();
    if observed.ended.is_some() {
        return if observed.runs() { Phase::Running } else { Phase::Failed };
    }
    let runs: Vec<&Run> = spec::containers(pod)
        .iter()
        .map(|spec| &observed.container(&spec.name).run)
        .collect();
    let ended = || {
        runs.iter()
            .filter_map(|run| if let Run::Ended(ended) = run { Some(ended) } else { None })
    };
    let all_ended = ended().count() == runs.len() && !runs.is_empty();
    let ended_well = ended().all(|ended| ended.code == 0);
    if spec::has_ended(pod, observed) || (stopped && all_ended) || is_gone(observed) {
        let init_failed = !all_ended;
        // A pod that is deleted while it would be restarted ends as its containers did; one that never ran has failed.
        return if ended_well && !init_failed {
            Phase::Succeeded
        } else {
            Phase::Failed
        };
    }
    let has_come_up = |spec: &Container| {
        let container = observed.container(&spec.name);
        let runs = !matches!(container.run, Run::Never) && container.post_start != Hook::Running;
        runs || container.before.is_some()
    };
    if !spec::containers(pod).iter().all(has_come_up) {
        Phase::Pending
    } else {
        Phase::Running
    }
}
