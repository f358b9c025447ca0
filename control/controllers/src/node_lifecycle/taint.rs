//! Which taints a node's conditions ask for (upstream `TaintNodesByCondition`).

use super::health::condition;
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

/// All taints of the node as they should be; none if they are so.
pub(super) fn changed(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let wanted = taints(node);
    let ours = |taint: &Taint| {
        taint.effect == EFFECT && (taint.key == CORDONED || BY_CONDITION.iter().any(|(_, _, key)| taint.key == *key))
    };
    let mut next: Vec<Taint> = present.clone();
    next.retain(|taint| !ours(taint) || wanted.contains(&taint.key.as_str()));
    for key in wanted {
        if !next.iter().any(|taint| taint.key == key && taint.effect == EFFECT) {
            next.push(Taint {
                key: key.into(),
                effect: EFFECT.into(),
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
        let table = [
            (json!({}), "True", None),
            (json!({"taints": [user]}), "True", None),
            (json!({}), "False", Some(vec!["node.kubernetes.io/not-ready"])),
            (json!({"taints": [not_ready]}), "False", None),
            (
                json!({"taints": [user, not_ready]}),
                "Unknown",
                Some(vec!["gpu", "node.kubernetes.io/unreachable"]),
            ),
            (
                json!({"taints": [user, not_ready, evicting]}),
                "True",
                Some(vec!["gpu", "node.kubernetes.io/not-ready"]),
            ),
            (
                json!({"unschedulable": true}),
                "True",
                Some(vec!["node.kubernetes.io/unschedulable"]),
            ),
        ];
        for (spec, ready, expected) in table {
            let found = changed(&node(spec.clone(), ready), Timestamp::UNIX_EPOCH);
            let keys = found.map(|taints| taints.iter().map(|taint| taint.key.clone()).collect::<Vec<_>>());
            assert_eq!(
                keys,
                expected.map(|keys| keys.iter().map(ToString::to_string).collect()),
                "{spec} {ready}"
            );
        }
    }
}
