//! The choice: filter all nodes, score those that are left, take the best.

use crate::cluster::{Cluster, Slot};
use crate::filter::{Filter, Reason};
use crate::pod::Pod;
use crate::score::scores;
use std::collections::BTreeMap;
use std::fmt;

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node's name.
    pub node: String,
    /// Its weighted score; 0 if it was the only one that fitted.
    pub score: i64,
    /// How many nodes fitted.
    pub fitting: usize,
}

/// Why a pod fits nowhere; displayed as upstream's events say it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unplaceable {
    /// How many nodes were looked at.
    pub nodes: usize,
    /// How many of them gave each reason; a node may give several.
    pub reasons: BTreeMap<Reason, usize>,
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut counted: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        counted.sort();
        write!(f, "0/{} nodes are available: {}.", self.nodes, counted.join(", "))
    }
}

/// Chooses a node. The same pod and cluster always give the same node; among equals, different pods spread.
pub fn place(pod: &Pod, cluster: &Cluster) -> Result<Placement, Unplaceable> {
    let filter = Filter::new(pod, cluster);
    let mut refused: BTreeMap<Reason, usize> = BTreeMap::new();
    let mut fitting: Vec<Slot> = Vec::new();
    for slot in (0..cluster.known.len()).filter(|slot| cluster.known[*slot]) {
        let reasons = filter.reasons(slot);
        if reasons.is_empty() {
            fitting.push(slot);
        }
        reasons
            .into_iter()
            .for_each(|reason| *refused.entry(reason).or_default() += 1);
    }
    let placed = |slot: Slot, score| Placement {
        node: cluster.details[slot].name.clone(),
        score,
        fitting: fitting.len(),
    };
    match fitting.as_slice() {
        [] => Err(Unplaceable {
            nodes: cluster.len(),
            reasons: refused,
        }),
        [only] => Ok(placed(*only, 0)),
        several => {
            let scores = scores(pod, cluster, several);
            let best = scores.iter().copied().max().unwrap_or(0);
            let ties = several
                .iter()
                .zip(&scores)
                .filter(|(_, score)| **score == best)
                .map(|(slot, _)| *slot);
            let chosen = ties.min_by_key(|slot| lot(pod, &cluster.details[*slot].name));
            Ok(placed(chosen.unwrap_or(several[0]), best))
        }
    }
}

/// A number that looks drawn but is always the same for one pod and node (FNV-1a).
fn lot(pod: &Pod, node: &str) -> u64 {
    let bytes = pod
        .namespace
        .bytes()
        .chain([b'/'])
        .chain(pod.name.bytes())
        .chain([b'/'])
        .chain(node.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
