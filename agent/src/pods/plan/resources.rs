//! Requests and limits as cgroup v2 numbers, and the order in which the kernel kills when memory is short.

use super::super::observed::Resize;
use super::super::quantity;
use super::super::spec::{self, Qos, qos};
use super::Machine;
use super::requests::{self, Amounts, Of};
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use sandbox::Limits;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Smallest quota that the kernel takes: 1 ms of 100.
const SMALLEST_QUOTA_US: u64 = 1000;
/// The priority of the class system-node-critical.
const NODE_CRITICAL: i32 = 2_000_001_000;

/// Limits of one container; what it does not say of itself, its pod may say for all (KEP-2837).
pub fn container(spec: &PodSpec, container: &Container, machine: &Machine) -> Limits {
    let limit = |name: &str| amount(container, true, name).or_else(|| requests::of_all(spec, Of::Limits, name));
    let memory_max = limit("memory").map(bytes);
    Limits {
        cpu_quota_us: limit("cpu").map(quota),
        // Without a request the smallest weight, as upstream.
        cpu_weight: Some(weight(
            amount(container, false, "cpu")
                .or(amount(container, true, "cpu"))
                .unwrap_or(0),
        )),
        memory_max,
        swap_max: Some(swap(spec, container, machine)),
        hugetlb: huge_pages(machine, |name| amount(container, true, name)),
        cpus: None,
        memory_nodes: None,
        pids_max: None,
        oom_group: true,
    }
}

/// Limits of the pod: sums, where every container has one, or what the pod says for all.
pub fn pod(spec: &PodSpec, machine: &Machine) -> Limits {
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let limit = |name: &str| {
        let is_said = requests::of_all(spec, Of::Limits, name).is_some()
            || all().all(|container| amount(container, true, name).is_some());
        requests::of_pod(spec, Of::Limits, name).filter(|_| is_said)
    };
    Limits {
        cpu_quota_us: limit("cpu").map(quota),
        cpu_weight: Some(weight(requests::of_pod(spec, Of::Requests, "cpu").unwrap_or(0))),
        memory_max: limit("memory").map(bytes),
        swap_max: None,
        hugetlb: huge_pages(machine, |name| requests::of_pod(spec, Of::Limits, name)),
        cpus: None,
        memory_nodes: None,
        pids_max: machine.pod_pids,
        oom_group: false,
    }
}

/// What a container may have of each size of huge pages; nothing of those that it does not ask for (upstream:
/// kuberuntime, GetHugepageLimitsFromResources).
fn huge_pages(machine: &Machine, limit: impl Fn(&str) -> Option<i64>) -> BTreeMap<String, u64> {
    let sizes = machine.huge_pages.keys();
    let each = sizes.map(|size| {
        let limit = limit(&format!("hugepages-{size}")).map_or(0, bytes);
        // The kernel writes 2MB and 1GB where Kubernetes writes 2Mi and 1Gi.
        (size.replace('i', "B"), limit)
    });
    each.collect()
}

/// Bytes of swap: none, or with the machine's leave a share as large as the container's share of memory, for those that can
/// be slow at all (KEP-2400, LimitedSwap).
fn swap(spec: &PodSpec, container: &Container, machine: &Machine) -> u64 {
    let request = amount(container, false, "memory").unwrap_or(0);
    let may = qos(spec) == Qos::Burstable
        && request > 0
        && amount(container, true, "memory") != Some(request)
        && spec.priority.is_none_or(|priority| priority < NODE_CRITICAL);
    if !may || machine.memory_capacity <= 0 {
        return 0;
    }
    let share = i128::from(request / 1000) * i128::from(machine.swap) / i128::from(machine.memory_capacity);
    u64::try_from(share).unwrap_or(0)
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

/// Upstream: pkg/kubelet/qos/policy.go. A sidecar is never killed before the container that needs it.
pub fn oom_score_adj(spec: &PodSpec, container: &Container, capacity: i64) -> i32 {
    let critical = spec.priority.is_some_and(|priority| priority >= NODE_CRITICAL);
    match qos(spec) {
        _ if critical => -997,
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let asked = |container: &Container| {
                let own = amount(container, false, "memory").or(amount(container, true, "memory"));
                own.unwrap_or(0) / 1000
            };
            let least = spec.containers.iter().map(asked).min().unwrap_or(0);
            let asked = match spec::is_sidecar(container) {
                true => asked(container).max(least),
                false => asked(container),
            };
            let asked = asked.saturating_add(left_over(spec));
            let share = i128::from(asked) * 1000 / i128::from(capacity.max(1));
            i32::try_from(1000 - share).unwrap_or(3).clamp(3, 999)
        }
    }
}

/// Bytes of memory that the pod asks for beyond its containers, for each of them.
fn left_over(spec: &PodSpec) -> i64 {
    let Some(all) = requests::of_all(spec, Of::Requests, "memory") else {
        return 0;
    };
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|init| spec::is_sidecar(init));
    let lasting: Vec<&Container> = spec.containers.iter().chain(sidecars).collect();
    let own = lasting
        .iter()
        .filter_map(|container| amount(container, false, "memory"));
    let own = own.fold(0, i64::saturating_add);
    let count = i64::try_from(lasting.len()).unwrap_or(i64::MAX).max(1);
    (all - own).max(0) / 1000 / count
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

