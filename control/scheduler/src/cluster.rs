//! The nodes in columns, with what the pods on them use: what every choice reads, changed as nodes and pods change.

use crate::pod::{Amounts, HostPort, Pod, normalized};
use k8s_openapi::api::core::v1::{Node, Taint};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A node's place in every column.
pub(crate) type Slot = usize;

/// The present nodes and the pods that are, or are about to be, on them.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    slots: HashMap<String, Slot>,
    free: Vec<Slot>,
    pods: HashMap<String, (Slot, Arc<Pod>)>,
    known_nodes: usize,
    // The columns. A slot may have pods while its node is not known (yet, or no more).
    pub(crate) known: Vec<bool>,
    pub(crate) unschedulable: Vec<bool>,
    /// Into `taint_sets`: many nodes share few sets of taints, so that a pod's tolerations are compared once a set.
    pub(crate) taint_set: Vec<usize>,
    pub(crate) milli_cpu: Vec<Room>,
    pub(crate) memory: Vec<Room>,
    pub(crate) storage: Vec<Room>,
    pub(crate) pod_count: Vec<Room>,
    /// What pods use as scores see it.
    pub(crate) scored: Vec<(i64, i64)>,
    pub(crate) details: Vec<Details>,
    pub(crate) taint_sets: Vec<Vec<Taint>>,
    /// By normalized name: size in bytes and the nodes that have it.
    pub(crate) images: HashMap<String, Image>,
}

/// How much of something a node has for pods, and how much of it they ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub has: i64,
    pub used: i64,
}

/// What only some choices look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub ports: Vec<HostPort>,
    pub extended: BTreeMap<String, Room>,
    images: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub bytes: i64,
    pub nodes: Vec<Slot>,
}

impl Cluster {
    /// No nodes.
    pub fn new() -> Cluster {
        Cluster::default()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.known_nodes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known_nodes == 0
    }

    /// Adds a node or takes over its changes; true if a pod that fitted nowhere may fit now.
    pub fn set_node(&mut self, node: &Node) -> bool {
        let slot = self.slot(node.metadata.name.as_deref().unwrap_or_default());
        let before = self.offer(slot);
        let empty = (Default::default(), Default::default());
        let spec = node.spec.as_ref().unwrap_or(&empty.0);
        let status = node.status.as_ref().unwrap_or(&empty.1);
        let allocatable = status.allocatable.as_ref().or(status.capacity.as_ref());
        let has = Amounts::read(allocatable);
        let pods = allocatable
            .and_then(|list| list.get("pods"))
            .and_then(|text| text.0.parse().ok());
        self.known_nodes += usize::from(!self.known[slot]);
        self.known[slot] = true;
        self.unschedulable[slot] = spec.unschedulable.unwrap_or(false);
        self.milli_cpu[slot].has = has.milli_cpu;
        self.memory[slot].has = has.memory;
        self.storage[slot].has = has.storage;
        self.pod_count[slot].has = pods.unwrap_or(0);
        self.taint_set[slot] = self.intern(spec.taints.as_deref().unwrap_or_default());
        self.set_images(slot, status.images.iter().flatten().collect());
        let details = &mut self.details[slot];
        details.labels = node.metadata.labels.clone().unwrap_or_default();
        details.extended.values_mut().for_each(|room| room.has = 0);
        for (name, amount) in has.extended {
            details.extended.entry(name).or_default().has = amount;
        }
        before != self.offer(slot)
    }

    /// Removes a node; the pods on it stay counted in case it comes back.
    pub fn remove_node(&mut self, name: &str) {
        let Some(slot) = self.slots.get(name).copied() else {
            return;
        };
        self.known_nodes -= usize::from(self.known[slot]);
        self.known[slot] = false;
        self.set_images(slot, Vec::new());
        self.release(slot);
    }

    /// Counts a pod on the node that it names, instead of where it was counted before.
    pub fn add_pod(&mut self, pod: impl Into<Arc<Pod>>) {
        let pod = pod.into();
        self.remove_pod(&pod.uid);
        let Some(node) = &pod.node else { return };
        let slot = self.slot(node);
        self.count(slot, &pod, 1);
        self.pods.insert(pod.uid.clone(), (slot, pod));
    }

