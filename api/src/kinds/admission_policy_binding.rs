//! ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding: where a policy holds, and with which parameters.

use super::admission_rules::{self, CATEGORIES, GROUP};
use crate::{
    at::{At, root, some_mut},
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{some, text},
    selector,
};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;

const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::narrow(
        "PolicyName",
        "string",
        "PolicyName indicates the policy definition which the policy binding binded to",
    ),
    Column::narrow(
        "ParamRef",
        "string",
        "ParamRef indicates the param resource which sets the configration param",
    ),
    Column::AGE,
];

/// `admissionregistration.k8s.io/v1` ValidatingAdmissionPolicyBinding.
pub struct Validating;

/// `admissionregistration.k8s.io/v1` MutatingAdmissionPolicyBinding.
pub struct Mutating;

impl Kind for Validating {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "ValidatingAdmissionPolicyBinding";
    const PLURAL: &'static str = "validatingadmissionpolicybindings";
    const SINGULAR: &'static str = "validatingadmissionpolicybinding";
    const CATEGORIES: &'static [&'static str] = CATEGORIES;
    const NAMESPACED: bool = false;
    const KEY: &'static str = "validatingadmissionpolicybindings";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;
    type Object = k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;

    fn default(binding: &mut Value) {
        some_mut(
            binding,
            "/spec/matchResources",
            admission_rules::default_match_resources,
        );
    }

    fn validate(binding: &Value) -> Vec<FieldError> {
        let spec = root(binding).child("spec");
        let mut errors = shared(&spec);
        actions(&spec, &mut errors);
        errors
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
    }

    fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
        row(binding, now)
    }
}

impl Kind for Mutating {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "MutatingAdmissionPolicyBinding";
    const PLURAL: &'static str = "mutatingadmissionpolicybindings";
    const SINGULAR: &'static str = "mutatingadmissionpolicybinding";
    const CATEGORIES: &'static [&'static str] = CATEGORIES;
    const NAMESPACED: bool = false;
    const KEY: &'static str = "mutatingadmissionpolicybindings";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;
    type Object = k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;

    fn default(binding: &mut Value) {
        some_mut(
            binding,
            "/spec/matchResources",
            admission_rules::default_match_resources,
        );
    }

    fn validate(binding: &Value) -> Vec<FieldError> {
        shared(&root(binding).child("spec"))
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
    }

    fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
        row(binding, now)
    }
}

fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        metadata::name(binding).into(),
        text(binding, "/spec/policyName").into(),
        parameters(binding).into(),
        metadata::age(binding, now).into(),
    ]
}

/// `namespace/name`, `*/name`, or a selector.
fn parameters(binding: &Value) -> String {
    let Some(reference) = some(binding, "/spec/paramRef") else {
        return "<unset>".to_owned();
    };
    match (text(reference, "/name"), text(reference, "/namespace")) {
        ("", _) if some(reference, "/selector").is_some() => selector::shown(reference.get("selector")),
        ("", _) => "<unset>".to_owned(),
        (name, "") => format!("*/{name}"),
        (name, namespace) => format!("{namespace}/{name}"),
    }
}

fn shared(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match spec.text("policyName") {
        "" => errors.push(spec.required("policyName", "")),
        name => errors.extend(spec.invalid("policyName", names::dns1123_subdomain(name))),
    }
    if let Some(reference) = spec.some("paramRef") {
        param_ref(&reference, &mut errors);
    }
    if let Some(resources) = spec.some("matchResources") {
        admission_rules::match_resources(&resources, &mut errors);
    }
    errors
}

fn param_ref(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let exclusive = "name and selector are mutually exclusive";
    let (name, selector) = (at.text("name"), at.some("selector"));
    if !name.is_empty() {
        errors.extend(at.invalid("name", names::path_segment(name)));
        if selector.is_some() {
            errors.push(at.forbidden("name", exclusive));
        }
    }
    match &selector {
        Some(selector) => {
            errors.extend(selector::check(selector));
            if !name.is_empty() {
                errors.push(at.forbidden("selector", exclusive));
            }
        }
        None if name.is_empty() => errors.push(at.required("", "one of name or selector must be specified")),
        None => {}
    }
    errors.extend(at.must_be_one_of("parameterNotFoundAction", &["Deny", "Allow"]));
}

fn actions(spec: &At<'_>, errors: &mut Vec<FieldError>) {
    let all = spec.items("validationActions");
    let mut seen = HashSet::new();
    for action in &all {
        let word = action.as_text();
        if !ACTIONS.contains(&word) {
            errors.push(FieldError::not_supported(action.path(""), word, ACTIONS));
        }
        if !seen.insert(word) {
            errors.push(FieldError::duplicate(action.path(""), word));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.extend(spec.invalid("validationActions", [why]));
    }
    if all.is_empty() {
        errors.push(spec.required("validationActions", "at least one validation action is required"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bindings_are_judged_and_shown_as_upstream() {
        let binding = |spec: Value| json!({ "metadata": { "name": "b" }, "spec": spec });
        let good = binding(
            json!({ "policyName": "p", "validationActions": ["Deny"], "paramRef": { "name": "x", "parameterNotFoundAction": "Deny" } }),
        );
        assert_eq!(Validating::validate(&good), []);
        assert_eq!(parameters(&good), "*/x");
        for (spec, messages) in [
            (
                json!({}),
                &[
                    "spec.policyName: Required value",
                    "spec.validationActions: Required value: at least one validation action is required",
                ][..],
            ),
            (
                json!({ "policyName": "p", "validationActions": ["Audit"], "paramRef": {} }),
                &[
                    "spec.paramRef: Required value: one of name or selector must be specified",
                    "spec.paramRef.parameterNotFoundAction: Required value",
                ],
            ),
        ] {
            let found: Vec<String> = Validating::validate(&binding(spec))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found, messages);
        }
    }
}
