//! What a pod takes of a quota (upstream: pkg/quota/v1/evaluator/core/pods.go).

use super::{Amounts, add};
use crate::quantity::Quantity;
use crate::read;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Names that make a quota ask every container to say what it needs. Upstream calls it a mistake and keeps it.
const ASKED: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];
/// Resources of the machine itself, which have names without `requests.` too.
const NATIVE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Whether a quota of this name is about pods.
pub(super) fn minds(name: &str) -> bool {
    let bare = name.strip_prefix("requests.").unwrap_or(name);
    NATIVE.contains(&bare)
        || bare.starts_with("hugepages-")
        || name.strip_prefix("limits.").is_some_and(|bare| NATIVE.contains(&bare))
        || name != bare && is_extended(bare)
}

/// Whether it is a resource of somebody else's, such as `example.com/gpu` (upstream: `IsExtendedResourceName`).
pub fn is_extended(name: &str) -> bool {
    let foreign = name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.");
    foreign && crate::names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// What the pod takes now; one that has ended takes nothing.
pub(super) fn usage(pod: &Value, now: Timestamp) -> Amounts {
    if has_ended(pod, now) {
        return Amounts::new();
    }
    let mut usage = names(&resources(pod, "requests"), &resources(pod, "limits"));
    usage.insert("pods".to_owned(), Quantity::whole(1));
    usage
}

fn has_ended(pod: &Value, now: Timestamp) -> bool {
    if matches!(read::text(pod, "/status/phase"), "Failed" | "Succeeded") {
        return true;
    }
    let marked = read::text(pod, "/metadata/deletionTimestamp").parse::<Timestamp>().ok();
    let grace = read::some(pod, "/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    let (Some(marked), Some(grace)) = (marked, grace) else {
        return false;
    };
    marked
        .checked_add(SignedDuration::from_secs(grace))
        .is_ok_and(|end| now > end)
}

/// Requests and limits under the names that quotas have for them.
fn names(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::new();
    for (name, amount) in requests {
        if NATIVE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
        }
        if NATIVE.contains(&name.as_str()) || name.starts_with("hugepages-") || is_extended(name) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    let native = limits.iter().filter(|(name, _)| NATIVE.contains(&name.as_str()));
    usage.extend(native.map(|(name, amount)| (format!("limits.{name}"), *amount)));
    usage
}

/// What the whole pod requests or is limited to (upstream: component-helpers/resource `PodRequests`, `PodLimits`).
pub fn resources(pod: &Value, which: &str) -> Amounts {
    let mut total = container_resources(pod.get("spec").unwrap_or(&Value::Null), which);
    // What the pod as a whole says counts instead of its containers' sum.
    for (name, amount) in super::amounts(pod, &format!("/spec/resources/{which}")) {
        total.insert(name, amount);
    }
    for (name, amount) in super::amounts(pod, "/spec/overhead") {
        let limited = total.get(&name).is_some_and(|present| !present.is_zero());
        if which == "requests" || limited {
            add(&mut total, &Amounts::from([(name, amount)]));
        }
    }
    total
}

/// What the containers of a pod's spec need at most at one time (upstream: component-helpers/resource `AggregateContainerRequests`).
pub fn container_resources(spec: &Value, which: &str) -> Amounts {
    let of = |container: &Value| super::amounts(container, &format!("/resources/{which}"));
    let mut total = Amounts::new();
    for container in read::list(spec, "/containers") {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in read::list(spec, "/initContainers") {
        let own = of(container);
        if read::text(container, "/restartPolicy") == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            greatest(&mut peak, &sidecars);
        } else {
            let mut together = own;
            add(&mut together, &sidecars);
            greatest(&mut peak, &together);
        }
    }
    greatest(&mut total, &peak);
    total
}

fn greatest(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let greater = to.get(name).map_or(*amount, |present| (*present).max(*amount));
        to.insert(name.clone(), greater);
    }
}

