//! What is wrong with a pod spec (core `validation.ValidatePodSpec`).

use super::{container, volume};
use crate::{
    field::FieldError,
    names,
    read::{self, flag, int, list, text},
};
use serde_json::Value;
use std::collections::HashSet;

const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// Adds an `Invalid` for each sentence.
pub(super) fn judge(errors: &mut Vec<FieldError>, field: &str, value: &Value, wrong: Vec<String>) {
    errors.extend(
        wrong
            .into_iter()
            .map(|why| FieldError::invalid(field, value.clone(), why)),
    );
}

/// Judges the text at `pointer` where it is not empty.
pub(super) fn judge_text(
    errors: &mut Vec<FieldError>,
    path: &str,
    object: &Value,
    member: &str,
    rule: fn(&str) -> Vec<String>,
) {
    let value = text(object, &format!("/{member}"));
    if !value.is_empty() {
        judge(errors, &format!("{path}.{member}"), &value.into(), rule(value));
    }
}

/// Judges the number at `member` where there is one.
pub(super) fn judge_int(
    errors: &mut Vec<FieldError>,
    path: &str,
    object: &Value,
    member: &str,
    rule: fn(i64) -> Vec<String>,
) {
    if let Some(number) = object.get(member).and_then(Value::as_i64) {
        judge(errors, &format!("{path}.{member}"), &number.into(), rule(number));
    }
}

/// Requires one of `known`; absent is `Required`.
pub(super) fn judge_word(errors: &mut Vec<FieldError>, path: &str, object: &Value, member: &str, known: &[&str]) {
    let field = format!("{path}.{member}");
    match text(object, &format!("/{member}")) {
        "" => errors.push(FieldError::required(field, "")),
        word if known.contains(&word) => {}
        word => errors.push(FieldError::not_supported(field, word, known)),
    }
}

pub(super) fn at_least_zero(number: i64) -> Vec<String> {
    if number < 0 {
        vec!["must be greater than or equal to 0".to_owned()]
    } else {
        Vec::new()
    }
}

/// What is wrong with a new pod, its metadata apart.
pub(super) fn validate(pod: &Value) -> Vec<FieldError> {
    let mut errors = validate_spec(pod.get("spec").unwrap_or(&Value::Null), "spec");
    if !list(pod, "/spec/ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(
            "spec.ephemeralContainers",
            "cannot be set on create",
        ));
    }
    if !text(pod, "/spec/nodeName").is_empty() && !list(pod, "/spec/schedulingGates").is_empty() {
        errors.push(FieldError::forbidden(
            "spec.nodeName",
            "cannot be set until all schedulingGates have been cleared",
        ));
    }
    errors
}

/// What is wrong with a defaulted pod spec at `path` (`spec`, or `spec.template.spec`).
pub fn validate_spec(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let volumes = volume::validate(spec, path, &mut errors);
    container::validate_all(spec, path, &volumes, &mut errors);
    judge_word(
        &mut errors,
        path,
        spec,
        "restartPolicy",
        &["Always", "OnFailure", "Never"],
    );
    judge_word(&mut errors, path, spec, "dnsPolicy", DNS_POLICIES);
    scalars(spec, path, &mut errors);
    dns(spec, path, &mut errors);
    tolerations(spec, path, &mut errors);
    host_aliases(spec, path, &mut errors);
    security(spec, path, &mut errors);
    gates(spec, path, &mut errors);
    spread(spec, path, &mut errors);
    errors
}

