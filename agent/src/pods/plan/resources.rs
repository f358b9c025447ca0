//! Requests and limits as cgroup v2 numbers, and the order in which the kernel kills when memory is short.

use super::super::quantity;
use super::super::spec::{Qos, qos};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use sandbox::Limits;
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
}
