//! How many nodes of a zone are lost, and so whether pods may be evicted from one more, and when: if much is lost at once, it is
//! more likely the network or the control plane (upstream: `ComputeZoneState` and the zones' limiters).

use super::health::condition;
use client::{Object, Update};
use k8s_openapi::api::core::v1::Node;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Between two nodes of a zone (upstream's `--node-eviction-rate`, 0.1 a second).
const PAUSE: Duration = Duration::from_secs(10);
/// In a large zone of which much is lost (`--secondary-node-eviction-rate`, 0.01 a second).
const LONG_PAUSE: Duration = Duration::from_secs(100);
/// A zone with more nodes is large (`--large-cluster-size-threshold`).
const LARGE: usize = 50;
/// So many of a hundred lost nodes are much (`--unhealthy-zone-threshold`), if they are more than two.
const MUCH: usize = 55;
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

#[derive(Default)]
pub(super) struct Zones {
    /// By node, its zone and whether it is ready.
    nodes: HashMap<String, (Zone, bool)>,
    counts: HashMap<Zone, Count>,
    /// When the last node of a zone was tainted.
    last: HashMap<Zone, Instant>,
}

/// Region and zone.
type Zone = [String; 2];

#[derive(Clone, Copy, Default)]
struct Count {
    ready: usize,
    lost: usize,
}

impl Zones {
    pub(super) fn follow(&mut self, update: &Update<Node>) {
        match (&update.before, &update.now) {
            (_, Some(node)) => self.node(node),
            (Some(node), None) => self.forget(node.name()),
            (None, None) => {}
        }
    }

    fn node(&mut self, node: &Node) {
        self.forget(node.name());
        let labels = node.metadata.labels.as_ref();
        if labels.is_some_and(|labels| labels.contains_key(EXCLUDED)) {
            return;
        }
        let zone = zone(node);
        let is_ready = condition(node, "Ready").is_some_and(|ready| ready.status == "True");
        self.counts.entry(zone.clone()).or_default().add(is_ready, 1);
        self.nodes.insert(node.name().to_owned(), (zone, is_ready));
    }

    fn forget(&mut self, name: &str) {
        let Some((zone, was_ready)) = self.nodes.remove(name) else {
            return;
        };
        let count = self.counts.entry(zone.clone()).or_default();
        count.add(was_ready, -1);
        if count.ready + count.lost == 0 {
            self.counts.remove(&zone);
            self.last.remove(&zone);
        }
    }

    /// No node of any zone is ready: then no pod is evicted at all.
    pub(super) fn all_lost(&self) -> bool {
        self.counts.values().all(|count| count.ready == 0)
    }

    /// When the pods of a lost node may be evicted; none if they may not.
    pub(super) fn when(&self, node: &Node, now: Instant) -> Option<Instant> {
        if self.all_lost() {
            return None;
        }
        let zone = zone(node);
        let pause = self.counts.get(&zone).map_or(Some(PAUSE), Count::pause)?;
        Some(self.last.get(&zone).map_or(now, |last| *last + pause).max(now))
    }

    /// They are.
    pub(super) fn tainted(&mut self, node: &Node, now: Instant) {
        self.last.insert(zone(node), now);
    }
}

impl Count {
    fn add(&mut self, is_ready: bool, one: isize) {
        let count = if is_ready { &mut self.ready } else { &mut self.lost };
        *count = count.saturating_add_signed(one);
    }

    /// Between two nodes; none if no more may follow.
    fn pause(&self) -> Option<Duration> {
        let all = self.ready + self.lost;
        let is_much = self.ready > 0 && self.lost > 2 && self.lost * 100 >= all * MUCH;
        match is_much {
            false => Some(PAUSE),
            true if all > LARGE => Some(LONG_PAUSE),
            true => None,
        }
    }
}

fn zone(node: &Node) -> Zone {
    let label = |name: &str| {
        node.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(name))
            .cloned()
    };
    ["region", "zone"].map(|part| label(&format!("topology.kubernetes.io/{part}")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, zone: &str, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    /// Zones with so many nodes each, ready and lost.
    fn zones(counts: &[(&str, usize, usize)]) -> Zones {
        let mut zones = Zones::default();
        for (zone, ready, lost) in counts {
            (0..*ready).for_each(|number| zones.node(&node(&format!("{zone}-ready-{number}"), zone, "True")));
            (0..*lost).for_each(|number| zones.node(&node(&format!("{zone}-lost-{number}"), zone, "Unknown")));
        }
        zones
    }

    #[test]
    fn the_more_is_lost_the_slower_nodes_follow_each_other() {
        let now = Instant::now();
        let table = [
            (vec![("a", 0, 1)], None),
            (vec![("a", 0, 3), ("b", 0, 1)], None),
            (vec![("a", 1, 1)], Some(10)),
            (vec![("a", 1, 2)], Some(10)),
            (vec![("a", 2, 3)], None),
            (vec![("a", 5, 4)], Some(10)),
            (vec![("a", 22, 28)], None),
            (vec![("a", 22, 29)], Some(100)),
            (vec![("a", 24, 27)], Some(10)),
            // Of a zone that is lost as a whole, while another one is not.
            (vec![("a", 0, 9), ("b", 1, 0)], Some(10)),
        ];
        for (counts, expected) in table {
            let mut zones = zones(&counts);
            let lost = node("a-lost-0", "a", "Unknown");
            assert_eq!(
                zones.when(&lost, now),
                expected.map(|_| now),
                "the first at once: {counts:?}"
            );
            zones.tainted(&lost, now);
            let expected = expected.map(|seconds| now + Duration::from_secs(seconds));
            assert_eq!(zones.when(&lost, now), expected, "{counts:?}");
        }
    }

    #[test]
    fn nodes_that_change_go_or_do_not_count_are_counted_so() {
        let mut zones = zones(&[("a", 1, 0)]);
        assert!(!zones.all_lost());
        zones.node(&node("a-ready-0", "a", "False"));
        assert!(zones.all_lost());
        let mut excluded = node("other", "a", "True");
        let labels = excluded.metadata.labels.get_or_insert_default();
        labels.insert(EXCLUDED.to_owned(), String::new());
        zones.node(&excluded);
        assert!(zones.all_lost());
        zones.node(&node("a-ready-0", "b", "True"));
        assert!(!zones.all_lost());
        zones.forget("a-ready-0");
        assert!(zones.counts.is_empty());
    }
}
