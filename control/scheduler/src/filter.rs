//! Which nodes a pod can be on: upstream's filter plugins, in their order; the first that refuses gives the reason.

use crate::cluster::{Cluster, Room, Slot};
use crate::pod::{HostPort, Pod};
use api::tolerations::tolerates;
use k8s_openapi::api::core::v1::{Taint, Toleration};
use std::fmt;

/// Why a node cannot have a pod; displayed in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Plugin NodeUnschedulable.
    Unschedulable,
    /// Plugin NodeName.
    Name,
    /// Plugin TaintToleration.
    Taint,
    /// Plugin NodeAffinity.
    Affinity,
    /// Plugin NodePorts.
    Ports,
    /// Plugin NodeResourcesFit: the number of pods.
    Pods,
    /// Plugin NodeResourcesFit: a resource by its name.
    Insufficient(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Unschedulable => "node(s) were unschedulable",
            Reason::Name => "node(s) didn't match the requested node name",
            Reason::Taint => "node(s) had untolerated taint(s)",
            Reason::Affinity => "node(s) didn't match Pod's node affinity/selector",
            Reason::Ports => "node(s) didn't have free ports for the requested pod ports",
            Reason::Pods => "Too many pods",
            Reason::Insufficient(resource) => return write!(f, "Insufficient {resource}"),
        })
    }
}

/// A pod's questions, with whatever can be answered once for all nodes.
pub(crate) struct Filter<'a> {
    pod: &'a Pod,
    cluster: &'a Cluster,
    tolerates_unschedulable: bool,
    /// By set of taints.
    tolerates: Vec<bool>,
}

impl<'a> Filter<'a> {
    pub(crate) fn new(pod: &'a Pod, cluster: &'a Cluster) -> Filter<'a> {
        let cordon = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            value: None,
            time_added: None,
        };
        let hard = |taint: &Taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute";
        let tolerated = |set: &Vec<Taint>| {
            set.iter()
                .filter(|taint| hard(taint))
                .all(|taint| is_tolerated(taint, &pod.tolerations))
        };
        Filter {
            pod,
            cluster,
            tolerates_unschedulable: is_tolerated(&cordon, &pod.tolerations),
            tolerates: cluster.taint_sets.iter().map(tolerated).collect(),
        }
    }

    /// No reasons: the pod fits.
    pub(crate) fn reasons(&self, slot: Slot) -> Vec<Reason> {
        let (pod, cluster) = (self.pod, self.cluster);
        let details = &cluster.details[slot];
        if cluster.unschedulable[slot] && !self.tolerates_unschedulable {
            return vec![Reason::Unschedulable];
        }
        if pod.node.as_ref().is_some_and(|node| *node != details.name) {
            return vec![Reason::Name];
        }
        if !self.tolerates[cluster.taint_set[slot]] {
            return vec![Reason::Taint];
        }
        if !pod.required.is_empty() && !pod.required.matches(&details.name, &details.labels) {
            return vec![Reason::Affinity];
        }
        if pod
            .ports
            .iter()
            .any(|port| details.ports.iter().any(|taken| collide(port, taken)))
        {
            return vec![Reason::Ports];
        }
        self.missing(slot)
    }

    /// Plugin NodeResourcesFit.
    fn missing(&self, slot: Slot) -> Vec<Reason> {
        let (pod, cluster) = (self.pod, self.cluster);
        let mut reasons = Vec::new();
        if cluster.pod_count[slot].used + 1 > cluster.pod_count[slot].has {
            reasons.push(Reason::Pods);
        }
        let requests = &pod.requests;
        let mut check = |name: &str, wanted: i64, room: Room| {
            if wanted > 0 && wanted > room.has - room.used {
                reasons.push(Reason::Insufficient(name.to_owned()));
            }
        };
        check("cpu", requests.milli_cpu, cluster.milli_cpu[slot]);
        check("memory", requests.memory, cluster.memory[slot]);
        check("ephemeral-storage", requests.storage, cluster.storage[slot]);
        for (name, wanted) in &requests.extended {
            check(
                name,
                *wanted,
                cluster.details[slot].extended.get(name).copied().unwrap_or_default(),
            );
        }
        reasons
    }
}

/// Whether any of the tolerations is for this taint (upstream `v1helper.TolerationsTolerateTaint`).
pub(crate) fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

fn collide(a: &HostPort, b: &HostPort) -> bool {
    a.port == b.port
        && a.protocol == b.protocol
        && (a.address.is_empty() || b.address.is_empty() || a.address == b.address)
}
