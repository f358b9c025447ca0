//! Who was heard of, and when: by our own clock, so that a node whose clock is wrong is judged all the same.

use client::{Object, Update};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a node may be silent (upstream's `--node-monitor-grace-period` before v1.32): four of its heartbeats.
pub const GRACE: Duration = Duration::from_secs(40);

/// The conditions that a silent node's agent would have kept up.
const KEPT_BY_AGENT: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What silence, or its absence, says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It lives, at least until then.
    HeardOf { until: Instant },
    /// It has been silent for longer than [`GRACE`].
    Silent,
}

#[derive(Default)]
pub(crate) struct Heartbeats(HashMap<String, Heard>);

#[derive(Clone, Debug)]
struct Heard {
    at: Instant,
    renewed: Option<MicroTime>,
    status: Option<Time>,
}

impl Heartbeats {
    /// A Lease renewed, however wrong its time, is a sign of life.
    pub(crate) fn lease(&mut self, update: &Update<Lease>, now: Instant) {
        let Some(lease) = &update.now else { return };
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        let heard = self.heard(lease.name(), now);
        if heard.renewed != renewed {
            (heard.renewed, heard.at) = (renewed, now);
        }
    }

    /// So is a new node, and one whose agent wrote its status.
    pub(crate) fn node(&mut self, update: &Update<Node>, now: Instant) {
        let Some(node) = &update.now else {
            if let Some(node) = &update.before {
                self.0.remove(node.name());
            }
            return;
        };
        let ready = condition(node, "Ready").filter(|ready| ready.status != "Unknown");
        let status = ready.and_then(|ready| ready.last_heartbeat_time.clone());
        let heard = self.heard(node.name(), now);
        if status.is_some() && heard.status != status {
            (heard.status, heard.at) = (status, now);
        }
    }

    pub(crate) fn verdict(&mut self, node: &str, now: Instant) -> Verdict {
        let until = self.heard(node, now).at + GRACE;
        if now < until {
            Verdict::HeardOf { until }
        } else {
            Verdict::Silent
        }
    }

    fn heard(&mut self, node: &str, now: Instant) -> &mut Heard {
        self.0.entry(node.to_owned()).or_insert(Heard {
            at: now,
            renewed: None,
            status: None,
        })
    }
}

pub(crate) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// The conditions of a silent node that do not say so yet.
pub(crate) fn unknown_conditions(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let stale = |kind: &&str| condition(node, kind).is_none_or(|known| known.status != "Unknown");
    let unknown = |kind: &str| {
        let known = condition(node, kind);
        let (reason, message) = match known {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        NodeCondition {
            type_: kind.to_owned(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: known.and_then(|known| known.last_heartbeat_time.clone()),
            last_transition_time: Some(Time(now)),
        }
    };
    KEPT_BY_AGENT.into_iter().filter(stale).map(unknown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn lease(renewed: &str) -> Update<Lease> {
        let lease = json!({"metadata": {"name": "a"}, "spec": {"renewTime": renewed}});
        Update {
            before: None,
            now: Some(Arc::new(serde_json::from_value(lease).unwrap())),
        }
    }

    fn node(conditions: serde_json::Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "status": {"conditions": conditions}})).unwrap()
    }

    #[test]
    fn a_node_is_silent_after_the_grace_without_a_new_lease() {
        let start = Instant::now();
        let mut heartbeats = Heartbeats::default();
        heartbeats.lease(&lease("2020-01-01T00:00:00.000000Z"), start);
        let table = [
            // An old renewal sent again is no sign of life; a new one is, even from a clock that is years behind.
            ("2020-01-01T00:00:00.000000Z", 30, 45, false),
            ("2020-01-01T00:00:10.000000Z", 50, 89, true),
            ("2020-01-01T00:00:20.000000Z", 95, 135, false),
        ];
        for (renewed, at, asked, lives) in table {
            heartbeats.lease(&lease(renewed), start + Duration::from_secs(at));
            let verdict = heartbeats.verdict("a", start + Duration::from_secs(asked));
            assert_eq!(
                matches!(verdict, Verdict::HeardOf { .. }),
                lives,
                "{renewed} asked at {asked}"
            );
        }
    }

    #[test]
    fn only_conditions_that_claim_to_know_become_unknown() {
        let now = Timestamp::UNIX_EPOCH;
        let node = node(json!([
            {"type": "Ready", "status": "True", "lastHeartbeatTime": "2020-01-01T00:00:00Z"},
            {"type": "DiskPressure", "status": "Unknown"},
            {"type": "NetworkUnavailable", "status": "False"},
        ]));
        let unknown = unknown_conditions(&node, now);
        let kinds: Vec<&str> = unknown.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(kinds, ["Ready", "MemoryPressure", "PIDPressure"]);
        assert!(unknown.iter().all(|condition| condition.status == "Unknown"));
        assert!(unknown[0].last_heartbeat_time.is_some());
        assert_eq!(unknown[1].reason.as_deref(), Some("NodeStatusNeverUpdated"));
    }
}
