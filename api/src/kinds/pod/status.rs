//! What may be written as a pod's status (core `validation.ValidatePodStatusUpdate`).

use super::{annotations, validate::spec_of};
use crate::{addresses, at::At, field::FieldError, names};
use serde_json::Value;
use std::collections::HashSet;

/// Conditions whose names need no domain, though they would pass without.
const SYSTEM: &[&str] = &["PodScheduled", "Ready", "Initialized"];

fn status_of(pod: &Value) -> At<'_> {
    At::new(pod.get("status").unwrap_or(&Value::Null), "status")
}

pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let (status, before) = (status_of(new), status_of(old));
    let (spec, old_spec) = (spec_of(new), spec_of(old));
    let mut errors = annotations::validate_update(new, old, &spec);
    errors.extend(conditions(&status));
    errors.extend(nominated(&status, &before, &old_spec));
    if status.int("observedGeneration") < 0 {
        errors.extend(status.invalid("observedGeneration", ["must be a non-negative integer"]));
    }
    if status.text("qosClass") != before.text("qosClass") {
        errors.extend(status.invalid_text("qosClass", ["field is immutable"]));
    }
    for (kind, of) in [
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
        ("ephemeralContainerStatuses", ""),
    ] {
        errors.extend(revived(&status, &before, kind, &old_spec, of));
    }
    errors.extend(claims(&status, &spec));
    errors.extend(addresses_of(&status, "podIPs"));
    errors.extend(addresses_of(&status, "hostIPs"));
    errors
}

fn conditions(status: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for condition in status.items("conditions") {
        if condition.int("observedGeneration") < 0 {
            errors.extend(condition.invalid("observedGeneration", ["must be a non-negative integer"]));
        }
        let kind = condition.text("type");
        if !SYSTEM.contains(&kind) {
            let wrong = names::qualified_name(kind).into_iter();
            // Upstream spells it with a capital.
            errors.extend(wrong.map(|why| FieldError::invalid(condition.path("Type"), kind, why)));
        }
    }
    errors
}

fn nominated(status: &At<'_>, before: &At<'_>, old_spec: &At<'_>) -> Vec<FieldError> {
    let node = status.text("nominatedNodeName");
    if node.is_empty() || node == before.text("nominatedNodeName") {
        return Vec::new();
    }
    let mut errors = status.judge("nominatedNodeName", names::dns1123_subdomain);
    if !old_spec.text("nodeName").is_empty() {
        let why = "may not be set on pods that are already bound to a node";
        errors.push(status.forbidden("nominatedNodeName", why));
    }
    errors
}

/// Containers that have ended and would not be started again stay ended; ephemeral ones always.
fn revived(status: &At<'_>, before: &At<'_>, kind: &str, spec: &At<'_>, of: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if of != "ephemeralContainers" && may_begin_anew(spec) {
        return errors;
    }
    for ended in before.items(kind) {
        let Some(terminated) = ended.child("state").some("terminated") else {
            continue;
        };
        let name = ended.text("name");
        let mut now = status.items(kind).into_iter();
        let lives = now.find(|s| s.text("name") == name && !s.child("state").has("terminated"));
        let mut containers = spec.items(of).into_iter();
        let container = containers.find(|c| c.text("name") == name);
        let again = container.is_some_and(|c| starts_again(&c, spec, terminated.int("exitCode")));
        if lives.is_some() && !again {
            errors.push(ended.forbidden("state", "may not be transitioned to non-terminated state"));
        }
    }
    errors
}

/// Whether a container's end may begin all of the pod's containers anew, those that have ended with it.
fn may_begin_anew(spec: &At<'_>) -> bool {
    let containers = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|of| spec.items(of));
    let mut rules = containers.flat_map(|container| container.items("restartPolicyRules"));
    rules.any(|rule| rule.text("action") == "RestartAllContainers")
}

