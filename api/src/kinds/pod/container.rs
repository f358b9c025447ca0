//! What is wrong with a pod's containers (core `validation.validateContainers`).

use super::{
    is_sidecar, probe,
    validate::{judge, judge_int, judge_text, judge_word},
};
use crate::{
    field::FieldError,
    names,
    quantity::Quantity,
    read::{self, entries, flag, int, list, text},
};
use serde_json::Value;
use std::collections::HashSet;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: &[&str] = &["FallbackToLogsOnError", "File"];
/// What `fieldRef` may read, besides `metadata.labels['…']` and `metadata.annotations['…']`.
pub(super) const FIELD_PATHS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Init containers and containers together: their names are one set.
pub(super) fn validate_all(spec: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Vec<FieldError>) {
    let mut names = HashSet::new();
    let mut host_ports = HashSet::new();
    for (kind, is_init) in [("initContainers", true), ("containers", false)] {
        let containers = list(spec, &format!("/{kind}"));
        if containers.is_empty() && !is_init {
            errors.push(FieldError::required(format!("{path}.containers"), ""));
        }
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{path}.{kind}[{index}]");
            let name = text(container, "/name");
            if !name.is_empty() && !names.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
            one(container, &path, volumes, errors);
            ports(container, &path, flag(spec, "/hostNetwork"), errors);
            if !is_init || is_sidecar(container) {
                host_port_conflicts(container, &path, &mut host_ports, errors);
                probe::validate(container, &path, errors);
            } else {
                only_for_sidecars(container, &path, errors);
            }
        }
    }
}

fn only_for_sidecars(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for member in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if container.get(member).is_some_and(|m| !m.is_null()) {
            let why = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(format!("{path}.{member}"), why));
        }
    }
}

pub(super) fn one(container: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Vec<FieldError>) {
    match text(container, "/name") {
        "" => errors.push(FieldError::required(format!("{path}.name"), "")),
        name => judge(
            errors,
            &format!("{path}.name"),
            &name.into(),
            names::dns1123_label(name),
        ),
    }
    match text(container, "/image") {
        "" => errors.push(FieldError::required(format!("{path}.image"), "")),
        image if image.trim() != image => {
            errors.push(FieldError::invalid(
                format!("{path}.image"),
                image,
                "must not have leading or trailing whitespace",
            ));
        }
        _ => {}
    }
    judge_word(errors, path, container, "imagePullPolicy", PULL_POLICIES);
    judge_word(errors, path, container, "terminationMessagePolicy", MESSAGE_POLICIES);
    env(container, path, errors);
    env_from(container, path, errors);
    mounts(container, path, volumes, errors);
    resources(container, path, errors);
    security(container, path, errors);
}

fn ports(container: &Value, path: &str, host_network: bool, errors: &mut Vec<FieldError>) {
    let mut seen = HashSet::new();
    for (index, port) in list(container, "/ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        judge_text(errors, &path, port, "name", names::port_name);
        let name = text(port, "/name");
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        match int(port, "/containerPort") {
            0 => errors.push(FieldError::required(format!("{path}.containerPort"), "")),
            number => judge(
                errors,
                &format!("{path}.containerPort"),
                &number.into(),
                names::port(number),
            ),
        }
        let host = int(port, "/hostPort");
        if host != 0 {
            judge(errors, &format!("{path}.hostPort"), &host.into(), names::port(host));
        }
        if host_network && host != int(port, "/containerPort") {
            let why = "must match `hostPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(
                format!("{path}.containerPort"),
                int(port, "/containerPort"),
                why,
            ));
        }
        judge_word(errors, &path, port, "protocol", PROTOCOLS);
    }
}

fn host_port_conflicts(container: &Value, path: &str, taken: &mut HashSet<String>, errors: &mut Vec<FieldError>) {
    for (index, port) in list(container, "/ports").iter().enumerate() {
        let host = int(port, "/hostPort");
        let key = format!("{}/{}/{host}", text(port, "/protocol"), text(port, "/hostIP"));
        if host != 0 && !taken.insert(key.clone()) {
            errors.push(FieldError::duplicate(format!("{path}.ports[{index}].hostPort"), key));
        }
    }
}

