//! What the node may run short of, when it counts as short, and how that is said: pure (upstream: pkg/kubelet/eviction,
//! helpers.go).

use crate::node::Pressures;
use crate::node::face::usage::Node;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is watched, in the order in which it is seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// `memory.available`.
    Memory,
    /// `nodefs.available`.
    Disk,
    /// `nodefs.inodesFree`.
    Inodes,
    /// `imagefs.available`.
    Images,
    /// `imagefs.inodesFree`.
    ImageInodes,
    /// `pid.available`.
    Pids,
}

/// What is left, and of how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Of it.
    pub available: u64,
    /// In all.
    pub capacity: u64,
}

/// A signal below its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Which.
    pub signal: Signal,
    /// What should be left.
    pub threshold: u64,
    /// What is.
    pub available: u64,
    /// Whether it may be so for a while.
    pub is_soft: bool,
}

// === impl Signal ===

impl Signal {
    /// The resource that is to be given back, in upstream's word.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk | Self::Images => "ephemeral-storage",
            Self::Inodes | Self::ImageInodes => "inodes",
            Self::Pids => "pids",
        }
    }

    /// Whether removing images helps.
    pub fn is_of_disk(self) -> bool {
        match self {
            Self::Memory | Self::Pids => false,
            Self::Disk | Self::Inodes | Self::Images | Self::ImageInodes => true,
        }
    }

    /// An amount of it as upstream prints it: bytes in powers of 1024, all else in powers of 1000, as long as nothing is lost.
    pub fn print(self, amount: u64) -> String {
        match self.resource() {
            "memory" | "ephemeral-storage" => canonical(amount, 1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi"]),
            _ => canonical(amount, 1000, &["", "k", "M", "G"]),
        }
    }
}

fn canonical(mut amount: u64, base: u64, suffixes: &[&str]) -> String {
    let mut power = 0;
    while amount > 0 && amount.is_multiple_of(base) && power + 1 < suffixes.len() {
        (amount, power) = (amount / base, power + 1);
    }
    format!("{amount}{}", suffixes[power])
}

/// Everything that is below a threshold, what is to be seen to first at the beginning.
pub fn short(node: &Node, config: &config::Eviction) -> Vec<Short> {
    let memory = Left {
        available: node.memory_total.saturating_sub(node.working_set),
        capacity: node.memory_total,
    };
    let (disk, images) = (&node.disk, &node.image_disk);
    let bytes = |disk: &crate::node::face::usage::Disk| Left {
        available: disk.available,
        capacity: disk.capacity,
    };
    let inodes = |disk: &crate::node::face::usage::Disk| Left {
        available: disk.inodes_free,
        capacity: disk.inodes,
    };
    let pids = Left {
        available: node.tasks_max.saturating_sub(node.tasks),
        capacity: node.tasks_max,
    };
    let percent =
        |left: Left, percent: u32| u64::try_from(u128::from(left.capacity) * u128::from(percent) / 100).unwrap_or(0);
    let both = |left: Left, hard: u32, soft: u32| (left, percent(left, hard), percent(left, soft));
    let soft = &config.soft;
    let soft_memory = u64::from(soft.memory_mib) << 20;
    let of_memory = (memory, config.memory_bytes(memory.capacity), soft_memory);
    let all = [
        (Signal::Memory, of_memory),
        (Signal::Disk, both(bytes(disk), config.disk_percent, soft.disk_percent)),
        (
            Signal::Inodes,
            both(inodes(disk), config.inodes_percent, soft.inodes_percent),
        ),
        (
            Signal::Images,
            both(bytes(images), config.images_percent, soft.images_percent),
        ),
        (
            Signal::ImageInodes,
            both(inodes(images), config.inodes_percent, soft.inodes_percent),
        ),
        (Signal::Pids, both(pids, config.pids_percent, soft.pids_percent)),
    ];
    let each = all.into_iter().flat_map(|(signal, (left, hard, soft))| {
        [(hard, false), (soft, true)].map(|(threshold, is_soft)| {
            let is_short = left.capacity > 0 && left.available < threshold;
            is_short.then_some(Short {
                signal,
                threshold,
                available: left.available,
                is_soft,
            })
        })
    });
    each.flatten().collect()
}

/// Since when which soft threshold has been passed without a break.
#[derive(Debug, Default)]
pub struct Patience(BTreeMap<Signal, Instant>);

impl Patience {
    /// Of what is short, that which is to be seen to now: what may not be so at all, and what has been so for `grace`.
    pub fn over(&mut self, short: &[Short], now: Instant, grace: Duration) -> Vec<Short> {
        let is_soft = |signal: &Signal| short.iter().any(|short| short.is_soft && short.signal == *signal);
        self.0.retain(|signal, _| is_soft(signal));
        let mut is_over = |short: &&Short| {
            let since = *self.0.entry(short.signal).or_insert(now);
            !short.is_soft || now.duration_since(since) >= grace
        };
        short.iter().filter(|short| is_over(short)).copied().collect()
    }
}

/// The node's conditions: each holds from the moment that its signal is short until it has not been for a while.
#[derive(Debug, Default)]
pub struct Conditions(BTreeMap<Signal, Instant>);

