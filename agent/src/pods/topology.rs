//! Which NUMA nodes a container's CPUs and devices come from, so that they are near each other: decided here purely (upstream:
//! pkg/kubelet/cm/topologymanager).

use config::{TopologyPolicy, TopologyScope};
use std::collections::BTreeSet;

/// More than this makes too many combinations; upstream's kubelet does not start then.
const MOST_NODES: u32 = 8;

/// Some NUMA nodes of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nodes(u64);

/// One way to serve a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// From these; nothing: from wherever.
    pub nodes: Option<Nodes>,
    /// Whether fewer nodes could never do.
    pub is_preferred: bool,
}

/// All ways to serve one wish; nothing where it does not matter.
pub type Hints = Option<Vec<Hint>>;

/// How a machine wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// What becomes of pods that cannot have it so.
    pub policy: TopologyPolicy,
    /// What is to be together.
    pub scope: TopologyScope,
    /// All of the machine's.
    pub nodes: Nodes,
}

// === impl Nodes ===

impl FromIterator<u32> for Nodes {
    /// Those with numbers that no machine has are left out.
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let bit = |number: u32| 1_u64.checked_shl(number).unwrap_or(0);
        Self(numbers.into_iter().fold(0, |all, number| all | bit(number)))
    }
}

impl Nodes {
    /// How many.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether both have one.
    pub fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// All combinations of them but the empty one, the smallest first.
    fn combinations(self) -> Vec<Self> {
        // The next lower number whose bits are all among these.
        let next = |part: &u64| Some((part - 1) & self.0).filter(|part| *part > 0);
        let first = Some(self.0).filter(|all| *all > 0);
        let mut all: Vec<Self> = std::iter::successors(first, next).map(Self).collect();
        all.sort_by_key(|nodes| (nodes.count(), *nodes));
        all
    }
}

// === impl Topology ===

impl Topology {
    /// As the config has it, on a machine with these nodes.
    pub fn new(policy: TopologyPolicy, scope: TopologyScope, nodes: Nodes) -> Self {
        let policy = match nodes.count() > MOST_NODES {
            true => {
                tracing::error!(
                    nodes = nodes.count(),
                    "this machine has more than {MOST_NODES} NUMA nodes, so nothing is aligned"
                );
                TopologyPolicy::None
            }
            false => policy,
        };
        Self { policy, scope, nodes }
    }

    /// Whether anything is aligned.
    pub fn is_used(&self) -> bool {
        self.policy != TopologyPolicy::None
    }

    /// How so many of `all` can be had while only `free` are free. Each is on one node or near some.
    pub fn hints(&self, all: &[Nodes], free: &[Nodes], wanted: usize) -> Vec<Hint> {
        let near = |of: &[Nodes], nodes: Nodes| of.iter().filter(|one| one.meet(nodes)).count();
        let combinations = self.nodes.combinations();
        let suffice = combinations.iter().filter(|nodes| near(all, **nodes) >= wanted);
        let fewest = suffice.map(|nodes| nodes.count()).min();
        let possible = combinations.iter().filter(|nodes| near(free, **nodes) >= wanted);
        let hint = |nodes: &Nodes| Hint {
            nodes: Some(*nodes),
            is_preferred: Some(nodes.count()) == fewest,
        };
        possible.map(hint).collect()
    }

    /// The nodes that serve all wishes best; an error where the policy has rather no pod than one so far apart.
    pub fn align(&self, wishes: &[Hints]) -> Result<Option<Nodes>, TooFarApart> {
        let best = self.best(wishes);
        match self.policy {
            TopologyPolicy::None => Ok(None),
            TopologyPolicy::BestEffort => Ok(best.nodes),
            TopologyPolicy::Restricted | TopologyPolicy::SingleNumaNode if best.is_preferred => Ok(best.nodes),
            TopologyPolicy::Restricted | TopologyPolicy::SingleNumaNode => Err(TooFarApart),
        }
    }

    fn best(&self, wishes: &[Hints]) -> Hint {
        let mut reached = BTreeSet::from([(self.nodes, true)]);
        for wish in wishes {
            let ways = self.ways(wish);
            let each = reached.iter().flat_map(|(nodes, is_preferred)| {
                ways.iter().map(move |way| {
                    let both = Nodes(nodes.0 & way.nodes.unwrap_or(*nodes).0);
                    (both, *is_preferred && way.is_preferred)
                })
            });
            reached = each.filter(|(nodes, _)| nodes.count() > 0).collect();
        }
        let best = reached
            .into_iter()
            .min_by_key(|(nodes, is_preferred)| (!is_preferred, nodes.count(), *nodes));
        let (nodes, is_preferred) = best.unwrap_or((self.nodes, false));
        Hint {
            nodes: Some(nodes).filter(|nodes| *nodes != self.nodes),
            is_preferred,
        }
    }

