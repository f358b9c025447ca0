//! LimitRanger: what containers do not say about their resources comes from the namespace's LimitRanges, which also bound it
//! (upstream: plugin/pkg/admission/limitranger).

use super::cluster;
use crate::call::Call;
use api::quantity::Quantity;
use api::quota::{Amounts, amounts, pod_resources};
use api::read;
use api::status::{self, Status};
use serde_json::{Value, json};

/// Says on a pod what came from where.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Fills in a new pod's requests and limits.
pub(super) fn mutate(call: &Call, pod: &mut Value) {
    for range in cluster::list(call, "", "limitranges", &call.namespace) {
        fill_in(pod, &range);
    }
}

/// Refuses what a LimitRange does not allow.
pub(super) fn validate(call: &Call, object: &Value) -> Result<(), Status> {
    for range in cluster::list(call, "", "limitranges", &call.namespace) {
        let mut errors = match call.rules.plural {
            "pods" => pod_errors(object, &range),
            _ => claim_errors(object, &range),
        };
        errors.dedup();
        let why = match errors.len() {
            0 => continue,
            1 => errors.concat(),
            _ => format!("[{}]", errors.join(", ")),
        };
        return Err(status::forbidden(&call.rules, api::metadata::name(object), &why));
    }
    Ok(())
}

fn limits<'a>(range: &'a Value, of: &'a str) -> impl Iterator<Item = &'a Value> {
    read::list(range, "/spec/limits")
        .iter()
        .filter(move |limit| read::text(limit, "/type") == of)
}

fn fill_in(pod: &mut Value, range: &Value) {
    let (mut requests, mut most) = (Amounts::new(), Amounts::new());
    for limit in limits(range, "Container") {
        requests.extend(amounts(limit, "/defaultRequest"));
        most.extend(amounts(limit, "/default"));
    }
    let mut set = Vec::new();
    for (list, sort) in [
        ("/spec/containers", "container"),
        ("/spec/initContainers", "init container"),
    ] {
        for container in pod
            .pointer_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let name = read::text(container, "/name").to_owned();
            for (part, defaults, word) in [("requests", &requests, "request"), ("limits", &most, "limit")] {
                let added = add_missing(container, part, defaults);
                if !added.is_empty() {
                    set.push(format!("{} {word} for {sort} {name}", added.join(", ")));
                }
            }
        }
    }
    if !set.is_empty()
        && let Some(metadata) = read::map_mut(pod, "metadata")
    {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if annotations.is_null() {
            *annotations = json!({});
        }
        annotations[ANNOTATION] = format!("LimitRanger plugin set: {}", set.join("; ")).into();
    }
}

fn add_missing(container: &mut Value, part: &str, defaults: &Amounts) -> Vec<String> {
    let missing: Vec<(&String, &Quantity)> = {
        let present = amounts(container, &format!("/resources/{part}"));
        defaults
            .iter()
            .filter(|(name, _)| !present.contains_key(*name))
            .collect()
    };
    for (name, amount) in &missing {
        if container["resources"].is_null() {
            container["resources"] = json!({});
        }
        if container["resources"][part].is_null() {
            container["resources"][part] = json!({});
        }
        container["resources"][part][name.as_str()] = amount.to_string().into();
    }
    missing.into_iter().map(|(name, _)| name.clone()).collect()
}

fn pod_errors(pod: &Value, range: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for limit in limits(range, "Container") {
        let containers = read::list(pod, "/spec/containers").iter();
        for container in containers.chain(read::list(pod, "/spec/initContainers")) {
            let (requests, most) = (
                amounts(container, "/resources/requests"),
                amounts(container, "/resources/limits"),
            );
            errors.extend(bounds("Container", limit, &requests, &most));
        }
    }
    for limit in limits(range, "Pod") {
        let (requests, most) = (pod_resources(pod, "requests"), pod_resources(pod, "limits"));
        errors.extend(bounds("Pod", limit, &requests, &most));
    }
    errors
}

