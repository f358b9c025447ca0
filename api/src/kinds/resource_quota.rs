//! ResourceQuota: what all objects of a namespace together may use.

use super::{amount::immutable, pod};
use crate::{
    field::FieldError,
    kind::{Column, Kind, Subresource},
    metadata,
    quantity::Quantity,
    read::{self, entries, list, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// `v1` ResourceQuota.
pub struct ResourceQuota;

/// What may be limited without a domain in its name.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
const ONLY_EXISTS: &str = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

impl Kind for ResourceQuota {
    const KIND: &'static str = "ResourceQuota";
    const PLURAL: &'static str = "resourcequotas";
    const SINGULAR: &'static str = "resourcequota";
    const SHORT_NAMES: &'static [&'static str] = &["quota"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("", "v1", "ResourceQuota")];
    const KEY: &'static str = "resourcequotas";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Request", "string", "What is used of what may be, limits apart."),
        Column::narrow("Limit", "string", "What is used of the limits."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::core::v1::ResourceQuota;

    fn default(quota: &mut Value) {
        read::set_default(quota, "spec", json!({}));
        read::set_default(quota, "status", json!({}));
    }

    fn validate(quota: &Value) -> Vec<FieldError> {
        let mut errors = amounts(quota, "/spec/hard", "spec.hard");
        errors.extend(scopes(quota));
        errors.extend(scope_selector(quota));
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            let mut errors = amounts(new, "/status/hard", "status.hard");
            errors.extend(amounts(new, "/status/used", "status.used"));
            return errors;
        }
        let mut errors = Self::validate(new);
        errors.extend(immutable(new, old, "spec.scopes"));
        errors
    }

    fn row(quota: &Value, now: Timestamp) -> Vec<Value> {
        let hard: BTreeMap<&str, &Value> = entries(quota, "/status/hard").collect();
        let one = |resource: &str, hard: &Value| {
            let used = quota["status"]["used"].get(resource).and_then(Quantity::of);
            let used = used.map_or_else(|| "0".to_owned(), |u| u.to_string());
            format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default())
        };
        let joined = |limits: bool| {
            let chosen = hard
                .iter()
                .filter(|(resource, _)| resource.contains("limits") == limits);
            chosen
                .map(|(resource, amount)| one(resource, amount))
                .collect::<Vec<_>>()
                .join(", ")
        };
        vec![
            metadata::name(quota).into(),
            joined(false).into(),
            joined(true).into(),
            metadata::age(quota, now).into(),
        ]
    }
}

fn amounts(quota: &Value, pointer: &str, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (resource, amount) in entries(quota, pointer) {
        let field = format!("{path}[{resource}]");
        errors.extend(pod::resource_name(resource, &field));
        let huge = resource.starts_with("hugepages-") || resource.starts_with("requests.hugepages-");
        if !resource.contains('/') && !STANDARD.contains(&resource) && !huge {
            let why = "must be a standard resource for quota";
            errors.push(FieldError::invalid(field.as_str(), resource, why));
        }
        if let Some(amount) = Quantity::of(amount) {
            errors.extend(pod::resource_amount(resource, amount, &field));
        }
    }
    errors
}

/// Whether a resource can be counted in a scope (core `IsResourceQuotaScopeValidForResource`).
fn fits(scope: &str, resource: &str) -> bool {
    let compute = ["cpu", "memory"].iter().any(|r| {
        resource == *r || resource.strip_prefix("requests.") == Some(r) || resource.strip_prefix("limits.") == Some(r)
    });
    match scope {
        "BestEffort" => matches!(resource, "pods" | "count/pods"),
        "VolumeAttributesClass" => resource.contains("storage") || resource.contains("persistentvolumeclaims"),
        _ => compute || resource.contains("ephemeral-storage") || resource.contains("pods") || resource.contains('/'),
    }
}