    fn ways(&self, wish: &Hints) -> Vec<Hint> {
        let wherever = |is_preferred| Hint {
            nodes: None,
            is_preferred,
        };
        let Some(hints) = wish else {
            return vec![wherever(true)];
        };
        let mut ways = hints.clone();
        if self.policy == TopologyPolicy::SingleNumaNode {
            ways.retain(|way| way.is_preferred && way.nodes.is_none_or(|nodes| nodes.count() == 1));
        }
        match ways.is_empty() {
            true => vec![wherever(false)],
            false => ways,
        }
    }
}

/// The policy's no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFarApart;

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(numbers: &[u32]) -> Nodes {
        numbers.iter().copied().collect()
    }

    fn machine(policy: TopologyPolicy) -> Topology {
        Topology::new(policy, TopologyScope::Container, nodes(&[0, 1]))
    }

    /// So many things on node 0 and on node 1.
    fn things(zero: usize, one: usize) -> Vec<Nodes> {
        [vec![nodes(&[0]); zero], vec![nodes(&[1]); one]].concat()
    }

    #[test]
    fn every_combination_that_suffices_is_a_hint_and_the_smallest_ever_is_preferred() {
        let topology = machine(TopologyPolicy::BestEffort);
        let hints = |free: &[Nodes], wanted| -> Vec<(Nodes, bool)> {
            let hints = topology.hints(&things(4, 4), free, wanted);
            hints
                .iter()
                .map(|hint| (hint.nodes.unwrap(), hint.is_preferred))
                .collect()
        };
        let (zero, one, both) = (nodes(&[0]), nodes(&[1]), nodes(&[0, 1]));
        assert_eq!(hints(&things(4, 4), 2), [(zero, true), (one, true), (both, false)]);
        assert_eq!(hints(&things(1, 2), 2), [(one, true), (both, false)]);
        assert_eq!(hints(&things(1, 1), 2), [(both, false)]);
        assert_eq!(hints(&things(4, 4), 6), [(both, true)], "one node never could");
        assert_eq!(hints(&things(1, 1), 3), []);
    }

    #[test]
    fn policies_choose_and_refuse() {
        use TopologyPolicy::{BestEffort, Restricted, SingleNumaNode};
        let (zero, one) = (nodes(&[0]), nodes(&[1]));
        let cpus =
            |topology: &Topology, zero, one, wanted| Some(topology.hints(&things(4, 4), &things(zero, one), wanted));
        let align = |policy, wish: &dyn Fn(&Topology) -> Vec<Hints>| {
            let topology = machine(policy);
            topology.align(&wish(&topology))
        };
        // A card on node 1 and CPUs on both: all of it on node 1.
        let together = |topology: &Topology| vec![cpus(topology, 4, 4, 2), Some(topology.hints(&[one], &[one], 1))];
        // CPUs are left on node 0 alone.
        let apart = |topology: &Topology| vec![cpus(topology, 4, 0, 2), Some(topology.hints(&[one], &[one], 1))];
        // So many that one node never has them.
        let large = |topology: &Topology| vec![cpus(topology, 4, 4, 6)];
        let nothing = |_: &Topology| vec![None, None];
        for policy in [BestEffort, Restricted, SingleNumaNode] {
            assert_eq!(align(policy, &together), Ok(Some(one)), "{policy:?}");
            assert_eq!(align(policy, &nothing), Ok(None), "{policy:?}");
        }
        assert_eq!(
            align(BestEffort, &apart),
            Ok(Some(zero)),
            "neither is better: the first"
        );
        assert_eq!(align(Restricted, &apart), Err(TooFarApart));
        assert_eq!(align(SingleNumaNode, &apart), Err(TooFarApart));
        assert_eq!(
            align(Restricted, &large),
            Ok(None),
            "all nodes are the fewest that ever could"
        );
        assert_eq!(align(SingleNumaNode, &large), Err(TooFarApart));
        assert_eq!(align(TopologyPolicy::None, &apart), Ok(None));
        let free = |topology: &Topology| vec![cpus(topology, 3, 3, 2)];
        assert_eq!(
            align(BestEffort, &free),
            Ok(Some(zero)),
            "of two that are as good the first"
        );
    }

    #[test]
    fn a_machine_with_too_many_nodes_aligns_nothing() {
        let topology = Topology::new(TopologyPolicy::Restricted, TopologyScope::Pod, (0..9).collect());
        assert!(!topology.is_used());
        assert_eq!(nodes(&[64, 1000]).count(), 0);
    }
}