fn bounds(of: &str, limit: &Value, requests: &Amounts, most: &Amounts) -> Vec<String> {
    let mut errors = Vec::new();
    for (name, bound) in amounts(limit, "/min") {
        let intro = format!("minimum {name} usage per {of} is {bound}");
        match (requests.get(&name), most.get(&name)) {
            (None, _) => errors.push(format!("{intro}.  No request is specified")),
            (Some(request), _) if *request < bound => errors.push(format!("{intro}, but request is {request}")),
            (_, Some(limit)) if *limit < bound => errors.push(format!("{intro}, but limit is {limit}")),
            (_, _) => {}
        }
    }
    for (name, bound) in amounts(limit, "/max") {
        let intro = format!("maximum {name} usage per {of} is {bound}");
        match (requests.get(&name), most.get(&name)) {
            (_, None) => errors.push(format!("{intro}.  No limit is specified")),
            (_, Some(limit)) if *limit > bound => errors.push(format!("{intro}, but limit is {limit}")),
            (Some(request), _) if *request > bound => errors.push(format!("{intro}, but request is {request}")),
            (_, _) => {}
        }
    }
    for (name, bound) in amounts(limit, "/maxLimitRequestRatio") {
        let intro = format!("{name} max limit to request ratio per {of} is {bound}");
        let given = |all: &Amounts| all.get(&name).filter(|amount| !amount.is_zero()).copied();
        match (given(requests), given(most)) {
            (None, _) => errors.push(format!("{intro}, but no request is specified or request is 0")),
            (_, None) => errors.push(format!("{intro}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let ratio = limit.millis() as f64 / request.millis() as f64;
                if ratio * 1000.0 > bound.millis() as f64 {
                    errors.push(format!("{intro}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
    errors
}

fn claim_errors(claim: &Value, range: &Value) -> Vec<String> {
    let requests = amounts(claim, "/spec/resources/requests");
    let mut errors = Vec::new();
    for limit in limits(range, "PersistentVolumeClaim") {
        for (which, word) in [("/min", "minimum"), ("/max", "maximum")] {
            for (name, bound) in amounts(limit, which) {
                let intro = format!("{word} {name} usage per PersistentVolumeClaim is {bound}");
                match requests.get(&name) {
                    None => errors.push(format!("{intro}.  No request is specified")),
                    Some(request) if word == "minimum" && *request < bound || word == "maximum" && *request > bound => {
                        errors.push(format!("{intro}, but request is {request}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(of: &str, members: Value) -> Value {
        let mut limit = members;
        limit["type"] = of.into();
        json!({"spec": {"limits": [limit]}})
    }

    #[test]
    fn defaults_are_filled_in_and_said() {
        let range = range(
            "Container",
            json!({"default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}),
        );
        let mut pod = json!({"metadata": {}, "spec": {
            "containers": [{"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}],
            "initContainers": [{"name": "i", "resources": {"limits": {"cpu": "1", "memory": "1"}}}],
        }});
        fill_in(&mut pod, &range);
        let a = pod.pointer("/spec/containers/0/resources").cloned().unwrap_or_default();
        assert_eq!(
            a,
            json!({"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m"}})
        );
        assert_eq!(
            pod.pointer("/metadata/annotations").and_then(|all| all.get(ANNOTATION)),
            Some(&json!(
                "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; memory limit for container b; cpu request for init container i"
            ))
        );
    }

    #[test]
    fn bounds_are_kept_in_upstreams_words() {
        let pod = |requests: Value, limits: Value| json!({"spec": {"containers": [{"name": "a", "resources": {"requests": requests, "limits": limits}}]}});
        for (of, bounds, pod, expected) in [
            (
                "Container",
                json!({"max": {"cpu": "800m"}}),
                pod(json!({"cpu": "500m"}), json!({"cpu": "1500m"})),
                "maximum cpu usage per Container is 800m, but limit is 1500m",
            ),
            (
                "Container",
                json!({"min": {"cpu": "200m"}}),
                pod(json!({"cpu": "100m"}), json!({"cpu": "800m"})),
                "minimum cpu usage per Container is 200m, but request is 100m",
            ),
            (
                "Container",
                json!({"max": {"memory": "1Gi"}}),
                pod(json!({}), json!({})),
                "maximum memory usage per Container is 1Gi.  No limit is specified",
            ),
            (
                "Pod",
                json!({"max": {"cpu": "1"}}),
                pod(json!({"cpu": "1"}), json!({"cpu": "2"})),
                "maximum cpu usage per Pod is 1, but limit is 2",
            ),
            (
                "Container",
                json!({"maxLimitRequestRatio": {"cpu": "2"}}),
                pod(json!({"cpu": "1"}), json!({"cpu": "3"})),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
            ),
            (
                "Container",
                json!({"maxLimitRequestRatio": {"cpu": "2"}}),
                pod(json!({"cpu": "1"}), json!({"cpu": "2"})),
                "",
            ),
        ] {
            assert_eq!(pod_errors(&pod, &range(of, bounds)).join(" "), expected);
        }
        let claim = json!({"spec": {"resources": {"requests": {"storage": "500Mi"}}}});
        let errors = claim_errors(
            &claim,
            &range("PersistentVolumeClaim", json!({"min": {"storage": "1Gi"}})),
        );
        assert_eq!(
            errors,
            ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"]
        );
    }
}
