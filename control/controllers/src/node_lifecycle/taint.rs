//! Which taints a node's conditions ask for (upstream `TaintNodesByCondition`), and those by which it loses its pods.

use super::health::condition;
use api::tolerations::LOST;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Condition, its status, and the taint that follows from it.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];
const CORDONED: &str = "node.kubernetes.io/unschedulable";
const EFFECT: &str = "NoSchedule";
/// What evicts, in the same words.
const EVICTS: &str = "NoExecute";

/// The keys of the NoSchedule taints that a node must have, and that it must not have otherwise.
pub fn taints(node: &Node) -> Vec<&'static str> {
    let follows =
        |(kind, status, _): &&(&str, &str, &str)| condition(node, kind).is_some_and(|known| known.status == *status);
    let mut keys: Vec<&str> = BY_CONDITION.iter().filter(follows).map(|(_, _, key)| *key).collect();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false) {
        keys.push(CORDONED);
    }
    keys
}

/// The key of the evicting taint that a lost node has.
pub(super) fn lost(node: &Node) -> Option<&'static str> {
    LOST.into_iter().find(|key| taints(node).contains(key))
}

/// Whether its pods are being evicted because it was lost.
pub(super) fn is_evicting(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.into_iter().flatten().any(evicts)
}

fn evicts(taint: &Taint) -> bool {
    taint.effect == EVICTS && LOST.contains(&&*taint.key)
}

/// All taints of the node as they should be, `evicting` among them; none if they are so.
pub(super) fn changed(node: &Node, evicting: Option<&'static str>, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let by_condition = taints(node).into_iter().map(|key| (key, EFFECT));
    let wanted: Vec<_> = by_condition.chain(evicting.map(|key| (key, EVICTS))).collect();
    let is_ours = |taint: &Taint| {
        let by_condition = || BY_CONDITION.iter().any(|(_, _, key)| taint.key == *key);
        taint.effect == EFFECT && (taint.key == CORDONED || by_condition()) || evicts(taint)
    };
    let mut next: Vec<Taint> = present.clone();
    next.retain(|taint| !is_ours(taint) || wanted.contains(&(&taint.key, &taint.effect)));
    for (key, effect) in wanted {
        if !next.iter().any(|taint| taint.key == key && taint.effect == effect) {
            next.push(Taint {
                key: key.into(),
                effect: effect.into(),
                value: None,
                time_added: Some(Time(now)),
            });
        }
    }
    (next != present).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(spec: Value, ready: &str) -> Node {
        let conditions = json!([{"type": "Ready", "status": ready}]);
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec, "status": {"conditions": conditions}}))
            .unwrap()
    }

    #[test]
    fn taints_follow_conditions_and_leave_others_alone() {
        let user = json!({"key": "gpu", "value": "yes", "effect": "NoSchedule"});
        let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
        let evicting = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"});
        let [not_ready_key, unreachable_key] = LOST;
        let table = [
            (json!({}), "True", None, None),
            (json!({"taints": [user]}), "True", None, None),
            (json!({}), "False", None, Some(vec![not_ready_key])),
            (json!({"taints": [not_ready]}), "False", None, None),
            (
                json!({"taints": [not_ready]}),
                "False",
                Some(not_ready_key),
                Some(vec![not_ready_key, "node.kubernetes.io/not-ready:NoExecute"]),
            ),
            (
                json!({"taints": [not_ready, evicting]}),
                "False",
                Some(not_ready_key),
                None,
            ),
            (
                json!({"taints": [not_ready, evicting]}),
                "Unknown",
                Some(unreachable_key),
                Some(vec![unreachable_key, "node.kubernetes.io/unreachable:NoExecute"]),
            ),
            (
                json!({"taints": [user, not_ready]}),
                "Unknown",
                None,
                Some(vec!["gpu", unreachable_key]),
            ),
            (
                json!({"taints": [user, not_ready, evicting]}),
                "True",
                None,
                Some(vec!["gpu"]),
            ),
            (
                json!({"unschedulable": true}),
                "True",
                None,
                Some(vec!["node.kubernetes.io/unschedulable"]),
            ),
        ];
        for (spec, ready, lost_as, expected) in table {
            let found = changed(&node(spec.clone(), ready), lost_as, Timestamp::UNIX_EPOCH);
            let name = |taint: &Taint| match &*taint.effect {
                EFFECT => taint.key.clone(),
                effect => format!("{}:{effect}", taint.key),
            };
            let keys = found.map(|taints| taints.iter().map(name).collect::<Vec<_>>());
            assert_eq!(
                keys,
                expected.map(|keys| keys.iter().map(ToString::to_string).collect()),
                "{spec} {ready}"
            );
        }
    }
}