fn env(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, variable) in list(container, "/env").iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        match text(variable, "/name") {
            "" => errors.push(FieldError::required(format!("{path}.name"), "")),
            name => judge(errors, &format!("{path}.name"), &name.into(), names::env_name(name)),
        }
        let Some(from) = read::some(variable, "/valueFrom") else {
            continue;
        };
        let path = format!("{path}.valueFrom");
        let sources: Vec<(&str, &Value)> = entries(from, "").filter(|(_, source)| !source.is_null()).collect();
        if !text(variable, "/value").is_empty() && !sources.is_empty() {
            errors.push(FieldError::invalid(
                &path,
                "",
                "may not be specified when `value` is not empty",
            ));
        } else if sources.len() > 1 {
            errors.push(FieldError::invalid(
                &path,
                "",
                "may not have more than one field specified at a time",
            ));
        } else if sources.is_empty() {
            let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            errors.push(FieldError::invalid(&path, "", why));
        }
        for (kind, source) in sources {
            env_source(kind, source, &format!("{path}.{kind}"), errors);
        }
    }
}

fn env_source(kind: &str, source: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match kind {
        "fieldRef" => field_ref(source, path, FIELD_PATHS, errors),
        "resourceFieldRef" if text(source, "/resource").is_empty() => {
            errors.push(FieldError::required(format!("{path}.resource"), ""));
        }
        "configMapKeyRef" | "secretKeyRef" => {
            if text(source, "/name").is_empty() {
                errors.push(FieldError::required(format!("{path}.name"), ""));
            }
            match text(source, "/key") {
                "" => errors.push(FieldError::required(format!("{path}.key"), "")),
                key => judge(errors, &format!("{path}.key"), &key.into(), names::config_key(key)),
            }
        }
        _ => {}
    }
}

/// Judges a `fieldRef`, which may read `known` or one label or annotation.
pub(super) fn field_ref(source: &Value, path: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    let field = format!("{path}.fieldPath");
    match text(source, "/fieldPath") {
        "" => errors.push(FieldError::required(field, "")),
        read if known.contains(&read)
            || read.starts_with("metadata.labels['")
            || read.starts_with("metadata.annotations['") => {}
        read => errors.push(FieldError::not_supported(field, read, known)),
    }
}

fn env_from(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, source) in list(container, "/envFrom").iter().enumerate() {
        let path = format!("{path}.envFrom[{index}]");
        judge_text(errors, &path, source, "prefix", names::env_name);
        let refs: Vec<&str> = ["configMapRef", "secretRef"]
            .into_iter()
            .filter(|r| source.get(*r).is_some_and(|s| !s.is_null()))
            .collect();
        match refs[..] {
            [] => errors.push(FieldError::invalid(
                &path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            [one] if text(source, &format!("/{one}/name")).is_empty() => {
                errors.push(FieldError::required(format!("{path}.{one}.name"), ""));
            }
            [_] => {}
            _ => errors.push(FieldError::invalid(
                &path,
                "",
                "may not have more than one field specified at a time",
            )),
        }
    }
}

fn mounts(container: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Vec<FieldError>) {
    let mut seen = HashSet::new();
    for (index, mount) in list(container, "/volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        match text(mount, "/name") {
            "" => errors.push(FieldError::required(format!("{path}.name"), "")),
            name if !volumes.contains(name) => errors.push(FieldError::not_found(format!("{path}.name"), name)),
            _ => {}
        }
        match text(mount, "/mountPath") {
            "" => errors.push(FieldError::required(format!("{path}.mountPath"), "")),
            at if !seen.insert(at) => {
                errors.push(FieldError::invalid(format!("{path}.mountPath"), at, "must be unique"))
            }
            _ => {}
        }
        for member in ["subPath", "subPathExpr"] {
            let below = text(mount, &format!("/{member}"));
            if !below.is_empty() {
                judge(errors, &format!("{path}.{member}"), &below.into(), inside(below));
            }
        }
        if !text(mount, "/subPath").is_empty() && !text(mount, "/subPathExpr").is_empty() {
            let expression = text(mount, "/subPathExpr");
            errors.push(FieldError::invalid(
                format!("{path}.subPathExpr"),
                expression,
                "subPathExpr and subPath are mutually exclusive",
            ));
        }
    }
}

