//! What may change in a pod that is held back: it may say more exactly where it goes (core `validateNodeSelectorMutation`,
//! `validateNodeAffinityMutation`).

use crate::{
    at::At,
    field::FieldError,
    kinds::amount::is_same,
    read::{self, entries, list},
};
use serde_json::{Value, json};

const TERMS: &str = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";

pub(super) fn validate(new: &At<'_>, old: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let now = new.value.get("nodeSelector").cloned().unwrap_or_default();
    if entries(old.value, "/nodeSelector").any(|(key, value)| now.get(key) != Some(value)) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid(new.path("nodeSelector"), now, why));
    }
    errors.extend(terms(new, old));
    errors
}

fn terms(new: &At<'_>, old: &At<'_>) -> Vec<FieldError> {
    let (now, before) = (list(new.value, TERMS), list(old.value, TERMS));
    let field = new.path(TERMS.trim_start_matches('/').replace('/', ".").as_str());
    if !before.is_empty() && before.len() != now.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return vec![FieldError::invalid(field, now.to_vec(), why)];
    }
    let why = "only additions are allowed (no mutations or deletions)";
    let pairs = before.iter().zip(now).enumerate();
    pairs
        .filter(|(_, (before, now))| !only_adds(now, before))
        .map(|(index, (_, now))| FieldError::invalid(format!("{field}[{index}]"), now.clone(), why))
        .collect()
}

fn only_adds(now: &Value, before: &Value) -> bool {
    let parts = ["/matchExpressions", "/matchFields"];
    let is_empty = |term: &Value| parts.iter().all(|part| list(term, part).is_empty());
    if is_empty(before) {
        return is_empty(now);
    }
    parts.iter().all(|part| list(now, part).starts_with(list(before, part)))
}

/// Gives `spec` the node affinity of `old`.
pub(super) fn take_node_affinity(spec: &mut Value, old: &Value) {
    let nodes = read::some(old, "/affinity/nodeAffinity").cloned();
    if nodes.is_some() {
        read::set_default(spec, "affinity", json!({}));
    }
    let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) else {
        return;
    };
    match nodes {
        Some(nodes) => affinity.insert("nodeAffinity".to_owned(), nodes),
        None => affinity.shift_remove("nodeAffinity"),
    };
    if is_same(spec.get("affinity"), None) && read::some(old, "/affinity").is_none() {
        spec.as_object_mut().map(|s| s.shift_remove("affinity"));
    }
}
