//! Requests and limits as cgroup v2 numbers, and the order in which the kernel kills when memory is short.

use super::super::observed::Resize;
use super::super::quantity;
use super::super::spec::{self, Qos, qos};
use super::Machine;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use sandbox::Limits;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Smallest quota that the kernel takes: 1 ms of 100.
const SMALLEST_QUOTA_US: u64 = 1000;

/// Limits of one container.
pub fn container(container: &Container) -> Limits {
    Limits {
        cpu_quota_us: amount(container, true, "cpu").map(quota),
        // Without a request the smallest weight, as upstream.
        cpu_weight: Some(weight(
            amount(container, false, "cpu")
                .or(amount(container, true, "cpu"))
                .unwrap_or(0),
        )),
        memory_max: amount(container, true, "memory").map(bytes),
        pids_max: None,
        oom_group: true,
    }
}

/// Limits of the pod: sums, where every container has one.
pub fn pod(spec: &PodSpec) -> Limits {
    let sum_of_limits = |resource: &str| -> Option<i64> {
        let mut limits = spec
            .containers
            .iter()
            .map(|container| amount(container, true, resource));
        limits
            .try_fold(0_i64, |sum, limit| Some(sum.saturating_add(limit?)))
            .filter(|sum| *sum > 0)
    };
    let init_peak = |resource: &str| {
        let init = spec.init_containers.iter().flatten();
        init.map(|container| amount(container, true, resource).unwrap_or(i64::MAX))
            .max()
            .unwrap_or(0)
    };
    let limit = |resource: &str| {
        sum_of_limits(resource)
            .map(|sum| sum.max(init_peak(resource)))
            .filter(|limit| *limit < i64::MAX)
    };
    let requests: i64 = spec
        .containers
        .iter()
        .filter_map(|container| amount(container, false, "cpu").or(amount(container, true, "cpu")))
        .sum();
    Limits {
        cpu_quota_us: limit("cpu").map(quota),
        cpu_weight: Some(weight(requests)),
        memory_max: limit("memory").map(bytes),
        pids_max: None,
        oom_group: false,
    }
}

/// The pod's cgroup below the cgroup root: as upstream's tree, without systemd's names.
pub fn cgroup(spec: &PodSpec, uid: &str) -> PathBuf {
    let parent = match qos(spec) {
        Qos::Guaranteed => "kubepods",
        Qos::Burstable => "kubepods/burstable",
        Qos::BestEffort => "kubepods/besteffort",
    };
    PathBuf::from(format!("{parent}/pod{uid}"))
}

/// Upstream: pkg/kubelet/qos/policy.go.
pub fn oom_score_adj(spec: &PodSpec, container: &Container, capacity: i64) -> i32 {
    let critical = spec.priority.is_some_and(|priority| priority >= 2_000_001_000);
    match qos(spec) {
        _ if critical => -997,
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let asked = amount(container, false, "memory")
                .or(amount(container, true, "memory"))
                .unwrap_or(0)
                / 1000;
            let share = i128::from(asked) * 1000 / i128::from(capacity.max(1));
            i32::try_from(1000 - share).unwrap_or(3).clamp(3, 999)
        }
    }
}

/// Thousandths, if it is more than nothing.
fn amount(container: &Container, limits: bool, resource: &str) -> Option<i64> {
    let resources = container.resources.as_ref()?;
    let list = if limits {
        resources.limits.as_ref()
    } else {
        resources.requests.as_ref()
    };
    list?
        .get(resource)
        .and_then(quantity::milli)
        .filter(|amount| *amount > 0)
}

fn quota(milli: i64) -> u64 {
    (u64::try_from(milli).unwrap_or(0) * 100).max(SMALLEST_QUOTA_US)
}

/// From shares (1024 a CPU) to weight (100 by default) as KEP-2254 maps them.
fn weight(milli: i64) -> u64 {
    let shares = (u64::try_from(milli).unwrap_or(0) * 1024 / 1000).clamp(2, 262_144);
    1 + (shares - 2) * 9999 / 262_142
}

fn bytes(milli: i64) -> u64 {
    u64::try_from(milli / 1000).unwrap_or(0)
}

/// What a pod asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Thousandths of CPUs.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
}