/// A path that stays below where it starts.
pub(super) fn inside(path: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if path.starts_with('/') {
        wrong.push("must be a relative path".to_owned());
    }
    if path.split('/').any(|part| part == "..") {
        wrong.push("must not contain '..'".to_owned());
    }
    wrong
}

/// Whether a resource may be promised more often than it is there.
fn overcommits(resource: &str) -> bool {
    let native = !resource.contains('/') || resource.contains("kubernetes.io/");
    native && !resource.starts_with("hugepages-")
}

fn resources(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let path = format!("{path}.resources");
    for part in ["limits", "requests"] {
        for (resource, amount) in entries(container, &format!("/resources/{part}")) {
            let field = format!("{path}.{part}[{resource}]");
            judge(errors, &field, &resource.into(), names::qualified_name(resource));
            let standard =
                ["cpu", "memory", "ephemeral-storage"].contains(&resource) || resource.starts_with("hugepages-");
            if !standard && !resource.contains('/') {
                errors.push(FieldError::invalid(
                    &field,
                    resource,
                    "must be a standard resource for containers",
                ));
            }
            let Some(quantity) = Quantity::of(amount) else { continue };
            if quantity.is_negative() {
                errors.push(FieldError::invalid(
                    &field,
                    quantity.to_string(),
                    "must be greater than or equal to 0",
                ));
            } else if !overcommits(resource) && !resource.starts_with("hugepages-") && quantity.millis() % 1000 != 0 {
                errors.push(FieldError::invalid(&field, quantity.to_string(), "must be an integer"));
            }
        }
    }
    let limit_of = |resource: &str| {
        entries(container, "/resources/limits")
            .find(|(r, _)| *r == resource)
            .and_then(|(_, l)| Quantity::of(l))
    };
    for (resource, amount) in entries(container, "/resources/requests") {
        let (Some(request), field) = (Quantity::of(amount), format!("{path}.requests")) else {
            continue;
        };
        match limit_of(resource) {
            Some(limit) if !overcommits(resource) && request != limit => {
                let why = format!("must be equal to {resource} limit of {limit}");
                errors.push(FieldError::invalid(field, request.to_string(), why));
            }
            Some(limit) if request > limit => {
                let why = format!("must be less than or equal to {resource} limit of {limit}");
                errors.push(FieldError::invalid(field, request.to_string(), why));
            }
            None if !overcommits(resource) => {
                errors.push(FieldError::required(
                    format!("{path}.limits"),
                    "Limit must be set for non overcommitable resources",
                ));
            }
            Some(_) | None => {}
        }
    }
}

fn security(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(context) = read::some(container, "/securityContext") else {
        return;
    };
    let path = format!("{path}.securityContext");
    judge_int(errors, &path, context, "runAsUser", names::user_id);
    judge_int(errors, &path, context, "runAsGroup", names::user_id);
    if context.get("allowPrivilegeEscalation").and_then(Value::as_bool) == Some(false) {
        if flag(context, "/privileged") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(&path, context.clone(), why));
        }
        if list(context, "/capabilities/add").iter().any(|c| c == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(&path, context.clone(), why));
        }
    }
    let proc = text(context, "/procMount");
    if !proc.is_empty() && !["Default", "Unmasked"].contains(&proc) {
        errors.push(FieldError::not_supported(
            format!("{path}.procMount"),
            proc,
            &["Default", "Unmasked"],
        ));
    }
    seccomp(context, &path, errors);
}

/// Judges the `seccompProfile` of a container's or a pod's security context.
pub(super) fn seccomp(context: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(profile) = read::some(context, "/seccompProfile") else {
        return;
    };
    let path = format!("{path}.seccompProfile");
    let file = text(profile, "/localhostProfile");
    match (text(profile, "/type"), file) {
        ("Localhost", "") => {
            errors.push(FieldError::required(
                format!("{path}.localhostProfile"),
                "must be set when seccomp type is Localhost",
            ));
        }
        ("Localhost", file) => judge(errors, &format!("{path}.localhostProfile"), &file.into(), inside(file)),
        (_, file) if !file.is_empty() => {
            errors.push(FieldError::invalid(
                format!("{path}.localhostProfile"),
                file,
                "can only be set when seccomp type is Localhost",
            ));
        }
        _ => {}
    }
    judge_word(
        errors,
        &path,
        profile,
        "type",
        &["Localhost", "RuntimeDefault", "Unconfined"],
    );
}
