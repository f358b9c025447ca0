//! What is wrong with where a pod wants to run: affinities, spread, tolerations (core `validateAffinity`,
//! `validateTopologySpreadConstraints`, `ValidateTolerations`).

use crate::{at::At, field::FieldError, names, selector};
use serde_json::Value;
use std::collections::HashSet;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const ACTIONS: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];
const POLICIES: &[&str] = &["Honor", "Ignore"];

pub(super) fn affinity(spec: &At<'_>) -> Vec<FieldError> {
    let affinity = spec.child("affinity");
    let mut errors = Vec::new();
    if let Some(nodes) = affinity.some("nodeAffinity") {
        if let Some(required) = nodes.some(REQUIRED) {
            errors.extend(node_selector(&required));
        }
        for term in nodes.items(PREFERRED) {
            errors.extend(weight(&term));
            errors.extend(node_term(&term.child("preference"), false));
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.child(kind);
        errors.extend(pods.items(REQUIRED).iter().flat_map(pod_term));
        for term in pods.items(PREFERRED) {
            errors.extend(weight(&term));
            errors.extend(pod_term(&term.child("podAffinityTerm")));
        }
    }
    errors
}

fn weight(term: &At<'_>) -> Vec<FieldError> {
    let weight = term.int("weight");
    if (1..=100).contains(&weight) {
        return Vec::new();
    }
    vec![FieldError::invalid(
        term.path("weight"),
        weight,
        "must be in the range 1-100",
    )]
}

/// What is wrong with a choice of nodes (core `ValidateNodeSelector`).
pub(in crate::kinds) fn node_selector(selector: &At<'_>) -> Vec<FieldError> {
    let terms = selector.items("nodeSelectorTerms");
    if terms.is_empty() {
        let why = "must have at least one node selector term";
        return vec![selector.required("nodeSelectorTerms", why)];
    }
    terms.iter().flat_map(|term| node_term(term, true)).collect()
}

/// Values of what is only preferred may be no labels at all.
fn node_term(term: &At<'_>, strict: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for rule in term.items("matchExpressions") {
        let count = rule.list("values").len();
        match rule.text("operator") {
            "In" | "NotIn" if count == 0 => {
                errors.push(rule.required("values", "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if count > 0 => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(rule.forbidden("values", why));
            }
            "Gt" | "Lt" if count != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(rule.required("values", why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => errors.extend(rule.invalid_text("operator", ["not a valid selector operator"])),
        }
        errors.extend(rule.invalid_text("key", names::qualified_name(rule.text("key"))));
        if strict {
            let values = rule.items("values");
            errors.extend(
                values
                    .iter()
                    .flat_map(|v| v.invalid("", names::label_value(v.as_text()))),
            );
        }
    }
    errors.extend(term.items("matchFields").iter().flat_map(node_field));
    errors
}

fn node_field(rule: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match rule.text("operator") {
        "In" | "NotIn" => {
            if rule.list("values").len() != 1 {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(rule.required("values", why));
            }
        }
        _ => errors.extend(rule.invalid_text("operator", ["not a valid selector operator"])),
    }
    if rule.text("key") == "metadata.name" {
        let values = rule.items("values");
        errors.extend(
            values
                .iter()
                .flat_map(|v| v.invalid("", names::dns1123_subdomain(v.as_text()))),
        );
    } else {
        errors.extend(rule.invalid_text("key", ["not a valid field selector key"]));
    }
    errors
}

fn pod_term(term: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for member in ["labelSelector", "namespaceSelector"] {
        if let Some(selector) = term.some(member) {
            errors.extend(selector::check(&selector));
        }
    }
    for namespace in term.items("namespaces") {
        let wrong = names::dns1123_label(namespace.as_text()).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(term.path("namespace"), namespace.as_text(), why)));
    }
    errors.extend(label_keys(term));
    errors.extend(term.need("topologyKey").map(|missing| FieldError {
        detail: "can not be empty".to_owned(),
        ..missing
    }));
    errors.extend(term.invalid_text("topologyKey", names::qualified_name(term.text("topologyKey"))));
    errors
}

/// Keys of labels whose values are the pod's own (core `ValidateMatchLabelKeysAndMismatchLabelKeys`).
fn label_keys(term: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let selector = term.some("labelSelector");
    for member in ["matchLabelKeys", "mismatchLabelKeys"] {
        let keys = term.items(member);
        if keys.is_empty() {
            continue;
        }
        if selector.is_none() {
            errors.push(term.forbidden(member, "must not be specified when labelSelector is not set"));
            continue;
        }
        errors.extend(
            keys.iter()
                .flat_map(|key| key.invalid("", names::qualified_name(key.as_text()))),
        );
    }
    let (matched, mismatched) = (term.items("matchLabelKeys"), term.list("mismatchLabelKeys"));
    if let Some(selector) = selector {
        let labels = selector.entries("matchLabels").into_iter();
        let mut seen: HashSet<&str> = labels.map(|(key, _)| key).collect();
        for expression in selector.items("matchExpressions") {
            let key = expression.text("key");
            let index = matched.iter().rposition(|m| m.as_text() == key);
            if let Some(index) = index.filter(|_| seen.contains(key)) {
                // Upstream names the term and not the list.
                let field = format!("{}[{index}]", term.path(""));
                let why = "exists in both matchLabelKeys and labelSelector";
                errors.push(FieldError::invalid(field, key, why));
            }
            seen.insert(key);
        }
    }
    let both = matched.iter().filter(|key| mismatched.contains(key.value));
    errors.extend(both.flat_map(|key| key.invalid("", ["exists in both matchLabelKeys and mismatchLabelKeys"])));
    errors
}

/// Puts the pod's own values of `matchLabelKeys` and `mismatchLabelKeys` into the selectors that they belong to, once, when the
/// pod is made (pod strategy `applyMatchLabelKeysAndMismatchLabelKeys`).
pub(super) fn apply_label_keys(pod: &mut Value) {
    let labels = pod.pointer("/metadata/labels").cloned().unwrap_or_default();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let at = format!("/spec/affinity/{kind}");
        crate::at::each_mut(pod, &format!("{at}/{REQUIRED}"), |term| merge_keys(term, &labels));
        crate::at::each_mut(pod, &format!("{at}/{PREFERRED}"), |term| {
            if let Some(term) = term.get_mut("podAffinityTerm") {
                merge_keys(term, &labels);
            }
        });
    }
    crate::at::each_mut(pod, "/spec/topologySpreadConstraints", |constraint| {
        merge_keys(constraint, &labels);
    });
}

fn merge_keys(term: &mut Value, labels: &Value) {
    let mut added = Vec::new();
    for (member, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys = term.get(member).and_then(Value::as_array).into_iter().flatten();
        for key in keys.filter_map(Value::as_str) {
            if let Some(value) = labels.get(key) {
                added.push(serde_json::json!({ "key": key, "operator": operator, "values": [value] }));
            }
        }
    }
    let selector = term.get_mut("labelSelector").and_then(Value::as_object_mut);
    let Some(selector) = selector.filter(|_| !added.is_empty()) else {
        return;
    };
    let expressions = selector.entry("matchExpressions").or_insert(Value::Null);
    match expressions {
        Value::Array(expressions) => expressions.extend(added),
        _ => *expressions = added.into(),
    }
}

pub(super) fn spread(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let constraints = spec.items("topologySpreadConstraints");
    let kind = |c: &At<'_>| format!("{{{}, {}}}", c.text("topologyKey"), c.text("whenUnsatisfiable"));
    for (index, constraint) in constraints.iter().enumerate() {
        errors.extend(positive(constraint, "maxSkew"));
        errors.extend(constraint.need("topologyKey").map(|missing| FieldError {
            detail: "can not be empty".to_owned(),
            ..missing
        }));
        let action = constraint.text("whenUnsatisfiable");
        if !ACTIONS.contains(&action) {
            let field = constraint.path("whenUnsatisfiable");
            errors.push(FieldError::not_supported(field, action, ACTIONS));
        }
        let kinds = constraints[index + 1..].iter().map(kind);
        if kinds.into_iter().any(|other| other == kind(constraint)) {
            let field = constraint.path("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(field, kind(constraint)));
        }
        if constraint.has("minDomains") {
            errors.extend(positive(constraint, "minDomains"));
            if action != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.extend(constraint.invalid("minDomains", [why]));
            }
        }
        errors.extend(constraint.one_of("nodeAffinityPolicy", POLICIES));
        errors.extend(constraint.one_of("nodeTaintsPolicy", POLICIES));
        errors.extend(label_keys(constraint));
        if let Some(selector) = constraint.some("labelSelector") {
            errors.extend(selector::check(&selector));
        }
    }
    errors
}

fn positive(holder: &At<'_>, member: &str) -> Vec<FieldError> {
    let number = holder.int(member);
    if number > 0 {
        return Vec::new();
    }
    vec![FieldError::invalid(
        holder.path(member),
        number,
        "must be greater than zero",
    )]
}

/// What is wrong with the tolerations that `holder` has.
pub(in crate::kinds) fn tolerations(holder: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for toleration in holder.items("tolerations") {
        let operator = toleration.text("operator");
        errors.extend(toleration.judge("key", names::qualified_name));
        if toleration.text("key").is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.extend(toleration.invalid_text("operator", [why]));
        }
        if toleration.has("tolerationSeconds") && toleration.text("effect") != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.extend(toleration.invalid_text("effect", [why]));
        }
        let (value, field) = (toleration.text("value"), toleration.path("operator"));
        match operator {
            "" | "Equal" => {
                let wrong = names::label_value(value);
                if !wrong.is_empty() {
                    errors.push(FieldError::invalid(field, value, wrong.join(";")));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(field, value, why));
            }
            other => errors.push(FieldError::not_supported(field, other, &["Equal", "Exists"])),
        }
        if !toleration.text("effect").is_empty() {
            errors.extend(toleration.one_of("effect", EFFECTS));
        }
    }
    errors
}