/// Containers together, or the largest init container with the sidecars before it, and what the runtime costs
/// (upstream: component-helpers/resource, PodRequests).
pub fn requests(spec: &PodSpec) -> Requests {
    let of = |resource: &str| {
        let asked = |container: &Container| amount(container, false, resource).or(amount(container, true, resource));
        let containers = spec.containers.iter().filter_map(asked).fold(0, i64::saturating_add);
        let (mut sidecars, mut peak) = (0_i64, 0_i64);
        for init in spec.init_containers.iter().flatten() {
            let own = asked(init).unwrap_or(0);
            peak = peak.max(sidecars.saturating_add(own));
            if spec::is_sidecar(init) {
                sidecars = sidecars.saturating_add(own);
            }
        }
        let overhead = spec.overhead.as_ref().and_then(|overhead| overhead.get(resource));
        let overhead = overhead.and_then(quantity::milli).unwrap_or(0);
        containers.saturating_add(sidecars).max(peak).saturating_add(overhead)
    };
    Requests {
        cpu_milli: of("cpu"),
        memory: of("memory") / 1000,
    }
}

/// Why a pod cannot have what it asks for on a machine where others use so much (upstream: allocation manager, canResizePod).
pub fn obstacle(spec: &PodSpec, used: &[Requests], machine: &Machine) -> Option<Resize> {
    let wanted = requests(spec);
    let sum = |of: fn(&Requests) -> i64| used.iter().map(of).fold(0, i64::saturating_add);
    let resources = [
        ("cpu", wanted.cpu_milli, sum(|used| used.cpu_milli), machine.cpu_milli),
        ("memory", wanted.memory, sum(|used| used.memory), machine.memory),
    ];
    let pending = |reason, message| Resize {
        condition: "PodResizePending",
        reason,
        message,
    };
    let too_much = resources.iter().find(|(_, wanted, _, capacity)| wanted > capacity);
    if let Some((name, wanted, _, capacity)) = too_much {
        let message = format!("Node didn't have enough capacity: {name}, requested: {wanted}, capacity: {capacity}");
        return Some(pending("Infeasible", message));
    }
    let not_now = resources
        .iter()
        .find(|(_, wanted, used, capacity)| wanted.saturating_add(*used) > *capacity);
    let (name, wanted, used, capacity) = not_now?;
    let message =
        format!("Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}");
    Some(pending("Deferred", message))
}

/// Which of a container's resources are to change while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    cpu: bool,
    memory: bool,
}

impl Changed {
    /// Whether any does.
    pub fn is_any(self) -> bool {
        self.cpu || self.memory
    }

    /// Whether the container wants to be started anew for that.
    pub fn restarts(self, container: &Container) -> bool {
        let policies = container.resize_policy.iter().flatten();
        let mut restarting = policies.filter(|policy| policy.restart_policy == "RestartContainer");
        restarting.any(|policy| match policy.resource_name.as_str() {
            "cpu" => self.cpu,
            "memory" => self.memory,
            _ => false,
        })
    }
}

