//! How well a node suits a pod: upstream's score plugins with their weights, 0 to 100 each, over all nodes that fit.

use crate::cluster::{Cluster, Room, Slot};
use crate::filter::is_tolerated;
use crate::pod::Pod;
use k8s_openapi::api::core::v1::Taint;

const MAX: i64 = 100;
/// The weights of upstream's default profile (`default_plugins.go`); the others weigh 1.
const TAINT_TOLERATION: i64 = 3;
const NODE_AFFINITY: i64 = 2;

/// Plugin ImageLocality: below the first an image is not worth it, above the second, a container, it is worth no more.
const IMAGE_FLOOR: i64 = 23 << 20;
const IMAGE_CEILING: i64 = 1000 << 20;

/// The weighted sum of each node's scores, in the order of `fitting`.
pub(crate) fn scores(pod: &Pod, cluster: &Cluster, fitting: &[Slot]) -> Vec<i64> {
    let mut sums: Vec<i64> = fitting.iter().map(|slot| resources(pod, cluster, *slot)).collect();
    add(&mut sums, TAINT_TOLERATION, taints(pod, cluster, fitting));
    if !pod.preferred.is_empty() {
        add(&mut sums, NODE_AFFINITY, affinity(pod, cluster, fitting));
    }
    if let Some(images) = images(pod, cluster, fitting) {
        add(&mut sums, 1, images);
    }
    sums
}

fn add(sums: &mut [i64], weight: i64, scores: Vec<i64>) {
    for (sum, score) in sums.iter_mut().zip(scores) {
        *sum += weight * score;
    }
}

/// Plugins NodeResourcesFit (strategy LeastAllocated) and NodeResourcesBalancedAllocation.
fn resources(pod: &Pod, cluster: &Cluster, slot: Slot) -> i64 {
    let (cpu, memory) = (cluster.milli_cpu[slot], cluster.memory[slot]);
    let (scored_cpu, scored_memory) = cluster.scored[slot];
    let with_cpu = Room {
        used: scored_cpu + pod.scored.0,
        ..cpu
    };
    let with_memory = Room {
        used: scored_memory + pod.scored.1,
        ..memory
    };
    let least = mean([least(with_cpu), least(with_memory)]);
    // Upstream does not balance pods that ask for nothing: they would all look alike.
    let balanced = if pod.asks_for_nothing() {
        0
    } else {
        balanced(pod, cpu, memory)
    };
    least + balanced
}

fn least(room: Room) -> Option<i64> {
    (room.has > 0).then(|| {
        if room.used > room.has {
            0
        } else {
            (room.has - room.used) * MAX / room.has
        }
    })
}

fn mean(scores: [Option<i64>; 2]) -> i64 {
    let count = scores.iter().flatten().count() as i64;
    if count == 0 {
        0
    } else {
        scores.iter().flatten().sum::<i64>() / count
    }
}

/// 75 where the pod changes nothing, up to 100 where it evens the node out, down to 50 (upstream since v1.36).
fn balanced(pod: &Pod, cpu: Room, memory: Room) -> i64 {
    let with = evenness([
        Room {
            used: cpu.used + pod.requests.milli_cpu,
            ..cpu
        },
        Room {
            used: memory.used + pod.requests.memory,
            ..memory
        },
    ]);
    let without = evenness([cpu, memory]);
    MAX / 2 + (MAX / 2 + with - without) / 2
}

/// 100 less the standard deviation of the parts used; of two parts that is half of their difference.
fn evenness(rooms: [Room; 2]) -> i64 {
    let part = |room: Room| (room.has > 0).then(|| (room.used as f64 / room.has as f64).min(1.0));
    let deviation = match rooms.map(part) {
        [Some(a), Some(b)] => (a - b).abs() / 2.0,
        [Some(_), None] | [None, Some(_)] | [None, None] => 0.0,
    };
    ((1.0 - deviation) * MAX as f64) as i64
}

/// Plugin TaintToleration: fewest untolerated taints of effect PreferNoSchedule.
fn taints(pod: &Pod, cluster: &Cluster, fitting: &[Slot]) -> Vec<i64> {
    let soft = |taint: &&Taint| taint.effect == "PreferNoSchedule" && !is_tolerated(taint, &pod.tolerations);
    let by_set: Vec<i64> = cluster
        .taint_sets
        .iter()
        .map(|set| set.iter().filter(soft).count() as i64)
        .collect();
    let counts: Vec<i64> = fitting.iter().map(|slot| by_set[cluster.taint_set[*slot]]).collect();
    normalize(counts).into_iter().map(|score| MAX - score).collect()
}

/// Plugin NodeAffinity: the weights of the preferred terms that match.
fn affinity(pod: &Pod, cluster: &Cluster, fitting: &[Slot]) -> Vec<i64> {
    let weight = |slot: &Slot| {
        let details = &cluster.details[*slot];
        let matching = pod
            .preferred
            .iter()
            .filter(|(_, term)| term.matches(&details.name, &details.labels));
        matching.map(|(weight, _)| weight).sum()
    };
    normalize(fitting.iter().map(weight).collect())
}

/// Scales so that the greatest is 100; all stay 0 if it is 0.
fn normalize(scores: Vec<i64>) -> Vec<i64> {
    match scores.iter().max() {
        Some(greatest) if *greatest > 0 => scores.iter().map(|score| MAX * score / greatest).collect(),
        Some(_) | None => scores,
    }
}

/// Plugin ImageLocality: bytes already there, counted less for images that few nodes have, so that one node does not
/// attract all pods of an image. None if no node has any.
fn images(pod: &Pod, cluster: &Cluster, fitting: &[Slot]) -> Option<Vec<i64>> {
    let known: Vec<_> = pod
        .images
        .iter()
        .filter_map(|image| cluster.images.get(image))
        .collect();
    if known.is_empty() {
        return None;
    }
    let mut bytes = vec![0i64; cluster.details.len()];
    for image in known {
        let spread = image.nodes.len() as f64 / cluster.len().max(1) as f64;
        image
            .nodes
            .iter()
            .for_each(|slot| bytes[*slot] += (image.bytes as f64 * spread) as i64);
    }
    let ceiling = IMAGE_CEILING * pod.images.len() as i64;
    let score = |slot: &Slot| MAX * (bytes[*slot].clamp(IMAGE_FLOOR, ceiling) - IMAGE_FLOOR) / (ceiling - IMAGE_FLOOR);
    Some(fitting.iter().map(score).collect())
}
