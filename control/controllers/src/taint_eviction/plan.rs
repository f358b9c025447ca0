//! Which pods are to end, and when: kept while nodes get and lose taints, and pods come, change and go. Knows no API.

use super::fate::{Fate, Noticed, fate, notice};
use crate::pod::Pod;
use client::{Key, Object};
use k8s_openapi::api::core::v1::Node;
use std::collections::{BTreeSet, HashMap};
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Plan {
    /// The evicting taints of the nodes that have any.
    nodes: HashMap<String, Vec<Noticed>>,
    waiting: HashMap<Key, Waiting>,
    order: BTreeSet<(Instant, Key)>,
}

struct Waiting {
    uid: Box<str>,
    /// When the pod was first seen under taints of its node.
    since: Instant,
    end: Instant,
}

/// What a step of the plan asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Step {
    Nothing,
    /// A pod that was to end is not to end any more.
    Cancel,
    /// The pod is to end now.
    Evict,
}

impl Plan {
    /// Takes in a node's taints; true if its pods are to be looked at again.
    pub(super) fn node(&mut self, node: &Node, now: Instant) -> bool {
        let before = self.nodes.remove(node.name()).unwrap_or_default();
        let taints = notice(node, &before, now);
        let same = before.len() == taints.len() && before.iter().zip(&taints).all(|(a, b)| a.taint == b.taint);
        if !taints.is_empty() {
            self.nodes.insert(node.name().to_owned(), taints);
        }
        !same
    }

    /// A node is gone. What was to end on it still does, unless somebody is faster.
    pub(super) fn forget_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Takes in a pod as it is now.
    pub(super) fn pod(&mut self, pod: &Pod, now: Instant) -> Step {
        let key = pod.key();
        if self.waiting.get(&key).is_some_and(|waiting| *waiting.uid != *pod.uid()) || pod.is_ending {
            // Another pod of the same name waited, or this one ends already: nothing was cancelled.
            self.drop(&key);
        }
        let taints = pod.node().and_then(|node| self.nodes.get(node));
        let Some(taints) = taints.filter(|_| !pod.is_ending) else {
            return self.cancel(&key);
        };
        let since = self.waiting.get(&key).map_or(now, |waiting| waiting.since);
        match fate(taints, pod.tolerations.list(), since) {
            Fate::Stays => self.cancel(&key),
            Fate::EndsAt(end) if end > now => {
                self.drop(&key);
                self.order.insert((end, key.clone()));
                let uid = pod.uid().into();
                self.waiting.insert(key, Waiting { uid, since, end });
                Step::Nothing
            }
            Fate::EndsNow | Fate::EndsAt(_) => {
                self.drop(&key);
                Step::Evict
            }
        }
    }

    /// A pod is gone, or need not end.
    pub(super) fn cancel(&mut self, key: &Key) -> Step {
        if self.drop(key) { Step::Cancel } else { Step::Nothing }
    }

    /// Takes out the pods whose time is up.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Key> {
        let mut due = Vec::new();
        while let Some((_, key)) = self.order.first().filter(|(end, _)| *end <= now).cloned() {
            self.drop(&key);
            due.push(key);
        }
        due
    }

    /// When the next one's time is up.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(end, _)| *end)
    }

    fn drop(&mut self, key: &Key) -> bool {
        let Some(waiting) = self.waiting.remove(key) else {
            return false;
        };
        self.order.remove(&(waiting.end, key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::Duration;

    const TAINT: &str = "maintenance";

    fn node(taints: &[&str]) -> Node {
        let taints: Vec<Value> = taints
            .iter()
            .map(|key| json!({"key": key, "effect": "NoExecute"}))
            .collect();
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {"taints": taints}})).unwrap()
    }

    fn pod(uid: &str, seconds: Value, ends: bool) -> Pod {
        let toleration =
            json!({"key": TAINT, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        let mut metadata = json!({"name": "p", "namespace": "n", "uid": uid});
        if ends {
            metadata["deletionTimestamp"] = "2020-01-01T00:00:00Z".into();
        }
        let spec = json!({"nodeName": "a", "tolerations": [toleration]});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn taints_and_tolerations_that_change_move_and_cancel_what_was_planned() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut plan = Plan::default();
        let waits = pod("1", json!(10), false);
        assert_eq!(plan.pod(&waits, start), Step::Nothing, "no taint, no plan");
        assert!(plan.node(&node(&[TAINT]), start));
        assert!(
            !plan.node(&node(&[TAINT]), at(1)),
            "a node that only beats its heart changes nothing"
        );
        assert_eq!((plan.pod(&waits, start), plan.next()), (Step::Nothing, Some(at(10))));
        // More time, less time, time that is over, and time without end, each from the beginning.
        assert_eq!(plan.pod(&pod("1", json!(20), false), at(5)), Step::Nothing);
        assert_eq!(plan.next(), Some(at(20)));
        assert_eq!(plan.pod(&pod("1", Value::Null, false), at(6)), Step::Cancel);
        assert_eq!((plan.pod(&waits, at(6)), plan.next()), (Step::Nothing, Some(at(16))));
        assert_eq!(plan.pod(&pod("1", json!(3), false), at(12)), Step::Evict);
        assert_eq!((plan.next(), plan.cancel(&waits.key())), (None, Step::Nothing));
        // The taint goes.
        assert_eq!(plan.pod(&waits, at(20)), Step::Nothing);
        assert!(plan.node(&node(&[]), at(21)));
        assert_eq!((plan.pod(&waits, at(21)), plan.next()), (Step::Cancel, None));
    }

    #[test]
    fn pods_are_due_in_order_and_others_of_their_name_begin_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut plan = Plan::default();
        assert!(plan.node(&node(&[TAINT]), start));
        assert_eq!(plan.pod(&pod("1", json!(10), false), start), Step::Nothing);
        assert_eq!(plan.pod(&pod("2", json!(10), false), at(4)), Step::Nothing);
        assert_eq!(plan.next(), Some(at(14)));
        assert!(plan.due(at(13)).is_empty());
        assert_eq!(plan.due(at(14)), [Key::new("n", "p")]);
        assert_eq!((plan.next(), plan.due(at(99)).len()), (None, 0));
        // A pod that somebody else ends is nobody's concern here.
        assert_eq!(plan.pod(&pod("3", json!(10), false), at(20)), Step::Nothing);
        assert_eq!(
            (plan.pod(&pod("3", json!(10), true), at(21)), plan.next()),
            (Step::Nothing, None)
        );
        assert!(plan.node(&node(&["other"]), at(30)));
        assert_eq!(plan.pod(&pod("3", json!(10), true), at(31)), Step::Nothing);
        assert_eq!(plan.pod(&pod("3", json!(10), false), at(31)), Step::Evict);
        plan.forget_node("a");
        assert_eq!(plan.pod(&pod("3", json!(10), false), at(32)), Step::Nothing);
    }
}