/// Compares what a container runs with and what it wants; how an amount is written does not matter.
pub fn changed(given: &ResourceRequirements, wanted: &Container) -> Changed {
    let none = ResourceRequirements::default();
    let wanted = wanted.resources.as_ref().unwrap_or(&none);
    let differs = |name: &str| {
        let of = |list: &Option<BTreeMap<String, Quantity>>| list.as_ref()?.get(name).map(quantity::milli);
        of(&given.limits) != of(&wanted.limits) || of(&given.requests) != of(&wanted.requests)
    };
    Changed {
        cpu: differs("cpu"),
        memory: differs("memory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(containers: Value) -> PodSpec {
        serde_json::from_value(json!({"containers": containers})).unwrap()
    }

    #[test]
    fn limits_become_cgroup_numbers() {
        let spec = spec(json!([{"name": "a", "resources":
            {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "1", "memory": "32Mi"}}}]));
        let limits = container(&spec.containers[0]);
        assert_eq!(
            (limits.cpu_quota_us, limits.cpu_weight, limits.memory_max),
            (Some(25_000), Some(39), Some(67_108_864))
        );
        assert_eq!(pod(&spec).memory_max, Some(67_108_864));
        assert_eq!(oom_score_adj(&spec, &spec.containers[0], 1 << 30), 1000 - 31);
        assert_eq!(cgroup(&spec, "u1"), PathBuf::from("kubepods/burstable/podu1"));
    }

    #[test]
    fn quality_of_service_follows_from_cpu_and_memory() {
        let same = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let cases = [
            (json!([{"name": "a"}]), "kubepods/besteffort/podu", 1000),
            (json!([{"name": "a", "resources": same}]), "kubepods/podu", -997),
            (
                json!([{"name": "a", "resources": same}, {"name": "b"}]),
                "kubepods/burstable/podu",
                3,
            ),
            (
                json!([{"name": "a", "resources": {"requests": {"cpu": "1m"}}}]),
                "kubepods/burstable/podu",
                999,
            ),
            (
                json!([{"name": "a", "resources": {"requests": {"ephemeral-storage": "1Gi"}}}]),
                "kubepods/besteffort/podu",
                1000,
            ),
        ];
        for (containers, path, score) in cases {
            let spec = spec(containers);
            assert_eq!(cgroup(&spec, "u"), PathBuf::from(path));
            assert_eq!(oom_score_adj(&spec, &spec.containers[0], 1 << 30), score, "{path}");
        }
    }

    #[test]
    fn one_unlimited_container_leaves_the_pod_unlimited() {
        let spec = spec(json!([{"name": "a", "resources": {"limits": {"memory": "1Gi"}}}, {"name": "b"}]));
        assert_eq!(pod(&spec).memory_max, None);
    }

    #[test]
    fn what_a_pod_asks_for_is_its_containers_or_its_largest_init_container() {
        let cpu = |cpu: &str| json!({"requests": {"cpu": cpu, "memory": "1Mi"}});
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a", "resources": cpu("100m")}, {"name": "b", "resources": cpu("200m")}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": cpu("50m")},
                {"name": "i", "resources": cpu("400m")}],
            "overhead": {"cpu": "5m"}}))
        .unwrap();
        let (cpu_milli, memory) = (455, 3 << 20);
        assert_eq!(requests(&spec), Requests { cpu_milli, memory });
    }

    #[test]
    fn a_resize_waits_for_what_is_not_there() {
        let spec = spec(json!([{"name": "a", "resources": {"requests": {"cpu": "1500m"}}}]));
        let machine = |cpu_milli| Machine {
            cpu_milli,
            memory: 1 << 30,
            ..Machine::default()
        };
        let other = Requests {
            cpu_milli: 800,
            memory: 0,
        };
        let said =
            |cpu_milli, used: &[Requests]| obstacle(&spec, used, &machine(cpu_milli)).map(|pending| pending.message);
        assert_eq!(said(2000, &[]), None);
        let infeasible = "Node didn't have enough capacity: cpu, requested: 1500, capacity: 1000";
        assert_eq!(said(1000, &[]).as_deref(), Some(infeasible));
        let deferred = "Node didn't have enough resource: cpu, requested: 1500, used: 800, capacity: 2000";
        assert_eq!(said(2000, &[other]).as_deref(), Some(deferred));
    }

    #[test]
    fn a_change_is_one_of_amounts_and_may_want_a_new_start() {
        let container = |resources: Value| -> Container {
            let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"},
                {"resourceName": "cpu", "restartPolicy": "NotRequired"}]);
            serde_json::from_value(json!({"name": "a", "resizePolicy": policy, "resources": resources})).unwrap()
        };
        let given = container(json!({"limits": {"cpu": "1", "memory": "64Mi"}}))
            .resources
            .unwrap();
        let cases = [
            (json!({"limits": {"cpu": "1000m", "memory": "65536Ki"}}), false, false),
            (json!({"limits": {"cpu": "2", "memory": "64Mi"}}), true, false),
            (json!({"limits": {"cpu": "1", "memory": "128Mi"}}), true, true),
            (json!({"limits": {"cpu": "1"}}), true, true),
        ];
        for (wanted, is_any, restarts) in cases {
            let wanted = container(wanted);
            let change = changed(&given, &wanted);
            assert_eq!(
                (change.is_any(), change.restarts(&wanted)),
                (is_any, restarts),
                "{wanted:?}"
            );
        }
    }
}