fn scalars(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    judge_int(errors, path, spec, "terminationGracePeriodSeconds", at_least_zero);
    judge_int(errors, path, spec, "activeDeadlineSeconds", |n| {
        if (1..=i64::from(i32::MAX)).contains(&n) {
            Vec::new()
        } else {
            vec!["must be between 1 and 2147483647, inclusive".to_owned()]
        }
    });
    for (member, rule) in [
        ("nodeName", names::dns1123_subdomain as fn(&str) -> Vec<String>),
        ("serviceAccountName", names::dns1123_subdomain),
        ("schedulerName", names::dns1123_subdomain),
        ("priorityClassName", names::dns1123_subdomain),
        ("runtimeClassName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
    ] {
        judge_text(errors, path, spec, member, rule);
    }
    errors.extend(crate::metadata::labels(
        spec.get("nodeSelector"),
        &format!("{path}.nodeSelector"),
    ));
    for (index, secret) in list(spec, "/imagePullSecrets").iter().enumerate() {
        if text(secret, "/name").is_empty() {
            errors.push(FieldError::required(
                format!("{path}.imagePullSecrets[{index}].name"),
                "",
            ));
        }
    }
    if let Some(os) = read::some(spec, "/os") {
        judge_word(errors, &format!("{path}.os"), os, "name", &["linux", "windows"]);
    }
}

fn dns(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let path = format!("{path}.dnsConfig");
    let own = text(spec, "/dnsPolicy") == "None";
    let Some(config) = read::some(spec, "/dnsConfig") else {
        if own {
            errors.push(FieldError::required(
                path,
                "must provide `dnsConfig` when `dnsPolicy` is None",
            ));
        }
        return;
    };
    let servers = list(config, "/nameservers");
    let field = format!("{path}.nameservers");
    if own && servers.is_empty() {
        errors.push(FieldError::required(
            &field,
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        ));
    }
    if servers.len() > MAX_NAMESERVERS {
        let value = Value::Array(servers.to_vec());
        errors.push(FieldError::invalid(
            &field,
            value,
            format!("must not have more than {MAX_NAMESERVERS} nameservers"),
        ));
    }
    for (index, server) in servers.iter().enumerate() {
        judge(
            errors,
            &format!("{field}[{index}]"),
            server,
            names::ip(server.as_str().unwrap_or_default()),
        );
    }
    let searches = list(config, "/searches");
    if searches.len() > MAX_SEARCHES {
        let value = Value::Array(searches.to_vec());
        errors.push(FieldError::invalid(
            format!("{path}.searches"),
            value,
            format!("must not have more than {MAX_SEARCHES} search paths"),
        ));
    }
    for (index, search) in searches.iter().enumerate() {
        // A trailing dot is a name too, and underscores are common in searches.
        let name = search
            .as_str()
            .unwrap_or_default()
            .trim_end_matches('.')
            .replace('_', "a");
        if !name.is_empty() {
            judge(
                errors,
                &format!("{path}.searches[{index}]"),
                search,
                names::dns1123_subdomain(&name),
            );
        }
    }
    for (index, option) in list(config, "/options").iter().enumerate() {
        if text(option, "/name").is_empty() {
            errors.push(FieldError::required(
                format!("{path}.options[{index}]"),
                "must not be empty",
            ));
        }
    }
}

fn tolerations(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, toleration) in list(spec, "/tolerations").iter().enumerate() {
        let path = format!("{path}.tolerations[{index}]");
        let (key, operator, effect) = (
            text(toleration, "/key"),
            text(toleration, "/operator"),
            text(toleration, "/effect"),
        );
        judge_text(errors, &path, toleration, "key", names::qualified_name);
        if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(format!("{path}.operator"), operator, why));
        }
        if read::some(toleration, "/tolerationSeconds").is_some() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(format!("{path}.effect"), effect, why));
        }
        let value = text(toleration, "/value");
        match operator {
            "" | "Equal" => judge(
                errors,
                &format!("{path}.value"),
                &value.into(),
                names::label_value(value),
            ),
            "Exists" if value.is_empty() => {}
            "Exists" => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(format!("{path}.operator"), toleration.clone(), why));
            }
            other => errors.push(FieldError::not_supported(
                format!("{path}.operator"),
                other,
                &["Equal", "Exists"],
            )),
        }
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            errors.push(FieldError::not_supported(format!("{path}.effect"), effect, EFFECTS));
        }
    }
}

fn host_aliases(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, alias) in list(spec, "/hostAliases").iter().enumerate() {
        let path = format!("{path}.hostAliases[{index}]");
        judge(
            errors,
            &format!("{path}.ip"),
            &text(alias, "/ip").into(),
            names::ip(text(alias, "/ip")),
        );
        for (index, name) in list(alias, "/hostnames").iter().enumerate() {
            let wrong = names::dns1123_subdomain(name.as_str().unwrap_or_default());
            judge(errors, &format!("{path}.hostnames[{index}]"), name, wrong);
        }
    }
}