/// What containers would have to say because quotas limit `names`, in upstream's words:
/// `must specify limits.cpu for: a,b; requests.memory for: a`. None where nothing is missing.
pub fn missing<'a>(pod: &Value, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut asked: BTreeSet<&str> = names.filter(|name| ASKED.contains(name)).collect();
    let whole = self::names(
        &super::amounts(pod, "/spec/resources/requests"),
        &super::amounts(pod, "/spec/resources/limits"),
    );
    asked.retain(|name| !whole.contains_key(*name));
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let containers = read::list(pod, "/spec/containers")
        .iter()
        .chain(read::list(pod, "/spec/initContainers"));
    for container in containers {
        let amounts = |which| super::amounts(container, which);
        let said = self::names(&amounts("/resources/requests"), &amounts("/resources/limits"));
        for name in asked.iter().filter(|name| !said.contains_key(**name)) {
            missing.entry(name).or_default().insert(read::text(container, "/name"));
        }
    }
    if missing.is_empty() {
        return None;
    }
    let each = missing.iter().map(|(name, containers)| {
        let containers: Vec<&str> = containers.iter().copied().collect();
        format!("{name} for: {}", containers.join(","))
    });
    Some(format!("must specify {}", each.collect::<Vec<_>>().join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::sentence;
    use serde_json::json;

    fn container(name: &str, requests: Value, limits: Value) -> Value {
        json!({"name": name, "resources": {"requests": requests, "limits": limits}})
    }

    #[test]
    fn a_pod_takes_its_containers_sum_or_its_greatest_init_container_and_its_overhead() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().expect("a time");
        let a = container("a", json!({"cpu": "500m", "example.com/gpu": "2"}), json!({"cpu": "1"}));
        let b = container("b", json!({"cpu": "250m", "memory": "64Mi"}), json!({}));
        let large = container("i", json!({"cpu": "1"}), json!({}));
        let mut sidecar = container("s", json!({"cpu": "100m"}), json!({}));
        sidecar["restartPolicy"] = "Always".into();
        for (pod, expected) in [
            (
                json!({"spec": {"containers": [a, b]}}),
                "cpu=750m,limits.cpu=1,memory=64Mi,pods=1,requests.cpu=750m,requests.example.com/gpu=2,requests.memory=64Mi",
            ),
            (
                json!({"spec": {"containers": [b], "initContainers": [sidecar, large]}}),
                "cpu=1100m,memory=64Mi,pods=1,requests.cpu=1100m,requests.memory=64Mi",
            ),
            (
                json!({"spec": {"containers": [b], "overhead": {"cpu": "50m"}}}),
                "cpu=300m,memory=64Mi,pods=1,requests.cpu=300m,requests.memory=64Mi",
            ),
            (
                json!({"spec": {"containers": [b]}, "status": {"phase": "Succeeded"}}),
                "",
            ),
            (
                json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}, "spec": {}}),
                "",
            ),
            (
                json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:59Z", "deletionGracePeriodSeconds": 30}, "spec": {}}),
                "pods=1",
            ),
        ] {
            assert_eq!(sentence(&usage(&pod, now)), expected, "{pod}");
        }
    }

    #[test]
    fn containers_that_do_not_say_what_a_quota_limits_are_named() {
        let a = container("a", json!({"cpu": "500m"}), json!({"cpu": "1"}));
        let b = container("b", json!({"cpu": "250m"}), json!({}));
        let pod = json!({"spec": {"containers": [a, b]}});
        let said = |names: &[&str]| missing(&pod, names.iter().copied());
        assert_eq!(said(&["pods", "requests.cpu", "requests.ephemeral-storage"]), None);
        assert_eq!(
            said(&["limits.cpu", "requests.memory", "cpu"]).as_deref(),
            Some("must specify limits.cpu for: b; requests.memory for: a,b")
        );
    }

    #[test]
    fn names_of_quotas() {
        for (name, about_pods) in [
            ("cpu", true),
            ("limits.ephemeral-storage", true),
            ("requests.hugepages-2Mi", true),
            ("requests.example.com/gpu", true),
            ("example.com/gpu", false),
            ("requests.storage", false),
            ("services", false),
        ] {
            assert_eq!(minds(name), about_pods, "{name}");
        }
    }
}