    /// Counts a pod no more; true if it was counted.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some((slot, pod)) = self.pods.remove(uid) else {
            return false;
        };
        self.count(slot, &pod, -1);
        self.release(slot);
        true
    }

    fn count(&mut self, slot: Slot, pod: &Pod, sign: i64) {
        self.milli_cpu[slot].used += sign * pod.requests.milli_cpu;
        self.memory[slot].used += sign * pod.requests.memory;
        self.storage[slot].used += sign * pod.requests.storage;
        self.pod_count[slot].used += sign;
        self.scored[slot].0 += sign * pod.scored.0;
        self.scored[slot].1 += sign * pod.scored.1;
        let details = &mut self.details[slot];
        for (name, amount) in &pod.requests.extended {
            details.extended.entry(name.clone()).or_default().used += sign * amount;
        }
        for port in &pod.ports {
            if sign > 0 {
                details.ports.push(port.clone());
            } else if let Some(place) = details.ports.iter().position(|taken| taken == port) {
                details.ports.swap_remove(place);
            }
        }
    }

    /// What of a node decides whether a pod fits: heartbeats change none of it.
    fn offer(&self, slot: Slot) -> impl PartialEq + use<> {
        let extended: Vec<(String, i64)> = self.details[slot]
            .extended
            .iter()
            .map(|(name, room)| (name.clone(), room.has))
            .collect();
        let has = [&self.milli_cpu, &self.memory, &self.storage, &self.pod_count].map(|column| column[slot].has);
        let flags = (self.known[slot], self.unschedulable[slot], self.taint_set[slot]);
        (flags, has, extended, self.details[slot].labels.clone())
    }

    fn slot(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        self.details[slot].name = name.to_owned();
        self.slots.insert(name.to_owned(), slot);
        slot
    }

    fn grow(&mut self) -> Slot {
        self.known.push(false);
        self.unschedulable.push(false);
        let no_taints = self.intern(&[]);
        self.taint_set.push(no_taints);
        for column in [
            &mut self.milli_cpu,
            &mut self.memory,
            &mut self.storage,
            &mut self.pod_count,
        ] {
            column.push(Room::default());
        }
        self.scored.push((0, 0));
        self.details.push(Details::default());
        self.details.len() - 1
    }

    /// Gives a slot back that has neither node nor pods.
    fn release(&mut self, slot: Slot) {
        if self.known[slot] || self.pod_count[slot].used > 0 {
            return;
        }
        let details = std::mem::take(&mut self.details[slot]);
        self.slots.remove(&details.name);
        self.taint_set[slot] = self.intern(&[]);
        self.free.push(slot);
    }

    fn intern(&mut self, taints: &[Taint]) -> usize {
        // When a taint was put on decides nothing, and would make every set its own.
        let plain = |taint: &Taint| Taint {
            time_added: None,
            ..taint.clone()
        };
        let set: Vec<Taint> = taints.iter().map(plain).collect();
        self.taint_sets
            .iter()
            .position(|known| *known == set)
            .unwrap_or_else(|| {
                self.taint_sets.push(set);
                self.taint_sets.len() - 1
            })
    }

    fn set_images(&mut self, slot: Slot, present: Vec<&k8s_openapi::api::core::v1::ContainerImage>) {
        for name in std::mem::take(&mut self.details[slot].images) {
            if let Some(image) = self.images.get_mut(&name) {
                image.nodes.retain(|node| *node != slot);
                if image.nodes.is_empty() {
                    self.images.remove(&name);
                }
            }
        }
        for image in present {
            for name in image.names.iter().flatten().map(|name| normalized(name)) {
                let known = self.images.entry(name.clone()).or_default();
                known.bytes = image.size_bytes.unwrap_or(0);
                if !known.nodes.contains(&slot) {
                    known.nodes.push(slot);
                    self.details[slot].images.push(name);
                }
            }
        }
    }
}
