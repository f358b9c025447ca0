//! A pod's status as the API shows it, from what the node knows: pure.

mod conditions;
mod containers;
mod phase;

use super::observed::{Container, Observed, Run, Sandbox};
use super::spec;
use conditions::conditions;
pub use conditions::is_own;
use containers::container_status;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use phase::phase;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// The whole status of a pod on a node with the addresses `host`.
pub fn status(pod: &Pod, observed: &Observed, host: &[IpAddr], now: Timestamp) -> PodStatus {
    let of = |specs: &[k8s_openapi::api::core::v1::Container]| {
        let all = specs.iter().map(|spec| container_status(pod, spec, observed, now));
        Some(all.collect::<Vec<_>>()).filter(|all| !all.is_empty())
    };
    let container_statuses = of(spec::containers(pod));
    let init_container_statuses = of(spec::init_containers(pod));
    let ephemeral: Vec<_> = spec::ephemeral_containers(pod).iter().map(spec::as_container).collect();
    let ephemeral_container_statuses = of(&ephemeral);
    let phase = phase(pod, observed);
    let sidecars = init_container_statuses.iter().flatten();
    let sidecars = sidecars.filter(|status| {
        let mut inits = spec::init_containers(pod).iter();
        inits.any(|init| init.name == status.name && spec::is_sidecar(init))
    });
    let lasting: Vec<_> = sidecars.chain(container_statuses.iter().flatten()).collect();
    let (reason, message) = observed
        .ended
        .clone()
        .map_or((None, None), |(reason, message)| (Some(reason), Some(message)));
    let conditions = conditions(pod, observed, phase, &lasting, now);
    // Nothing is waited for: with a waiting container kubectl shows what that waits for in place of the pod's reason.
    let began = !is_refused(observed);
    PodStatus {
        conditions: Some(conditions),
        container_statuses: container_statuses.filter(|_| began),
        init_container_statuses: init_container_statuses.filter(|_| began),
        ephemeral_container_statuses: ephemeral_container_statuses.filter(|_| began),
        host_ip: host.first().map(ToString::to_string),
        host_ips: Some(host.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: observed.ips.first().map(ToString::to_string),
        pod_ips: Some(
            observed
                .ips
                .iter()
                .map(|ip| PodIP { ip: ip.to_string() })
                .collect::<Vec<_>>(),
        )
        .filter(|ips| !ips.is_empty()),
        observed_generation: pod.metadata.generation,
        phase: Some(phase.name().to_owned()),
        qos_class: pod.spec.as_ref().map(|spec| spec::qos(spec).name().to_owned()),
        reason,
        message,
        start_time: Some(Time(observed.seen)),
        ..PodStatus::default()
    }
}

/// Whether the node ended the pod before anything of it began.
fn is_refused(observed: &Observed) -> bool {
    let never = |container: &Container| container.run == Run::Never;
    observed.ended.is_some() && observed.sandbox == Sandbox::Absent && observed.containers.values().all(never)
}

/// What to send so that the API's status becomes `wanted`: only fields that differ; None when none does. The pod's UID
/// goes along so that a namesake made meanwhile is not touched.
pub fn patch(uid: Option<&str>, sent: Option<&PodStatus>, wanted: &PodStatus) -> Option<Value> {
    let fields = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    let (old, new) = (sent.map(fields).unwrap_or_default(), fields(wanted));
    let mut changed = Map::new();
    for (name, value) in &new {
        if old.get(name) != Some(value) {
            changed.insert(name.clone(), value.clone());
        }
    }
    if changed.remove("conditions").is_some() {
        let conditions: Vec<Value> = said(sent, wanted).chain(past(sent, wanted)).collect();
        if !conditions.is_empty() {
            changed.insert("conditions".to_owned(), Value::Array(conditions));
        }
    }
    for name in old
        .keys()
        .filter(|name| OURS.contains(&name.as_str()) && !new.contains_key(*name))
    {
        changed.insert(name.clone(), Value::Null);
    }
    (!changed.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": changed}))
}

/// This node's conditions that are others than before; what one no longer says is taken back. Others' conditions are theirs.
fn said<'a>(sent: Option<&'a PodStatus>, wanted: &'a PodStatus) -> impl Iterator<Item = Value> + 'a {
    let old = move |kind: &str| {
        let mut old = sent?.conditions.iter().flatten();
        old.find(|condition| condition.type_ == kind)
    };
    let own = wanted.conditions.iter().flatten().filter(|condition| is_own(condition));
    own.filter_map(move |condition| {
        let before = old(&condition.type_);
        let mut new = json!(condition);
        for (key, _) in json!(before).as_object().into_iter().flatten() {
            if new[key].is_null() {
                new[key] = Value::Null;
            }
        }
        (before != Some(condition)).then_some(new)
    })
}

/// What takes conditions back that hold no more: a merge by type would keep them.
fn past(sent: Option<&PodStatus>, wanted: &PodStatus) -> Vec<Value> {
    let kinds = |status: &PodStatus| -> Vec<String> {
        let conditions = status.conditions.iter().flatten();
        conditions.map(|condition| condition.type_.clone()).collect()
    };
    let (old, new) = (sent.map(kinds).unwrap_or_default(), kinds(wanted));
    let passing = |kind: &String| conditions::PASSING.contains(&kind.as_str()) && !new.contains(kind);
    let gone = old.into_iter().filter(passing);
    gone.map(|kind| json!({"$patch": "delete", "type": kind})).collect()
}

/// Why a container does not run, as its status says; nothing when it does or did.
pub fn waiting_reason(pod: &Pod, container: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .chain(&status.ephemeral_container_statuses)
        .flatten();
    let mut named = all.filter(|status| status.name == container);
    named.next()?.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

/// Fields that this node writes, and therefore clears.
const OURS: [&str; 5] = ["reason", "message", "podIP", "podIPs", "initContainerStatuses"];

#[cfg(test)]
mod tests;
