//! PodSecurity: what pods may ask of their node, by the levels on their namespace's labels (k8s.io/pod-security-admission).

mod baseline;
mod policy;
mod restricted;

use super::cluster;
use crate::call::Call;
use api::read;
use api::status::{self, Status};
use policy::{Level, LevelVersion, Policy};
use serde_json::Value;
use std::collections::BTreeMap;

/// Subresources of pods that do not change what a pod may do.
const IGNORED: [&str; 8] = [
    "exec",
    "attach",
    "binding",
    "eviction",
    "log",
    "portforward",
    "proxy",
    "status",
];
/// A change of a namespace's level looks at so many of its pods (upstream's default).
const CHECKED_PODS: usize = 3000;

/// Something that a level forbids.
struct Violation {
    reason: String,
    detail: String,
}

/// One rule: the minor version in which it came, and what it finds in a pod's metadata and spec.
type Check = (u32, fn(&Value, &Value) -> Option<Violation>);

/// Refuses pods that their namespace does not allow; warns of pods and templates that it would rather not have.
pub(super) fn validate(call: &Call, object: &Value, old: Option<&Value>) -> Result<(), Status> {
    match (call.rules.group, call.rules.plural) {
        ("", "namespaces") if call.subresource.is_empty() => namespace(call, object, old),
        ("", "pods") if !IGNORED.contains(&call.subresource.as_str()) => {
            if old.is_some_and(|old| !is_significant(object, old)) {
                return Ok(());
            }
            pod(call, object, object, true)
        }
        (group, plural) if call.subresource.is_empty() => match template_path(group, plural) {
            Some(path) => match read::some(object, path) {
                Some(template) => pod(call, object, template, false),
                None => Ok(()),
            },
            None => Ok(()),
        },
        (_, _) => Ok(()),
    }
}

fn template_path(group: &str, plural: &str) -> Option<&'static str> {
    match (group, plural) {
        ("", "podtemplates") => Some("/template"),
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "daemonsets" | "statefulsets")
        | ("batch", "jobs") => Some("/spec/template"),
        ("batch", "cronjobs") => Some("/spec/jobTemplate/spec/template"),
        (_, _) => None,
    }
}

fn pod(call: &Call, object: &Value, pod: &Value, enforces: bool) -> Result<(), Status> {
    let Some(namespace) = cluster::get(call, "", "namespaces", "", &call.namespace) else {
        return Ok(());
    };
    let (policy, _) = Policy::of(namespace.pointer("/metadata/labels"));
    if enforces {
        let violations = evaluate(policy.enforce, pod);
        if !violations.is_empty() {
            let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, sentence(&violations));
            return Err(status::forbidden(&call.rules, api::metadata::name(object), &why));
        }
    }
    let violations = evaluate(policy.warn, pod);
    if !violations.is_empty() {
        call.warnings.extend([format!(
            "would violate PodSecurity \"{}\": {}",
            policy.warn,
            sentence(&violations)
        )]);
    }
    Ok(())
}

/// Refuses labels that say nothing; warns of pods that a stricter level would not have let in.
fn namespace(call: &Call, object: &Value, old: Option<&Value>) -> Result<(), Status> {
    let (policy, errors) = Policy::of(object.pointer("/metadata/labels"));
    let before = old.map(|old| Policy::of(old.pointer("/metadata/labels")));
    let name = api::metadata::name(object);
    // What was wrong before may stay so.
    if !errors.is_empty() && before.as_ref().is_none_or(|(_, before)| before.is_empty()) {
        return Err(status::invalid(&call.rules, name, &errors));
    }
    let Some((before, _)) = before.filter(|_| errors.is_empty()) else {
        return Ok(());
    };
    let same = before.enforce == policy.enforce;
    let laxer = before.enforce.version == policy.enforce.version && policy.enforce.level < before.enforce.level;
    if same || laxer || policy.enforce.level == Level::Privileged {
        return Ok(());
    }
    call.warnings.extend(present_pods(call, name, policy.enforce));
    Ok(())
}

