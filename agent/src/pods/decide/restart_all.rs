//! All containers of a pod start again, because one of them ended as a rule of it says (KEP-5532): what runs is killed without
//! grace and without hooks, then everything begins anew in the same sandbox, init containers first.

use super::super::observed::{Observed, Stage};
use super::super::spec;
use super::{Action, Decision, Why};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

/// Whether any container's end asks for it.
pub fn is_wanted(pod: &Pod, observed: &Observed) -> bool {
    spec::restart_sources(pod, observed).next().is_some()
}

/// One step further. Whoever asks for it again and again waits as any container does that fails.
pub fn go_on(pod: &Pod, observed: &Observed, now: Timestamp, decision: &mut Decision) {
    for (name, container) in observed.containers.iter().filter(|(_, container)| container.runs()) {
        match container.stopping.map(|stopping| stopping.stage) {
            None => decision.act(Action::Stop {
                container: name.clone(),
                grace: 0,
                why: Why::AllRestart,
            }),
            Some(Stage::Hook | Stage::Turn | Stage::Signalled { .. }) => decision.act(Action::Kill(name.clone())),
            Some(Stage::Killed) => {}
        }
    }
    if observed.runs() {
        return;
    }
    let pauses = spec::restart_sources(pod, observed).filter_map(|spec| {
        let container = observed.container(&spec.name);
        container.pause(container.ended()?, now)
    });
    match pauses.max() {
        Some(until) => decision.wake_at(until),
        None => decision.act(Action::BeginAnew),
    }
}
