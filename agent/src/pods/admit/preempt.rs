//! Who makes room for a critical pod: as few and as unimportant pods as suffice (upstream:
//! pkg/kubelet/preemption/preemption.go).

use crate::pods::plan::requests::{self, Amounts};
use crate::pods::spec::{Qos, qos};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// Upstream's words for the pods that go.
pub const MESSAGE: &str = "Preempted in order to admit critical pod";
/// The same for their condition.
pub const DISRUPTION: &str = "Pod was preempted by Kubelet to accommodate a critical pod.";

/// What is lacking, by resource.
type Lacking = Vec<(String, i64)>;

#[derive(Clone)]
struct Candidate {
    pod: Arc<Pod>,
    asks: Amounts,
}

/// The pods to end so that `lacking` is there; an error is a sentence.
pub fn victims(critical: &Pod, pods: &[Arc<Pod>], lacking: &[(&str, i64)]) -> Result<Vec<Arc<Pod>>, String> {
    let lacking: Lacking = lacking
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), *amount))
        .collect();
    let of_class = |class: Qos| -> Vec<Candidate> {
        let pods = pods.iter().filter(|pod| yields(pod, critical));
        let pods = pods.filter_map(|pod| Some((pod, pod.spec.as_ref()?)));
        let pods = pods.filter(|(_, spec)| qos(spec) == class);
        pods.map(|(pod, spec)| Candidate {
            pod: pod.clone(),
            asks: requests::requests(spec),
        })
        .collect()
    };
    let (best_effort, burstable) = (of_class(Qos::BestEffort), of_class(Qos::Burstable));
    let guaranteed = of_class(Qos::Guaranteed);
    let all = [best_effort.clone(), burstable.clone(), guaranteed.clone()].concat();
    let beyond = without(&lacking, &all);
    if !beyond.is_empty() {
        return Err(not_found(&beyond));
    }
    // Of each class only what the classes below it cannot give.
    let lower = [best_effort.clone(), burstable.clone()].concat();
    let from_guaranteed = nearest(guaranteed, without(&lacking, &lower))?;
    let others = [best_effort.clone(), from_guaranteed.clone()].concat();
    let from_burstable = nearest(burstable, without(&lacking, &others))?;
    let others = [from_burstable.clone(), from_guaranteed.clone()].concat();
    let from_best_effort = nearest(best_effort, without(&lacking, &others))?;
    let chosen = [from_best_effort, from_burstable, from_guaranteed].concat();
    Ok(chosen.into_iter().map(|candidate| candidate.pod).collect())
}

fn yields(pod: &Pod, critical: &Pod) -> bool {
    let priority = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.priority);
    if super::is_critical(critical) && !super::is_critical(pod) {
        return true;
    }
    priority(critical)
        .zip(priority(pod))
        .is_some_and(|(above, below)| above > below)
}

fn asks(candidate: &Candidate, name: &str) -> i64 {
    match name {
        "pods" => 1,
        name => candidate.asks.get(name).copied().unwrap_or(0),
    }
}

/// What is lacking still when these are gone.
fn without(lacking: &Lacking, gone: &[Candidate]) -> Lacking {
    let left = lacking.iter().map(|(name, amount)| {
        let freed = gone
            .iter()
            .map(|candidate| asks(candidate, name))
            .fold(0, i64::saturating_add);
        (name.clone(), amount.saturating_sub(freed))
    });
    left.filter(|(_, amount)| *amount > 0).collect()
}

/// Those whose requests come nearest to what is lacking, one after the other.
fn nearest(mut candidates: Vec<Candidate>, mut lacking: Lacking) -> Result<Vec<Candidate>, String> {
    let mut chosen = Vec::new();
    while !lacking.is_empty() {
        let distance = |candidate: &Candidate| -> f64 {
            let of = |(name, amount): &(String, i64)| {
                let left = (amount - asks(candidate, name)).max(0) as f64;
                (left / *amount as f64).powi(2)
            };
            lacking.iter().map(of).sum()
        };
        let size = |candidate: &Candidate| (asks(candidate, "memory"), asks(candidate, "cpu"));
        let best = candidates.iter().enumerate().min_by(|(_, a), (_, b)| {
            let by_distance = distance(a).total_cmp(&distance(b));
            by_distance.then_with(|| size(a).cmp(&size(b)))
        });
        let Some((index, _)) = best else {
            return Err(not_found(&lacking));
        };
        let candidate = candidates.swap_remove(index);
        lacking = without(&lacking, std::slice::from_ref(&candidate));
        chosen.push(candidate);
    }
    Ok(chosen)
}

fn not_found(lacking: &Lacking) -> String {
    let each = lacking
        .iter()
        .map(|(name, amount)| format!("(res: {name}, q: {amount}), "));
    let each: String = each.collect();
    format!(
        "preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [{each}]"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, resources: Value, priority: i32) -> Arc<Pod> {
        let spec = json!({"priority": priority, "containers": [{"name": "a", "resources": resources}]});
        let pod = json!({"metadata": {"name": name, "uid": name}, "spec": spec});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn the_least_important_pods_that_suffice_make_room() {
        let critical = pod("critical", json!({}), 2_000_000_000);
        let burstable = |name: &str, cpu: &str| pod(name, json!({"requests": {"cpu": cpu}}), 0);
        let guaranteed = json!({"limits": {"cpu": "4", "memory": "1Gi"}});
        let pods = [
            pod("idle", json!({}), 0),
            burstable("small", "100m"),
            burstable("middle", "500m"),
            burstable("large", "2"),
            pod("guaranteed", guaranteed, 0),
            pod("system", json!({"requests": {"cpu": "8"}}), 2_000_000_000),
        ];
        let chosen = |lacking: &[(&str, i64)]| -> Result<Vec<String>, String> {
            let victims = victims(&critical, &pods, lacking)?;
            Ok(victims.iter().filter_map(|pod| pod.metadata.name.clone()).collect())
        };
        assert_eq!(chosen(&[("cpu", 400)]).unwrap(), ["middle"]);
        assert_eq!(chosen(&[("cpu", 2100)]).unwrap(), ["large", "small"]);
        assert_eq!(chosen(&[("pods", 1)]).unwrap(), ["idle"]);
        assert_eq!(chosen(&[("cpu", 5000)]).unwrap(), ["large", "guaranteed"]);
        let error = chosen(&[("cpu", 9000)]).unwrap_err();
        assert!(
            error.ends_with("no set of running pods found to reclaim resources: [(res: cpu, q: 2400), ]"),
            "{error}"
        );
    }
}