fn scopes(quota: &Value) -> Vec<FieldError> {
    let (mut errors, path) = (Vec::new(), "spec.scopes");
    let given = list(quota, "/spec/scopes");
    let shown = Value::Array(given.to_vec());
    let names: HashSet<&str> = given.iter().filter_map(Value::as_str).collect();
    for scope in &names {
        if !SCOPES.contains(scope) {
            errors.push(FieldError::invalid(path, shown.clone(), "unsupported scope"));
            continue;
        }
        for (resource, _) in entries(quota, "/spec/hard").filter(|(resource, _)| !fits(scope, resource)) {
            let _ = resource;
            errors.push(FieldError::invalid(
                path,
                shown.clone(),
                "unsupported scope applied to resource",
            ));
        }
    }
    errors.extend(conflicts(&names, path, &shown));
    errors
}

/// Upstream names the list and not its entries.
fn scope_selector(quota: &Value) -> Vec<FieldError> {
    let path = "spec.scopeSelector.matchExpressions";
    let mut errors = Vec::new();
    let mut names = HashSet::new();
    for one in list(quota, "/spec/scopeSelector/matchExpressions") {
        let (scope, operator, values) = (text(one, "/scopeName"), text(one, "/operator"), list(one, "/values"));
        names.insert(scope);
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(
                format!("{path}.scopeName"),
                scope,
                "unsupported scope",
            ));
        }
        let unfit =
            entries(quota, "/spec/hard").filter(|(resource, _)| SCOPES.contains(&scope) && !fits(scope, resource));
        let shown = &quota["spec"]["scopeSelector"];
        errors.extend(unfit.map(|_| FieldError::invalid(path, shown.clone(), "unsupported scope applied to resource")));
        let only_exists = SCOPES.contains(&scope) && !["PriorityClass", "VolumeAttributesClass"].contains(&scope);
        if only_exists && operator != "Exists" {
            errors.push(FieldError::invalid(format!("{path}.operator"), operator, ONLY_EXISTS));
        }
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::invalid(
                format!("{path}.values"),
                Value::Array(values.to_vec()),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
    }
    let shown = quota["spec"].get("scopes").cloned().unwrap_or_default();
    errors.extend(conflicts(&names, path, &shown));
    errors
}

fn conflicts(names: &HashSet<&str>, path: &str, shown: &Value) -> Vec<FieldError> {
    let pairs = [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];
    let both = pairs.iter().filter(|(a, b)| names.contains(a) && names.contains(b));
    both.map(|_| FieldError::invalid(path, shown.clone(), "conflicting scopes"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_shows_what_is_used() {
        let quota = json!({
            "metadata": { "name": "q" },
            "status": { "hard": { "pods": "3", "limits.cpu": "2", "cpu": "1" }, "used": { "pods": "1" } },
        });
        let cells = json!(["q", "cpu: 0/1, pods: 1/3", "limits.cpu: 0/2", "<unknown>"]);
        assert_eq!(Value::from(ResourceQuota::row(&quota, Timestamp::UNIX_EPOCH)), cells);
    }

    #[test]
    fn mistakes_are_named_as_upstream() {
        for (spec, message) in [
            (
                json!({ "hard": { "pods": "-1" } }),
                "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({ "hard": { "pods": "500m" } }),
                "spec.hard[pods]: Invalid value: \"500m\": must be an integer",
            ),
            (
                json!({ "hard": { "x": "1" } }),
                "spec.hard[x]: Invalid value: \"x\": must be a standard resource type or fully qualified",
            ),
            (
                json!({ "scopeSelector": { "matchExpressions": [{ "scopeName": "BestEffort", "operator": "In", "values": ["a"] }] } }),
                &format!("spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": {ONLY_EXISTS}"),
            ),
            (
                json!({ "scopes": ["X"] }),
                "spec.scopes: Invalid value: [\"X\"]: unsupported scope",
            ),
            (
                json!({ "scopes": ["BestEffort"], "hard": { "cpu": "1" } }),
                "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
            ),
            (
                json!({ "scopes": ["Terminating", "NotTerminating"] }),
                "spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\"]: conflicting scopes",
            ),
        ] {
            let errors = ResourceQuota::validate(&json!({ "spec": spec }));
            assert_eq!(errors.first().map(ToString::to_string).as_deref(), Some(message));
        }
        let good = json!({ "spec": { "hard": { "count/jobs.batch": "1", "requests.nvidia.com/gpu": "1", "limits.memory": "1Gi" } } });
        assert_eq!(ResourceQuota::validate(&good), []);
    }
}
