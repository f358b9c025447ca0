//! A pod's quality-of-service class (upstream `qos.ComputePodQOS`).

use crate::{quantity::Quantity, read};
use serde_json::Value;

/// What counts: one container's, or the pod's own, cpu and memory.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`, for a defaulted pod spec.
pub fn qos_class(spec: &Value) -> &'static str {
    let whole: Vec<&Value> = match read::some(spec, "/resources") {
        Some(_) => vec![spec],
        None => read::list(spec, "/containers")
            .iter()
            .chain(read::list(spec, "/initContainers"))
            .collect(),
    };
    let amount = |holder: &Value, part: &str, resource: &str| {
        holder
            .pointer(&format!("/resources/{part}/{resource}"))
            .and_then(Quantity::of)
            .filter(|q| !q.is_zero())
    };
    let (mut any, mut guaranteed) = (false, true);
    for holder in whole {
        for resource in COUNTED {
            let (request, limit) = (amount(holder, "requests", resource), amount(holder, "limits", resource));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::qos_class;
    use serde_json::{Value, json};

    #[test]
    fn classes_follow_requests_and_limits() {
        let both = json!({ "cpu": "1", "memory": "1Gi" });
        let one = |resources: Value| json!({ "containers": [{ "resources": resources }] });
        for (spec, class) in [
            (one(json!({})), "BestEffort"),
            (one(json!({ "requests": { "cpu": "0" } })), "BestEffort"),
            (one(json!({ "requests": { "nvidia.com/gpu": "1" } })), "BestEffort"),
            (one(json!({ "requests": { "cpu": "1m" } })), "Burstable"),
            (one(json!({ "limits": both, "requests": both })), "Guaranteed"),
            (
                one(json!({ "limits": both, "requests": { "cpu": "1000m", "memory": "1024Mi" } })),
                "Guaranteed",
            ),
            (
                one(json!({ "limits": both, "requests": { "cpu": "1", "memory": "1Mi" } })),
                "Burstable",
            ),
            (
                json!({ "containers": [{ "resources": { "limits": both, "requests": both } }, {}] }),
                "Burstable",
            ),
            (
                json!({ "containers": [{ "resources": { "limits": both, "requests": both } }], "initContainers": [{}] }),
                "Burstable",
            ),
        ] {
            assert_eq!(qos_class(&spec), class, "{spec}");
        }
    }
}