/// Whether a container that ended so is started again (api/v1/pod `ContainerShouldRestart`).
fn starts_again(container: &At<'_>, spec: &At<'_>, code: i64) -> bool {
    let mut rules = container.items("restartPolicyRules").into_iter();
    let matched = rules.any(|rule| {
        let codes = rule.child("exitCodes");
        let has = codes.list("values").iter().any(|value| value.as_i64() == Some(code));
        match codes.text("operator") {
            "In" => has,
            "NotIn" => !has,
            _ => false,
        }
    });
    let policy = match container.text("restartPolicy") {
        "" => spec.text("restartPolicy"),
        own => own,
    };
    matched || policy == "Always" || policy == "OnFailure" && code != 0
}

fn claims(status: &At<'_>, spec: &At<'_>) -> Vec<FieldError> {
    let known: Vec<&str> = spec.items("resourceClaims").iter().map(|c| c.text("name")).collect();
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for claim in status.items("resourceClaimStatuses") {
        let name = claim.text("name");
        if !known.contains(&name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errors.extend(claim.invalid_text("name", [why]));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(claim.path("name"), name));
        }
        if let Some(made) = claim.some("resourceClaimName") {
            errors.extend(made.invalid("", names::dns1123_subdomain(made.as_text())));
        }
    }
    errors
}

/// One address a family, the first of them the one that has its own member.
fn addresses_of(status: &At<'_>, member: &str) -> Vec<FieldError> {
    let all = status.items(member);
    let mut errors = Vec::new();
    let first = all.first().map(|ip| (ip, ip.text("ip")));
    let single = member.trim_end_matches('s');
    if let Some((ip, _)) = first.filter(|(_, first)| *first != status.text(single)) {
        errors.extend(ip.invalid("ip", [format!("must be equal to `{single}`")]));
    }
    for ip in &all {
        let wrong = names::ip(ip.text("ip")).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(ip.path(""), ip.text("ip"), why)));
    }
    let families: HashSet<_> = all.iter().map(|ip| addresses::family(ip.text("ip"))).collect();
    if all.len() > 2 || families.len() < all.len() {
        let why = "may specify no more than one IP for each IP family";
        errors.extend(status.invalid(member, [why]));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;
    use serde_json::json;

    fn messages(policy: &str, before: Value, now: Value) -> Vec<String> {
        let pods = find("", "v1", "pods").expect("pods are served");
        let pod = |status: Value| {
            let mut pod = json!({
                "metadata": { "name": "p", "namespace": "n" }, "status": status,
                "spec": { "nodeName": "m", "restartPolicy": policy, "containers": [{ "name": "a", "image": "i" }] },
            });
            pods.default(&mut pod);
            pod
        };
        let errors = pods.validate_update(&pod(now), &pod(before), "status");
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn statuses_are_judged_as_upstream() {
        let gone = |code: i64| json!({ "containerStatuses": [{ "name": "a", "state": { "terminated": { "exitCode": code } } }] });
        let runs = json!({ "containerStatuses": [{ "name": "a", "state": { "running": {} } }] });
        let revived = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
        let cases: &[(&str, Value, Value, &[&str])] = &[
            ("Never", gone(0), runs.clone(), &[revived]),
            ("OnFailure", gone(0), runs.clone(), &[revived]),
            ("OnFailure", gone(1), runs.clone(), &[]),
            ("Always", gone(0), runs, &[]),
            ("Always", json!({}), json!({ "phase": "Whatever" }), &[]),
            (
                "Always",
                json!({}),
                json!({ "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "10.0.0.2" }] }),
                &[
                    "status.podIPs: Invalid value: [{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}]: may specify no more than one IP for each IP family",
                ],
            ),
            (
                "Always",
                json!({}),
                json!({ "nominatedNodeName": "x" }),
                &["status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"],
            ),
            (
                "Always",
                json!({}),
                json!({ "resourceClaimStatuses": [{ "name": "c" }] }),
                &[
                    "status.resourceClaimStatuses[0].name: Invalid value: \"c\": must match the name of an entry in `spec.resourceClaims`",
                ],
            ),
            (
                "Always",
                json!({ "qosClass": "Burstable" }),
                json!({ "qosClass": "Guaranteed" }),
                &["status.qosClass: Invalid value: \"Guaranteed\": field is immutable"],
            ),
        ];
        for (policy, before, now, expected) in cases {
            assert_eq!(
                messages(policy, before.clone(), now.clone()),
                *expected,
                "{policy} {now}"
            );
        }
    }
}
