//! In which order pods go, and what they are told: pure (upstream: pkg/kubelet/eviction/helpers.go).

use super::signals::{Short, Signal};
use crate::node::face::on_disk::OnDisk;
use crate::pods::plan::requests::{self, Of};
use k8s_openapi::api::core::v1::Pod;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pod that may go, and what it uses; nothing where that is not known.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The pod.
    pub pod: Arc<Pod>,
    /// What it uses.
    pub used: Option<Used>,
}

/// What a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes of memory that cannot easily be had back.
    pub memory: u64,
    /// Processes and threads.
    pub tasks: u64,
    /// Its containers' layers and logs and its volumes together.
    pub disk: OnDisk,
    /// Its containers: memory, layer and logs.
    pub containers: BTreeMap<String, (u64, OnDisk)>,
    /// Its emptyDir volumes, those in memory too.
    pub volumes: BTreeMap<String, OnDisk>,
}

/// Puts the pod that is to go first at the beginning: one that uses more than it asked for before others, then the less
/// important, then the one that uses most.
pub fn order(signal: Signal, candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| {
        // Of whom nothing is known goes first.
        let by_knowledge = a.used.is_some().cmp(&b.used.is_some());
        let exceeds = match signal {
            Signal::Pids => Ordering::Equal,
            Signal::Memory | Signal::Disk | Signal::Images | Signal::Inodes | Signal::ImageInodes => {
                Reverse(excess(signal, a) > 0).cmp(&Reverse(excess(signal, b) > 0))
            }
        };
        by_knowledge
            .then(exceeds)
            .then_with(|| priority(a).cmp(&priority(b)))
            .then_with(|| excess(signal, b).cmp(&excess(signal, a)))
    });
}

fn priority(candidate: &Candidate) -> i32 {
    let spec = candidate.pod.spec.as_ref();
    spec.and_then(|spec| spec.priority).unwrap_or(0)
}

/// How much more it uses than it asked for; for inodes and processes nobody can ask.
fn excess(signal: Signal, candidate: &Candidate) -> i64 {
    let Some(used) = &candidate.used else { return 0 };
    let used = match signal {
        Signal::Memory => used.memory,
        Signal::Disk | Signal::Images => used.disk.bytes,
        Signal::Inodes | Signal::ImageInodes => used.disk.files,
        Signal::Pids => used.tasks,
    };
    let spec = candidate.pod.spec.as_ref();
    let asked = spec.and_then(|spec| requests::of_pod(spec, Of::Requests, signal.resource()));
    i64::try_from(used)
        .unwrap_or(i64::MAX)
        .saturating_sub(asked.unwrap_or(0) / 1000)
}

/// What an evicted pod is told: what was short, and which of its containers used more than they asked for.
pub fn message(short: &Short, candidate: &Candidate) -> String {
    let signal = short.signal;
    let resource = signal.resource();
    let (threshold, available) = (signal.print(short.threshold), signal.print(short.available));
    let mut message =
        format!("The node was low on resource: {resource}. Threshold quantity: {threshold}, available: {available}. ");
    let containers = candidate.pod.spec.iter().flat_map(|spec| &spec.containers);
    for container in containers {
        let used = candidate
            .used
            .as_ref()
            .and_then(|used| used.containers.get(&container.name));
        let used = match (signal, used) {
            (Signal::Memory, Some((memory, _))) => *memory,
            (Signal::Disk | Signal::Images, Some((_, disk))) => disk.bytes,
            (Signal::Inodes | Signal::ImageInodes | Signal::Pids, _) | (_, None) => continue,
        };
        let requests = container
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref());
        let asked = requests.and_then(|requests| requests.get(resource));
        let amount = asked.and_then(crate::pods::quantity::whole).unwrap_or(0);
        if i64::try_from(used).unwrap_or(i64::MAX) > amount {
            let (used, asked) = (signal.print(used), asked.map_or("0", |asked| asked.0.as_str()));
            message.push_str(&format!(
                "Container {} was using {used}, request is {asked}, has larger consumption of {resource}. ",
                container.name
            ));
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn candidate(name: &str, priority: i32, request: &str, used: Option<u64>) -> Candidate {
        let requests = json!({"requests": {"memory": request, "ephemeral-storage": request}});
        let spec = json!({"priority": priority, "containers": [{"name": "a", "resources": requests}]});
        let disk = |bytes| OnDisk { bytes, files: bytes };
        Candidate {
            pod: Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()),
            used: used.map(|used| Used {
                memory: used,
                tasks: used,
                disk: disk(used),
                containers: [("a".to_owned(), (used, disk(used)))].into(),
                volumes: BTreeMap::new(),
            }),
        }
    }

    fn ordered(signal: Signal, mut candidates: Vec<Candidate>) -> Vec<String> {
        order(signal, &mut candidates);
        let names = candidates
            .iter()
            .filter_map(|candidate| candidate.pod.metadata.name.clone());
        names.collect()
    }

    #[test]
    fn excess_then_priority_then_use_decides() {
        let all = vec![
            candidate("within", 0, "100", Some(90)),
            candidate("important", 5, "10", Some(900)),
            candidate("much over", 0, "10", Some(60)),
            candidate("little over", 0, "50", Some(60)),
            candidate("unknown", 9, "10", None),
            candidate("within, asked for more", -1, "1000", Some(800)),
        ];
        let expected = [
            "unknown",
            "much over",
            "little over",
            "important",
            "within, asked for more",
            "within",
        ];
        for signal in [Signal::Memory, Signal::Disk, Signal::Images] {
            assert_eq!(ordered(signal, all.clone()), expected, "{signal:?}");
        }
    }

    #[test]
    fn processes_and_inodes_cannot_be_asked_for() {
        let all = vec![
            candidate("few", 0, "1", Some(2)),
            candidate("many", 0, "1000", Some(900)),
            candidate("important", 1, "1", Some(5000)),
        ];
        assert_eq!(ordered(Signal::Pids, all.clone()), ["many", "few", "important"]);
        assert_eq!(ordered(Signal::Inodes, all), ["many", "few", "important"]);
    }

    #[test]
    fn the_evicted_are_told_in_upstreams_words() {
        let short = Short {
            signal: Signal::Memory,
            threshold: 100 << 20,
            available: 50 << 20,
            is_soft: false,
        };
        let low = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ";
        let over = candidate("a", 0, "1Mi", Some(2 << 20));
        assert_eq!(
            message(&short, &over),
            format!("{low}Container a was using 2Mi, request is 1Mi, has larger consumption of memory. ")
        );
        assert_eq!(message(&short, &candidate("a", 0, "4Mi", Some(2 << 20))), low);
        assert_eq!(message(&short, &candidate("a", 0, "4Mi", None)), low);
    }
}
