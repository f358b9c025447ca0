//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: rules about writes, in CEL. What compiling would find is not judged
//! here: the engine of the expressions judges it.

use super::admission_rules::{self, CATEGORIES, FAILURE_POLICIES, GROUP, REINVOCATION_POLICIES};
use crate::{
    at::{At, root, some_mut},
    conditions,
    field::FieldError,
    kind::{Column, Kind, Subresource},
    metadata, names,
    read::{list, set_default, some, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const PATCH_TYPES: &[&str] = &["ApplyConfiguration", "JSONPatch"];
const AUDIT_ANNOTATIONS_MAX: usize = 20;
const VALUE_EXPRESSION_MAX: usize = 5 * 1024;
/// Words of CEL that name nothing.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// `admissionregistration.k8s.io/v1` ValidatingAdmissionPolicy.
pub struct Validating;

/// `admissionregistration.k8s.io/v1` MutatingAdmissionPolicy.
pub struct Mutating;

impl Kind for Validating {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "ValidatingAdmissionPolicy";
    const PLURAL: &'static str = "validatingadmissionpolicies";
    const SINGULAR: &'static str = "validatingadmissionpolicy";
    const CATEGORIES: &'static [&'static str] = CATEGORIES;
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status(GROUP, "v1", "ValidatingAdmissionPolicy")];
    const KEY: &'static str = "validatingadmissionpolicies";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow(
            "Validations",
            "integer",
            "Validations indicates the number of validation rules defined in this configuration",
        ),
        PARAM_KIND,
        Column::AGE,
    ];
    type Object = k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;

    fn default(policy: &mut Value) {
        default(policy);
    }

    fn validate(policy: &Value) -> Vec<FieldError> {
        let spec = root(policy).child("spec");
        let mut errors = shared(&spec);
        let (validations, annotations) = (spec.items("validations"), spec.items("auditAnnotations"));
        if validations.is_empty() && annotations.is_empty() {
            let why = "validations or auditAnnotations must contain at least one item";
            errors.extend(["validations", "auditAnnotations"].map(|member| spec.required(member, why)));
            return errors;
        }
        validations.iter().for_each(|at| validation(at, &mut errors));
        audit_annotations(&spec, metadata::name(policy), &mut errors);
        errors
    }

    fn validate_update(new: &Value, _old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return status(&root(new).child("status"));
        }
        Self::validate(new)
    }

    fn row(policy: &Value, now: Timestamp) -> Vec<Value> {
        row(policy, "/spec/validations", now)
    }
}

impl Kind for Mutating {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "MutatingAdmissionPolicy";
    const PLURAL: &'static str = "mutatingadmissionpolicies";
    const SINGULAR: &'static str = "mutatingadmissionpolicy";
    const CATEGORIES: &'static [&'static str] = CATEGORIES;
    const NAMESPACED: bool = false;
    const KEY: &'static str = "mutatingadmissionpolicies";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow(
            "Mutations",
            "integer",
            "Mutation indicates the number of mutations rules defined in this configuration",
        ),
        PARAM_KIND,
        Column::AGE,
    ];
    type Object = k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicy;

    fn default(policy: &mut Value) {
        default(policy);
        set_default(&mut policy["spec"], "reinvocationPolicy", "Never");
    }

    fn validate(policy: &Value) -> Vec<FieldError> {
        let spec = root(policy).child("spec");
        let mut errors = shared(&spec);
        let mutations = spec.items("mutations");
        if mutations.is_empty() {
            errors.push(spec.required("mutations", "mutations must contain at least one item"));
        }
        mutations.iter().for_each(|at| mutation(at, &mut errors));
        errors.extend(spec.must_be_one_of("reinvocationPolicy", REINVOCATION_POLICIES));
        errors
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
    }

    fn row(policy: &Value, now: Timestamp) -> Vec<Value> {
        row(policy, "/spec/mutations", now)
    }
}

const PARAM_KIND: Column = Column::narrow(
    "ParamKind",
    "string",
    "ParamKind specifies the kind of resources used to parameterize this policy",
);

