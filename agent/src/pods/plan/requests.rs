//! What a pod asks for and may have in all: its containers together, or the pod's own word, and what its runtime costs.
//! Upstream: component-helpers/resource, PodRequests and PodLimits.

use super::super::quantity;
use super::super::spec;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::{BTreeMap, BTreeSet};

/// Amounts by the resource's name: thousandths of CPUs, bytes and counts of everything else.
pub type Amounts = BTreeMap<String, i64>;

/// Which of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// What is kept for it.
    Requests,
    /// What it may have at most.
    Limits,
}

// === impl Of ===

impl Of {
    fn list(self, resources: &ResourceRequirements) -> Option<&BTreeMap<String, Quantity>> {
        match self {
            Self::Requests => resources.requests.as_ref(),
            Self::Limits => resources.limits.as_ref(),
        }
    }

    fn amount(self, resources: Option<&ResourceRequirements>, name: &str) -> Option<i64> {
        let quantity = self.list(resources?)?.get(name)?;
        quantity::milli(quantity).filter(|amount| *amount > 0)
    }

    /// One container's, in thousandths. Without a request its limit is one, as the API says it in the pod.
    pub fn of(self, container: &Container, name: &str) -> Option<i64> {
        let resources = container.resources.as_ref();
        match self {
            Self::Requests => self
                .amount(resources, name)
                .or_else(|| Self::Limits.amount(resources, name)),
            Self::Limits => self.amount(resources, name),
        }
    }
}

/// What the pod says for all its containers (KEP-2837), in thousandths; it may do so for CPU, memory and huge pages.
pub fn of_all(spec: &PodSpec, of: Of, name: &str) -> Option<i64> {
    let may = ["cpu", "memory"].contains(&name) || name.starts_with("hugepages-");
    of.amount(spec.resources.as_ref().filter(|_| may), name)
}

/// The pod's, in thousandths; nothing where nobody says anything.
pub fn of_pod(spec: &PodSpec, of: Of, name: &str) -> Option<i64> {
    let own = of_all(spec, of, name).unwrap_or_else(|| of_containers(spec, of, name));
    let overhead = spec.overhead.as_ref().and_then(|overhead| overhead.get(name));
    let overhead = overhead.and_then(quantity::milli).unwrap_or(0);
    match (of, own) {
        (Of::Limits, 0) => None,
        (Of::Limits | Of::Requests, own) => Some(own.saturating_add(overhead)).filter(|sum| *sum > 0),
    }
}

/// Containers and sidecars together, or the largest init container with the sidecars before it.
fn of_containers(spec: &PodSpec, of: Of, name: &str) -> i64 {
    let own = |container: &Container| of.of(container, name).unwrap_or(0);
    let containers = spec.containers.iter().map(own).fold(0, i64::saturating_add);
    let (mut sidecars, mut peak) = (0_i64, 0_i64);
    for init in spec.init_containers.iter().flatten() {
        peak = peak.max(sidecars.saturating_add(own(init)));
        if spec::is_sidecar(init) {
            sidecars = sidecars.saturating_add(own(init));
        }
    }
    containers.saturating_add(sidecars).max(peak)
}

/// All that a pod asks for.
pub fn requests(spec: &PodSpec) -> Amounts {
    amounts(spec, Of::Requests)
}

/// All that a pod may have at most.
pub fn limits(spec: &PodSpec) -> Amounts {
    amounts(spec, Of::Limits)
}

fn amounts(spec: &PodSpec, of: Of) -> Amounts {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let resources = containers.filter_map(|container| container.resources.as_ref());
    let lists = resources
        .chain(&spec.resources)
        .flat_map(|resources| [resources.requests.as_ref(), resources.limits.as_ref()]);
    let names: BTreeSet<&String> = lists.flatten().chain(&spec.overhead).flat_map(BTreeMap::keys).collect();
    let amount = |name: &&String| {
        let amount = of_pod(spec, of, name)?;
        let amount = if *name == "cpu" { amount } else { amount / 1000 };
        Some(((*name).clone(), amount))
    };
    names.iter().filter_map(amount).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn given(list: Value) -> Amounts {
        serde_json::from_value(list).unwrap()
    }

    #[test]
    fn what_a_pod_asks_for_is_its_containers_or_its_largest_init_container() {
        let cpu = |cpu: &str| json!({"requests": {"cpu": cpu, "memory": "1Mi"}, "limits": {"cpu": "1"}});
        let mut spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a", "resources": cpu("100m")}, {"name": "b", "resources": cpu("200m")}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": cpu("50m")},
                {"name": "i", "resources": cpu("400m")}],
            "overhead": {"cpu": "5m"}}))
        .unwrap();
        assert_eq!(requests(&spec), given(json!({"cpu": 455, "memory": 3 << 20})));
        assert_eq!(limits(&spec), given(json!({"cpu": 3005})));
        // The pod's own word replaces the sums, and is none about disks.
        spec.resources = serde_json::from_value(
            json!({"requests": {"cpu": "2", "ephemeral-storage": "1Gi"}, "limits": {"memory": "1Gi"}}),
        )
        .unwrap();
        assert_eq!(requests(&spec), given(json!({"cpu": 2005, "memory": 3 << 20})));
        assert_eq!(limits(&spec), given(json!({"cpu": 3005, "memory": 1 << 30})));
    }

    #[test]
    fn a_limit_without_a_request_is_one() {
        let spec: PodSpec = serde_json::from_value(json!({"containers": [
            {"name": "a", "resources": {"limits": {"example.com/gpu": "2", "hugepages-2Mi": "4Mi"}}}]}))
        .unwrap();
        assert_eq!(
            requests(&spec),
            given(json!({"example.com/gpu": 2, "hugepages-2Mi": 4 << 20}))
        );
    }
}