/// Warnings of the pods that are there and violate `level`: one a reason, with the first pod's name.
fn present_pods(call: &Call, namespace: &str, level: LevelVersion) -> Vec<String> {
    let pods = cluster::list(call, "", "pods", namespace);
    let mut by_reason: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in pods.iter().take(CHECKED_PODS) {
        let violations = evaluate(level, pod);
        if !violations.is_empty() {
            let reasons: Vec<&str> = violations.iter().map(|violation| violation.reason.as_str()).collect();
            let first = || (api::metadata::name(pod).to_owned(), 0);
            by_reason.entry(reasons.join(", ")).or_insert_with(first).1 += 1;
        }
    }
    let mut warnings = Vec::new();
    if pods.len() > CHECKED_PODS {
        let all = pods.len();
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {CHECKED_PODS} of {all} existing pods"
        ));
    }
    if !by_reason.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{level}\""
        ));
    }
    let mut each: Vec<String> = by_reason
        .into_iter()
        .map(|(reason, (pod, count))| match count {
            1 => format!("{pod}: {reason}"),
            2 => format!("{pod} (and 1 other pod): {reason}"),
            more => format!("{pod} (and {} other pods): {reason}", more - 1),
        })
        .collect();
    each.sort();
    warnings.extend(each);
    warnings
}

/// What a level forbids in a pod or a template.
fn evaluate(level: LevelVersion, pod: &Value) -> Vec<Violation> {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let checks: Vec<&Check> = match level.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => baseline::all(),
        // Three of the baseline's checks are replaced by stricter ones.
        Level::Restricted => baseline::CHECKS.iter().chain(&restricted::CHECKS).collect(),
    };
    let known = checks
        .into_iter()
        .filter(|(since, _)| level.version.is_none_or(|version| *since <= version));
    known.filter_map(|(_, check)| check(metadata, spec)).collect()
}

fn sentence(violations: &[Violation]) -> String {
    let each = violations.iter().map(|Violation { reason, detail }| {
        if detail.is_empty() {
            reason.clone()
        } else {
            format!("{reason} ({detail})")
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Whether a change of a pod can change what it may do: images and containers.
fn is_significant(new: &Value, old: &Value) -> bool {
    let images = |pod: &Value, list: &str| {
        let containers = read::list(pod, &format!("/spec/{list}")).iter();
        containers
            .map(|container| {
                (
                    read::text(container, "/name").to_owned(),
                    read::text(container, "/image").to_owned(),
                )
            })
            .collect::<Vec<_>>()
    };
    let seccomp = |pod: &Value| {
        let all = read::entries(pod, "/metadata/annotations");
        all.filter(|(key, _)| key.contains("seccomp.security.alpha.kubernetes.io"))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .any(|list| images(new, list) != images(old, list))
        || seccomp(new) != seccomp(old)
}

/// All containers of a pod, in upstream's order.
fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["/initContainers", "/containers", "/ephemeralContainers"]
        .into_iter()
        .flat_map(|list| read::list(spec, list))
}

/// The names of the containers for which `is` holds.
fn named(spec: &Value, is: impl Fn(&Value) -> bool) -> Vec<&str> {
    containers(spec)
        .filter(|container| is(container))
        .map(|container| read::text(container, "/name"))
        .collect()
}

/// `container "a"`, `containers "a", "b"`.
fn say(containers: &[&str]) -> String {
    format!(
        "{} {}",
        plural(containers.len(), "container", "containers"),
        quote(containers)
    )
}

/// `pod and container "a"`.
fn setters(pod: bool, containers: &[&str]) -> String {
    let mut all = Vec::new();
    if pod {
        all.push("pod".to_owned());
    }
    if !containers.is_empty() {
        all.push(say(containers));
    }
    all.join(" and ")
}

fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

fn quote<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let quoted = words.into_iter().map(|word| format!("\"{}\"", word.as_ref()));
    quoted.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