fn row(policy: &Value, rules: &str, now: Timestamp) -> Vec<Value> {
    let kind =
        some(policy, "/spec/paramKind").map(|kind| format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind")));
    vec![
        metadata::name(policy).into(),
        list(policy, rules).len().into(),
        kind.unwrap_or_else(|| "<unset>".to_owned()).into(),
        metadata::age(policy, now).into(),
    ]
}

fn default(policy: &mut Value) {
    set_default(policy, "spec", json!({}));
    set_default(&mut policy["spec"], "failurePolicy", "Fail");
    some_mut(
        policy,
        "/spec/matchConstraints",
        admission_rules::default_match_resources,
    );
}

/// What is wrong with what both sorts of policy have.
fn shared(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = spec
        .must_be_one_of("failurePolicy", FAILURE_POLICIES)
        .into_iter()
        .collect();
    if let Some(kind) = spec.some("paramKind") {
        param_kind(&kind, &mut errors);
    }
    match spec.some("matchConstraints") {
        None => errors.push(spec.required("matchConstraints", "")),
        Some(constraints) => {
            admission_rules::match_resources(&constraints, &mut errors);
            if constraints.items("resourceRules").is_empty() {
                errors.push(constraints.required("resourceRules", ""));
            }
        }
    }
    admission_rules::match_conditions(spec, &mut errors);
    for variable in spec.items("variables") {
        match variable.text("name") {
            name if name.trim().is_empty() => errors.push(variable.required("name", "name is not specified")),
            name if !names::c_identifier(name).is_empty() || RESERVED.contains(&name) => {
                errors.extend(variable.invalid("name", ["name is not a valid CEL identifier"]));
            }
            _ => {}
        }
        if variable.text("expression").trim().is_empty() {
            errors.push(variable.required("expression", "expression is not specified"));
        }
    }
    errors
}

fn param_kind(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let api_version = at.text("apiVersion");
    match api_version.split('/').collect::<Vec<_>>()[..] {
        [""] => errors.push(at.required("apiVersion", "")),
        [version] => bad_version(at, version, errors),
        [group, version] => {
            let wrong = names::dns1123_subdomain(group);
            if !group.is_empty() && !wrong.is_empty() {
                errors.push(FieldError::invalid(at.path("apiVersion"), group, wrong.join(",")));
            }
            bad_version(at, version, errors);
        }
        _ => {
            let why = format!("unexpected GroupVersion string: {api_version}");
            errors.extend(at.invalid("apiVersion", [why]));
        }
    }
    match at.text("kind") {
        "" => errors.push(at.required("kind", "")),
        kind => {
            let wrong = names::dns1035_label(&kind.to_lowercase());
            if !wrong.is_empty() {
                let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                errors.extend(at.invalid("kind", [why]));
            }
        }
    }
}

fn bad_version(at: &At<'_>, version: &str, errors: &mut Vec<FieldError>) {
    let wrong = names::dns1035_label(version);
    if version.is_empty() {
        errors.extend(at.invalid("apiVersion", ["version must be specified"]));
    } else if !wrong.is_empty() {
        errors.push(FieldError::invalid(at.path("apiVersion"), version, wrong.join(",")));
    }
}

fn validation(at: &At<'_>, errors: &mut Vec<FieldError>) {
    if at.text("expression").trim().is_empty() {
        errors.push(at.required("expression", "expression is not specified"));
    }
    let blank = |member: &str| !at.text(member).is_empty() && at.text(member).trim().is_empty();
    if blank("messageExpression") {
        errors.extend(at.invalid("messageExpression", ["must be non-empty if specified"]));
    }
    if blank("message") {
        errors.extend(at.invalid("message", ["message must be non-empty if specified"]));
    } else if at.text("message").trim().contains(['\n', '\r']) {
        errors.extend(at.invalid("message", ["message must not contain line breaks"]));
    }
    errors.extend(at.one_of("reason", REASONS));
}

fn audit_annotations(spec: &At<'_>, policy: &str, errors: &mut Vec<FieldError>) {
    let all = spec.items("auditAnnotations");
    if all.len() > AUDIT_ANNOTATIONS_MAX {
        let why = format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations");
        errors.extend(spec.invalid("auditAnnotations", [why]));
    }
    let mut seen = HashSet::new();
    for annotation in &all {
        let key = annotation.text("key");
        let whole = format!("{policy}/{key}");
        let wrong = names::qualified_name(&whole).into_iter();
        errors.extend(wrong.map(|m| FieldError::invalid(annotation.path("key"), whole.as_str(), m)));
        let size = annotation.text("valueExpression").trim().len();
        if size == 0 {
            errors.push(annotation.required("valueExpression", "valueExpression is not specified"));
        } else if size > VALUE_EXPRESSION_MAX {
            let why = format!("must not exceed {VALUE_EXPRESSION_MAX} bytes in length");
            errors.push(annotation.required("valueExpression", why));
        }
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(annotation.path("key"), key));
        }
    }
}