fn security(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let path = format!("{path}.securityContext");
    if flag(spec, "/shareProcessNamespace") && flag(spec, "/hostPID") {
        let field = path.replace("securityContext", "shareProcessNamespace");
        errors.push(FieldError::invalid(
            field,
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
    let Some(context) = read::some(spec, "/securityContext") else {
        return;
    };
    for id in ["runAsUser", "runAsGroup", "fsGroup"] {
        judge_int(errors, &path, context, id, names::user_id);
    }
    for (index, group) in list(context, "/supplementalGroups").iter().enumerate() {
        let wrong = names::user_id(group.as_i64().unwrap_or(-1));
        judge(errors, &format!("{path}.supplementalGroups[{index}]"), group, wrong);
    }
    let mut seen = HashSet::new();
    for (index, sysctl) in list(context, "/sysctls").iter().enumerate() {
        let field = format!("{path}.sysctls[{index}].name");
        match text(sysctl, "/name") {
            "" => errors.push(FieldError::required(field, "")),
            name if !is_sysctl(name) => {
                let why = format!("must have at most 253 characters and match regex {SYSCTL}");
                errors.push(FieldError::invalid(field, name, why));
            }
            name if !seen.insert(name) => errors.push(FieldError::duplicate(field, name)),
            _ => {}
        }
    }
    container::seccomp(context, &path, errors);
}

const SYSCTL: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

fn is_sysctl(name: &str) -> bool {
    let part = |p: &str| {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = p.as_bytes();
        bytes.first().is_some_and(|b| known(*b))
            && bytes.last().is_some_and(|b| known(*b))
            && bytes.iter().all(|b| known(*b) || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}

fn gates(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, gate) in list(spec, "/readinessGates").iter().enumerate() {
        let kind = text(gate, "/conditionType");
        judge(
            errors,
            &format!("{path}.readinessGates[{index}].conditionType"),
            &kind.into(),
            names::qualified_name(kind),
        );
    }
    let mut seen = HashSet::new();
    for (index, gate) in list(spec, "/schedulingGates").iter().enumerate() {
        let (field, name) = (format!("{path}.schedulingGates[{index}]"), text(gate, "/name"));
        judge(errors, &field, &name.into(), names::qualified_name(name));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(field, name));
        }
    }
}

fn spread(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, constraint) in list(spec, "/topologySpreadConstraints").iter().enumerate() {
        let path = format!("{path}.topologySpreadConstraints[{index}]");
        if int(constraint, "/maxSkew") <= 0 {
            let skew = int(constraint, "/maxSkew");
            errors.push(FieldError::invalid(
                format!("{path}.maxSkew"),
                skew,
                "must be greater than zero",
            ));
        }
        match text(constraint, "/topologyKey") {
            "" => errors.push(FieldError::required(format!("{path}.topologyKey"), "can not be empty")),
            key => judge(
                errors,
                &format!("{path}.topologyKey"),
                &key.into(),
                names::qualified_name(key),
            ),
        }
        judge_word(
            errors,
            &path,
            constraint,
            "whenUnsatisfiable",
            &["DoNotSchedule", "ScheduleAnyway"],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;
    use serde_json::json;

    /// The messages for a pod with this spec, defaulted.
    pub(in crate::kinds::pod) fn messages(spec: Value) -> Vec<String> {
        let pods = find("", "v1", "pods").expect("pods are served");
        let mut pod = json!({ "metadata": { "name": "p", "namespace": "n" }, "spec": spec });
        pods.default(&mut pod);
        pods.validate(&pod).iter().map(ToString::to_string).collect()
    }

    /// A spec with one good container, changed.
    fn with(change: Value) -> Value {
        let mut spec = json!({ "containers": [{ "name": "a", "image": "i" }], "volumes": [{ "name": "v" }] });
        for (key, value) in change.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        spec
    }

    /// The same, changing the container.
    fn container(change: Value) -> Value {
        let mut spec = with(json!({}));
        for (key, value) in change.as_object().into_iter().flatten() {
            spec["containers"][0][key] = value.clone();
        }
        spec
    }

    #[test]
    fn a_good_pod_passes() {
        assert_eq!(messages(with(json!({}))), Vec::<String>::new());
        let full = container(json!({
            "ports": [{ "containerPort": 80, "name": "http" }], "env": [{ "name": "A", "value": "b" }],
            "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
            "resources": { "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "500m" } },
            "readinessProbe": { "exec": { "command": ["true"] } },
        }));
        assert_eq!(messages(full), Vec::<String>::new());
    }

    #[test]
    fn pod_fields_are_judged_as_upstream() {
        for (change, message) in [
            (json!({ "containers": [] }), "spec.containers: Required value"),
            (
                json!({ "restartPolicy": "Maybe" }),
                "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ),
            (
                json!({ "dnsPolicy": "X" }),
                "spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
            ),
            (
                json!({ "dnsPolicy": "None" }),
                "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
            ),
            (
                json!({ "activeDeadlineSeconds": 0 }),
                "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
            ),
            (
                json!({ "terminationGracePeriodSeconds": -1 }),
                "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({ "volumes": [{ "name": "v" }, { "name": "v" }] }),
                "spec.volumes[1].name: Duplicate value: \"v\"",
            ),
            (
                json!({ "volumes": [{ "name": "v", "emptyDir": {}, "secret": { "secretName": "s" } }] }),
                "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
            ),
            (
                json!({ "volumes": [{ "name": "v", "configMap": {} }] }),
                "spec.volumes[0].configMap.name: Required value",
            ),
            (
                json!({ "volumes": [{ "name": "v", "hostPath": {} }] }),
                "spec.volumes[0].hostPath.path: Required value",
            ),
            (
                json!({ "tolerations": [{ "operator": "Equal" }] }),
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ),
            (
                json!({ "securityContext": { "runAsUser": -1 } }),
                "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ),
            (
                json!({ "ephemeralContainers": [{}] }),
                "spec.ephemeralContainers: Forbidden: cannot be set on create",
            ),
            (
                json!({ "initContainers": [{ "name": "i", "image": "i", "livenessProbe": { "exec": { "command": ["a"] } } }] }),
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ),
            (
                json!({ "initContainers": [{ "name": "a", "image": "i" }] }),
                "spec.containers[0].name: Duplicate value: \"a\"",
            ),
        ] {
            assert_eq!(messages(with(change.clone())), [message], "{change}");
        }
    }

    #[test]
    fn container_fields_are_judged_as_upstream() {
        let label = names::dns1123_label("A").remove(0);
        for (change, message) in [
            (json!({ "name": "" }), "spec.containers[0].name: Required value".to_owned()),
            (json!({ "name": "A" }), format!("spec.containers[0].name: Invalid value: \"A\": {label}")),
            (json!({ "image": "" }), "spec.containers[0].image: Required value".to_owned()),
            (json!({ "image": " a" }), "spec.containers[0].image: Invalid value: \" a\": must not have leading or trailing whitespace".to_owned()),
            (
                json!({ "imagePullPolicy": "X" }),
                "spec.containers[0].imagePullPolicy: Unsupported value: \"X\": supported values: \"Always\", \"IfNotPresent\", \"Never\"".to_owned(),
            ),
            (json!({ "ports": [{ "containerPort": 0 }] }), "spec.containers[0].ports[0].containerPort: Required value".to_owned()),
            (
                json!({ "ports": [{ "containerPort": 70000 }] }),
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive".to_owned(),
            ),
            (
                json!({ "ports": [{ "containerPort": 1, "name": "a" }, { "containerPort": 2, "name": "a" }] }),
                "spec.containers[0].ports[1].name: Duplicate value: \"a\"".to_owned(),
            ),
            (json!({ "env": [{ "value": "x" }] }), "spec.containers[0].env[0].name: Required value".to_owned()),
            (
                json!({ "env": [{ "name": "A", "value": "x", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } }] }),
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty".to_owned(),
            ),
            (json!({ "volumeMounts": [{ "name": "w", "mountPath": "/w" }] }), "spec.containers[0].volumeMounts[0].name: Not found: \"w\"".to_owned()),
            (
                json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v" }, { "name": "v", "mountPath": "/v" }] }),
                "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique".to_owned(),
            ),
            (
                json!({ "resources": { "limits": { "cpu": "1" }, "requests": { "cpu": "2" } } }),
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1".to_owned(),
            ),
            (
                json!({ "resources": { "limits": { "cpu": "-1" }, "requests": { "cpu": "0" } } }),
                "spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0".to_owned(),
            ),
            (json!({ "livenessProbe": {} }), "spec.containers[0].livenessProbe: Required value: must specify a handler type".to_owned()),
            (
                json!({ "livenessProbe": { "successThreshold": 2, "exec": { "command": ["a"] } } }),
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1".to_owned(),
            ),
            (
                json!({ "securityContext": { "privileged": true, "allowPrivilegeEscalation": false } }),
                "spec.containers[0].securityContext: Invalid value: {\"privileged\":true,\"allowPrivilegeEscalation\":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true".to_owned(),
            ),
        ] {
            let found = messages(container(change.clone()));
            assert!(found.contains(&message), "{change}: {found:?}");
        }
    }
}
