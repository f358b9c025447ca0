//! What webhooks and admission policies have in common: which requests they see (admissionregistration `validation`,
//! `defaults`). No kind of its own.

use crate::{
    at::{At, each_mut},
    field::FieldError,
    names,
    read::set_default,
    selector,
};
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) const GROUP: &str = "admissionregistration.k8s.io";
pub(super) const CATEGORIES: &[&str] = &["api-extensions"];
pub(super) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub(super) const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
pub(super) const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const CONDITIONS_MAX: usize = 64;

/// Rules see objects with and without a namespace.
pub(super) fn default_rules(rule: &mut Value, member: &str) {
    each_mut(rule, &format!("/{member}"), |rule| set_default(rule, "scope", "*"));
}

/// Fills in MatchResources.
pub(super) fn default_match_resources(resources: &mut Value) {
    set_default(resources, "matchPolicy", "Equivalent");
    set_default(resources, "namespaceSelector", json!({}));
    set_default(resources, "objectSelector", json!({}));
    default_rules(resources, "resourceRules");
    default_rules(resources, "excludeResourceRules");
}

/// What is wrong with MatchResources.
pub(super) fn match_resources(at: &At<'_>, errors: &mut Vec<FieldError>) {
    errors.extend(at.must_be_one_of("matchPolicy", MATCH_POLICIES));
    for member in ["namespaceSelector", "objectSelector"] {
        match at.some(member) {
            Some(selector) => errors.extend(selector::check(&selector)),
            None => errors.push(at.required(member, "")),
        }
    }
    for member in ["resourceRules", "excludeResourceRules"] {
        for rule in at.items(member) {
            let mut seen = HashSet::new();
            for name in rule.items("resourceNames") {
                errors.extend(name.invalid("", names::path_segment(name.as_text())));
                if !seen.insert(name.as_text()) {
                    errors.push(FieldError::duplicate(name.path(""), name.as_text()));
                }
            }
            self::rule(&rule, errors);
        }
    }
}

/// What is wrong with a RuleWithOperations.
pub(super) fn rule(at: &At<'_>, errors: &mut Vec<FieldError>) {
    listed(at, "operations", "operations", errors);
    for operation in at.items("operations") {
        if !OPERATIONS.contains(&operation.as_text()) {
            let path = operation.path("");
            errors.push(FieldError::not_supported(path, operation.as_text(), OPERATIONS));
        }
    }
    listed(at, "apiGroups", "API groups", errors);
    listed(at, "apiVersions", "API versions", errors);
    for version in at.items("apiVersions").iter().filter(|v| v.as_text().is_empty()) {
        errors.push(version.required("", ""));
    }
    resources(at, errors);
    errors.extend(at.one_of("scope", SCOPES));
}

/// A list must have something in it, and `*` only alone.
fn listed(at: &At<'_>, key: &str, what: &str, errors: &mut Vec<FieldError>) {
    let all = at.items(key);
    if all.is_empty() {
        errors.push(at.required(key, ""));
    }
    if all.len() > 1 && all.iter().any(|item| item.as_text() == "*") {
        errors.extend(at.invalid(key, [format!("if '*' is present, must not specify other {what}")]));
    }
}

fn resources(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let all = at.items("resources");
    if all.is_empty() {
        errors.push(at.required("resources", ""));
    }
    let (mut whole, mut below) = (HashSet::new(), HashSet::new());
    let (mut star, mut plain) = (false, false);
    for item in &all {
        let text = item.as_text();
        if text.is_empty() {
            errors.push(item.required("", ""));
            continue;
        }
        star |= text == "*";
        let Some((resource, sub)) = text.split_once('/') else {
            plain = text != "*";
            continue;
        };
        if whole.contains(resource) {
            errors.extend(item.invalid("", [format!("if '{resource}/*' is present, must not specify {text}")]));
        }
        if below.contains(sub) {
            errors.extend(item.invalid("", [format!("if '*/{sub}' is present, must not specify {text}")]));
        }
        if sub == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            below.insert(sub);
        }
    }
    if all.len() > 1 && all.iter().any(|item| item.as_text() == "*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        errors.extend(at.invalid("resources", [why]));
    }
    if star && plain {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.extend(at.invalid("resources", [why]));
    }
}

/// What is wrong with match conditions, as far as it can be said without compiling them.
pub(super) fn match_conditions(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let all = at.items("matchConditions");
    if all.len() > CONDITIONS_MAX {
        errors.push(FieldError::too_many(
            at.path("matchConditions"),
            all.len(),
            CONDITIONS_MAX,
        ));
    }
    let mut seen = HashSet::new();
    for condition in &all {
        if condition.text("expression").trim().is_empty() {
            errors.push(condition.required("expression", ""));
        }
        match condition.text("name") {
            "" => errors.push(condition.required("name", "")),
            name => {
                errors.extend(condition.invalid("name", names::qualified_name(name)));
                if !seen.insert(name) {
                    errors.push(FieldError::duplicate(condition.path("name"), name));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_judged_as_upstream() {
        let rule = |resources: Value| json!({ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources });
        for (value, message) in [
            (rule(json!(["pods", "pods/status"])), None),
            (rule(json!([])), Some("r.resources: Required value")),
            (
                rule(json!(["pods/*", "pods/status"])),
                Some(
                    "r.resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
                ),
            ),
            (
                rule(json!(["*", "pods"])),
                Some(
                    "r.resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
                ),
            ),
            (
                json!({ "operations": ["X"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["a"] }),
                Some(
                    "r.operations[0]: Unsupported value: \"X\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
                ),
            ),
        ] {
            let mut errors = Vec::new();
            super::rule(&At::new(&value, "r"), &mut errors);
            assert_eq!(errors.first().map(ToString::to_string).as_deref(), message);
        }
    }
}
