//! What the taints of its node mean for a pod: a pure choice.
//!
//! Seconds are counted from when the taint was first seen with the pod on its node, as upstream does, and not from the taint's
//! `timeAdded`: after a control plane was away for long, nodes get the time to be heard of again.

use api::tolerations::{LOST, tolerates};
use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use std::time::Duration;
use tokio::time::Instant;

/// A taint that evicts, and since when it is known.
#[derive(Clone, Debug)]
pub(super) struct Noticed {
    pub(super) taint: Taint,
    pub(super) since: Instant,
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    EndsNow,
    EndsAt(Instant),
}

/// The evicting taints of a node; those that were there `before` keep their time.
pub(super) fn notice(node: &Node, before: &[Noticed], now: Instant) -> Vec<Noticed> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let evicting = taints.into_iter().flatten().filter(|taint| taint.effect == "NoExecute");
    let noticed = |taint: &Taint| {
        let known = before.iter().filter(|known| is_same(&known.taint, taint));
        let since = known.map(|known| known.since).min().unwrap_or(now);
        let taint = taint.clone();
        Noticed { taint, since }
    };
    evicting.map(noticed).collect()
}

/// A node that is not ready and then not reachable, or the other way round, has been lost since the first of them.
fn is_same(before: &Taint, now: &Taint) -> bool {
    before.key == now.key || [before, now].iter().all(|taint| LOST.contains(&&*taint.key))
}

/// `since`: when the pod was first seen under taints of its node.
pub(super) fn fate(taints: &[Noticed], tolerations: &[Toleration], since: Instant) -> Fate {
    let mut first: Option<Instant> = None;
    for noticed in taints {
        let Some(toleration) = tolerations.iter().find(|one| tolerates(one, &noticed.taint)) else {
            return Fate::EndsNow;
        };
        let Some(seconds) = toleration.toleration_seconds else {
            continue;
        };
        let Some(seconds) = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0) else {
            return Fate::EndsNow;
        };
        // What is beyond all time never comes.
        let end = noticed.since.max(since).checked_add(Duration::from_secs(seconds));
        first = [first, end].into_iter().flatten().min();
    }
    first.map_or(Fate::Stays, Fate::EndsAt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(taints: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {"taints": taints}})).unwrap()
    }

    fn taint(key: &str) -> Value {
        json!({"key": key, "effect": "NoExecute"})
    }

    fn after(start: Instant, seconds: u64) -> Fate {
        Fate::EndsAt(start + Duration::from_secs(seconds))
    }

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates_every_taint() {
        let start = Instant::now();
        let exists = |key: &str, seconds: Value| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        let (a, b) = (json!([taint("a")]), json!([taint("a"), taint("b")]));
        let soft = json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "PreferNoSchedule"}]);
        let table = [
            (json!([]), json!([]), Fate::Stays),
            (soft, json!([]), Fate::Stays),
            (a.clone(), json!([]), Fate::EndsNow),
            (a.clone(), json!([exists("a", Value::Null)]), Fate::Stays),
            (a.clone(), json!([{"operator": "Exists"}]), Fate::Stays),
            (a.clone(), json!([exists("a", json!(5))]), after(start, 5)),
            (a.clone(), json!([exists("a", json!(0))]), Fate::EndsNow),
            (a.clone(), json!([exists("a", json!(-1))]), Fate::EndsNow),
            (a.clone(), json!([exists("a", json!(i64::MAX))]), Fate::Stays),
            // The first that fits counts, as upstream has it.
            (
                a.clone(),
                json!([exists("a", json!(9)), exists("a", json!(5))]),
                after(start, 9),
            ),
            (a, json!([exists("other", Value::Null)]), Fate::EndsNow),
            (b.clone(), json!([exists("a", json!(5))]), Fate::EndsNow),
            (
                b.clone(),
                json!([exists("a", json!(9)), exists("b", json!(5))]),
                after(start, 5),
            ),
            (
                b,
                json!([exists("a", json!(9)), exists("b", Value::Null)]),
                after(start, 9),
            ),
        ];
        for (taints, tolerations, expected) in table {
            let known = notice(&node(taints.clone()), &[], start);
            let given: Vec<Toleration> = serde_json::from_value(tolerations.clone()).unwrap();
            assert_eq!(fate(&known, &given, start), expected, "{taints} {tolerations}");
        }
    }

    #[test]
    fn seconds_count_from_when_the_pod_was_under_the_taint() {
        let start = Instant::now();
        let later = start + Duration::from_secs(60);
        let tolerations = json!([{"operator": "Exists", "tolerationSeconds": 300}]);
        let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
        let [not_ready, unreachable] = LOST;
        // What the node has first, and a minute later; when a pod that was there, and one that came then, end.
        let table = [
            (not_ready, not_ready, 300, 360),
            (not_ready, unreachable, 300, 360),
            (unreachable, not_ready, 300, 360),
            ("a", "b", 360, 360),
            (not_ready, "a", 360, 360),
        ];
        for (first, second, old, new) in table {
            let known = notice(&node(json!([taint(first)])), &[], start);
            let known = notice(&node(json!([taint(second)])), &known, later);
            assert_eq!(fate(&known, &tolerations, start), after(start, old), "{first} {second}");
            assert_eq!(fate(&known, &tolerations, later), after(start, new), "{first} {second}");
        }
    }
}