fn mutation(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let both = [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")];
    if let Some(error) = at.must_be_one_of("patchType", PATCH_TYPES) {
        errors.push(error);
        return;
    }
    let kind = at.text("patchType");
    for (of, member) in both {
        match (of == kind, at.some(member)) {
            (true, None) => {
                let why = format!("must be specified when patchType is {of}");
                errors.push(at.required(member, why));
            }
            (true, Some(patch)) if patch.text("expression").trim().is_empty() => {
                errors.push(patch.required("expression", "expression is not specified"));
            }
            (false, Some(_)) => {
                let why = format!("must not be specified when patchType is {kind}");
                errors.extend(at.invalid(member, [why]));
            }
            _ => {}
        }
    }
}

fn status(at: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for warning in at.child("typeChecking").items("expressionWarnings") {
        for member in ["warning", "fieldRef"] {
            if warning.text(member).trim().is_empty() {
                errors.push(warning.required(member, ""));
            }
        }
    }
    errors.extend(conditions::check(at, "conditions"));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(spec: Value) -> Value {
        let rule = json!({ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] });
        let mut whole = json!({ "matchConstraints": { "resourceRules": [rule] } });
        if let (Some(whole), Some(more)) = (whole.as_object_mut(), spec.as_object()) {
            whole.extend(more.clone());
        }
        json!({ "metadata": { "name": "p" }, "spec": whole })
    }

    #[test]
    fn validating_policies_are_filled_in_and_judged_as_upstream() {
        let mut good = policy(
            json!({ "validations": [{ "expression": "true" }], "paramKind": { "apiVersion": "a.b/v1", "kind": "K" } }),
        );
        Validating::default(&mut good);
        assert_eq!(Validating::validate(&good), []);
        assert_eq!(good["spec"]["failurePolicy"], "Fail");
        assert_eq!(good["spec"]["matchConstraints"]["resourceRules"][0]["scope"], "*");
        let row = Validating::row(&good, Timestamp::UNIX_EPOCH);
        assert_eq!(Value::from(row[..3].to_vec()), json!(["p", 1, "a.b/v1/K"]));
        for (spec, message) in [
            (
                json!({}),
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            ),
            (
                json!({ "validations": [{ "expression": " " }] }),
                "spec.validations[0].expression: Required value: expression is not specified",
            ),
            (
                json!({ "validations": [{ "expression": "a", "reason": "X" }] }),
                "spec.validations[0].reason: Unsupported value: \"X\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
            ),
            (
                json!({ "validations": [{ "expression": "a" }], "variables": [{ "name": "in", "expression": "a" }] }),
                "spec.variables[0].name: Invalid value: \"in\": name is not a valid CEL identifier",
            ),
        ] {
            let mut policy = policy(spec);
            Validating::default(&mut policy);
            let errors = Validating::validate(&policy);
            assert_eq!(errors.first().map(ToString::to_string).as_deref(), Some(message));
        }
    }

    #[test]
    fn mutating_policies_say_how_they_patch() {
        let with = |mutation: Value| {
            let mut policy = policy(json!({ "mutations": [mutation] }));
            Mutating::default(&mut policy);
            Mutating::validate(&policy)
        };
        assert_eq!(
            with(json!({ "patchType": "JSONPatch", "jsonPatch": { "expression": "[]" } })),
            []
        );
        assert_eq!(
            with(json!({ "patchType": "ApplyConfiguration" }))[0].to_string(),
            "spec.mutations[0].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration"
        );
        assert_eq!(
            with(json!({}))[0].to_string(),
            "spec.mutations[0].patchType: Required value"
        );
    }
}