/// From shares (1024 a CPU) to weight (100 by default), so that least, default and most meet: the curve of
/// opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value, which upstream uses since 1.35.
pub fn weight(milli: i64) -> u64 {
    weight_of_shares(u64::try_from(milli).unwrap_or(0).saturating_mul(1024) / 1000)
}

/// The same from shares themselves, as CRI has them.
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

fn bytes(milli: i64) -> u64 {
    u64::try_from(milli / 1000).unwrap_or(0)
}

/// Why a pod cannot have what it asks for on a machine where others use so much (upstream: allocation manager, canResizePod).
pub fn obstacle(spec: &PodSpec, used: &Amounts, machine: &Machine) -> Option<Resize> {
    let wanted = requests::requests(spec);
    let all = machine.amounts();
    let of = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or(0);
    let resources = ["cpu", "memory"].map(|name| (name, of(&wanted, name), of(used, name), of(&all, name)));
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
        let machine = Machine {
            pod_pids: Some(64),
            huge_pages: [("2Mi".to_owned(), 64 << 20)].into(),
            ..Machine::default()
        };
        let limits = container(&spec, &spec.containers[0], &machine);
        assert_eq!(
            (limits.cpu_quota_us, limits.cpu_weight, limits.memory_max),
            (Some(25_000), Some(weight(1000)), Some(67_108_864))
        );
        assert_eq!((limits.swap_max, limits.hugetlb["2MB"]), (Some(0), 0));
        let pod = pod(&spec, &machine);
        assert_eq!((pod.memory_max, pod.pids_max), (Some(67_108_864), Some(64)));
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
    fn one_unlimited_container_leaves_the_pod_unlimited_unless_the_pod_says_it_for_all() {
        let mut spec = spec(json!([{"name": "a", "resources": {"limits": {"memory": "1Gi"}}}, {"name": "b"}]));
        let machine = Machine::default();
        assert_eq!(pod(&spec, &machine).memory_max, None);
        spec.resources = serde_json::from_value(json!({"limits": {"memory": "2Gi", "cpu": "1"}})).unwrap();
        assert_eq!(pod(&spec, &machine).memory_max, Some(2 << 30));
        let of = |index: usize| container(&spec, &spec.containers[index], &machine);
        assert_eq!((of(0).memory_max, of(1).memory_max), (Some(1 << 30), Some(2 << 30)));
        assert_eq!(of(1).cpu_quota_us, Some(100_000));
    }

    #[test]
    fn weights_meet_least_default_and_most() {
        let cases = [(0, 1), (2, 1), (100, 17), (256_000, 10_000), (1_000_000, 10_000)];
        for (milli, expected) in cases {
            assert_eq!(weight(milli), expected, "{milli}");
        }
        assert!((100..=102).contains(&weight(1000)));
    }

    #[test]
    fn swap_is_shared_like_memory_by_those_that_may() {
        let machine = Machine {
            memory_capacity: 4 << 30,
            swap: 2 << 30,
            ..Machine::default()
        };
        let cases = [
            (json!({"requests": {"memory": "1Gi"}}), 512 << 20),
            (json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}), 0),
            (json!({"requests": {"cpu": "1"}}), 0),
        ];
        for (resources, expected) in cases {
            let spec = spec(json!([{"name": "a", "resources": resources}]));
            assert_eq!(swap(&spec, &spec.containers[0], &machine), expected, "{resources}");
            assert_eq!(swap(&spec, &spec.containers[0], &Machine::default()), 0);
        }
    }

    #[test]
    fn a_sidecar_is_not_killed_before_those_that_need_it() {
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a", "resources": {"requests": {"memory": "512Mi"}}}],
            "initContainers": [{"name": "s", "restartPolicy": "Always", "resources": {"requests": {"memory": "1Mi"}}}]}))
        .unwrap();
        let of = |container: &Container| oom_score_adj(&spec, container, 1 << 30);
        assert_eq!(of(&spec.containers[0]), 500);
        assert_eq!(of(&spec.init_containers.as_ref().unwrap()[0]), 500);
    }

    #[test]
    fn a_resize_waits_for_what_is_not_there() {
        let spec = spec(json!([{"name": "a", "resources": {"requests": {"cpu": "1500m"}}}]));
        let machine = |cpu_milli| Machine {
            cpu_milli,
            memory: 1 << 30,
            ..Machine::default()
        };
        let said = |cpu_milli, used: i64| {
            let used = [("cpu".to_owned(), used)].into();
            obstacle(&spec, &used, &machine(cpu_milli)).map(|pending| pending.message)
        };
        assert_eq!(said(2000, 0), None);
        let infeasible = "Node didn't have enough capacity: cpu, requested: 1500, capacity: 1000";
        assert_eq!(said(1000, 0).as_deref(), Some(infeasible));
        let deferred = "Node didn't have enough resource: cpu, requested: 1500, used: 800, capacity: 2000";
        assert_eq!(said(2000, 800).as_deref(), Some(deferred));
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