impl Conditions {
    /// What holds now.
    pub fn update(&mut self, short: &[Short], now: Instant, lasting: Duration) -> Pressures {
        self.0.extend(short.iter().map(|short| (short.signal, now)));
        self.0
            .retain(|_, last| now.duration_since(*last) < lasting || *last == now);
        let has = |signals: &[Signal]| signals.iter().any(|signal| self.0.contains_key(signal));
        Pressures {
            memory: has(&[Signal::Memory]),
            disk: has(&[Signal::Disk, Signal::Inodes, Signal::Images, Signal::ImageInodes]),
            pids: has(&[Signal::Pids]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::face::usage::Disk;

    fn healthy() -> Node {
        let disk = Disk {
            capacity: 1000,
            available: 500,
            inodes: 1000,
            inodes_free: 500,
        };
        Node {
            memory_total: 1 << 30,
            working_set: 512 << 20,
            tasks: 100,
            tasks_max: 1000,
            disk,
            image_disk: disk,
            ..Node::default()
        }
    }

    #[test]
    fn thresholds_are_upstreams() {
        let config = config::Eviction::default();
        let signals = |change: fn(&mut Node)| {
            let mut node = healthy();
            change(&mut node);
            short(&node, &config)
                .iter()
                .map(|short| short.signal)
                .collect::<Vec<_>>()
        };
        assert_eq!(signals(|_| {}), []);
        assert_eq!(signals(|node| node.working_set = 924 << 20), []);
        assert_eq!(signals(|node| node.working_set = (924 << 20) + 1), [Signal::Memory]);
        assert_eq!(signals(|node| node.disk.available = 100), []);
        assert_eq!(signals(|node| node.disk.available = 99), [Signal::Disk]);
        assert_eq!(signals(|node| node.disk.inodes_free = 49), [Signal::Inodes]);
        assert_eq!(signals(|node| node.image_disk.available = 149), [Signal::Images]);
        assert_eq!(signals(|node| node.tasks = 901), [Signal::Pids]);
        // A small machine keeps a tenth.
        assert_eq!(
            signals(|node| (node.memory_total, node.working_set) = (200 << 20, 180 << 20)),
            []
        );
        assert_eq!(
            signals(|node| (node.memory_total, node.working_set) = (200 << 20, (180 << 20) + 1)),
            [Signal::Memory]
        );
        // What could not be looked at is not short.
        assert_eq!(signals(|node| *node = Node::default()), []);
    }

    #[test]
    fn soft_thresholds_count_after_a_while_without_a_break() {
        let mut config = config::Eviction::default();
        config.soft.memory_mib = 200;
        config.soft.pids_percent = 20;
        let mut node = healthy();
        let seen = |node: &Node| -> Vec<(Signal, bool)> {
            let short = short(node, &config);
            short.iter().map(|short| (short.signal, short.is_soft)).collect()
        };
        assert_eq!(seen(&node), []);
        (node.working_set, node.tasks) = (900 << 20, 850);
        assert_eq!(seen(&node), [(Signal::Memory, true), (Signal::Pids, true)]);
        node.working_set = 1000 << 20;
        assert_eq!(
            seen(&node),
            [(Signal::Memory, false), (Signal::Memory, true), (Signal::Pids, true)]
        );

        let (begin, grace) = (Instant::now(), Duration::from_secs(90));
        let mut patience = Patience::default();
        let mut over = |node: &Node, seconds| -> Vec<(Signal, bool)> {
            let over = patience.over(&short(node, &config), begin + Duration::from_secs(seconds), grace);
            over.iter().map(|short| (short.signal, short.is_soft)).collect()
        };
        // What may not be at all is seen to at once.
        assert_eq!(over(&node, 0), [(Signal::Memory, false)]);
        node.working_set = 900 << 20;
        assert_eq!(over(&node, 89), []);
        assert_eq!(over(&node, 90), [(Signal::Memory, true), (Signal::Pids, true)]);
        node.tasks = 100;
        assert_eq!(over(&node, 95), [(Signal::Memory, true)]);
        // It begins anew.
        node.tasks = 850;
        assert_eq!(over(&node, 100), [(Signal::Memory, true)]);
        assert_eq!(over(&node, 190), [(Signal::Memory, true), (Signal::Pids, true)]);
    }

    #[test]
    fn a_condition_outlives_its_cause() {
        let mut conditions = Conditions::default();
        let (begin, lasting) = (Instant::now(), Duration::from_secs(300));
        let at = |seconds| begin + Duration::from_secs(seconds);
        let memory = Short {
            signal: Signal::Memory,
            threshold: 2,
            available: 1,
            is_soft: false,
        };
        assert!(conditions.update(&[memory], at(0), lasting).memory);
        assert!(conditions.update(&[], at(299), lasting).memory);
        assert_eq!(conditions.update(&[], at(300), lasting), Pressures::default());
        assert!(conditions.update(&[memory], at(400), Duration::ZERO).memory);
        assert!(!conditions.update(&[], at(401), Duration::ZERO).memory);
    }

    #[test]
    fn amounts_are_printed_like_quantities() {
        assert_eq!(Signal::Memory.print(100 << 20), "100Mi");
        assert_eq!(Signal::Disk.print(1025), "1025");
        assert_eq!(Signal::Inodes.print(65_000), "65k");
        assert_eq!(Signal::Pids.print(0), "0");
    }
}
