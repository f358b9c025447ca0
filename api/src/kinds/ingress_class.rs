//! IngressClass: which controller serves an Ingress.

use crate::{
    at::{At, root, some_mut},
    field::FieldError,
    kind::{Column, Kind},
    kinds::ingress::typed_reference,
    metadata, names,
    read::{self, some, text},
};
use jiff::Timestamp;
use serde_json::Value;

const CONTROLLER_MAX: usize = 250;
const SCOPES: &[&str] = &["Cluster", "Namespace"];

/// `networking.k8s.io/v1` IngressClass.
pub struct IngressClass;

impl Kind for IngressClass {
    const GROUP: &'static str = "networking.k8s.io";
    const KIND: &'static str = "IngressClass";
    const PLURAL: &'static str = "ingressclasses";
    const SINGULAR: &'static str = "ingressclass";
    const NAMESPACED: bool = false;
    const KEY: &'static str = "ingressclasses";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Controller", "string", "The controller that serves it."),
        Column::narrow("Parameters", "string", "More configuration for the controller."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::networking::v1::IngressClass;

    fn default(class: &mut Value) {
        some_mut(class, "/spec/parameters", |p| read::set_default(p, "scope", "Cluster"));
    }

    fn validate(class: &Value) -> Vec<FieldError> {
        let spec = root(class).child("spec");
        let mut errors = Vec::new();
        let controller = spec.text("controller");
        if controller.is_empty() {
            errors.push(spec.required("controller", ""));
        } else {
            if controller.len() > CONTROLLER_MAX {
                errors.push(FieldError::too_long(spec.path("controller"), CONTROLLER_MAX));
            }
            errors.extend(spec.invalid("controller", names::domain_prefixed_path(controller)));
        }
        if let Some(at) = spec.some("parameters") {
            parameters(&at, &mut errors);
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let changed = root(new).child("spec").immutable(&old["spec"], "controller");
        changed.into_iter().chain(Self::validate(new)).collect()
    }

    fn row(class: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(class).into(),
            text(class, "/spec/controller").into(),
            reference(class).into(),
            metadata::age(class, now).into(),
        ]
    }
}

fn parameters(at: &At<'_>, errors: &mut Vec<FieldError>) {
    typed_reference(at, errors);
    if let Some(error) = at.one_of("scope", SCOPES) {
        errors.push(error);
        return;
    }
    match (at.text("scope"), at.has("namespace")) {
        ("Namespace", false) => errors.push(at.required("namespace", "`parameters.scope` is set to 'Namespace'")),
        ("Namespace", true) => errors.extend(at.invalid("namespace", names::dns1123_label(at.text("namespace")))),
        (_, true) => errors.push(at.forbidden("namespace", "`parameters.scope` is set to 'Cluster'")),
        (_, false) => {}
    }
}

/// `Kind.group/name`.
fn reference(class: &Value) -> String {
    if some(class, "/spec/parameters").is_none() {
        return "<none>".to_owned();
    }
    let [kind, group, name] = ["kind", "apiGroup", "name"].map(|m| text(class, &format!("/spec/parameters/{m}")));
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes_are_judged_and_shown_as_upstream() {
        let mut class = json!({ "metadata": { "name": "c" }, "spec": {
            "controller": "a.b/c", "parameters": { "apiGroup": "x.y", "kind": "K", "name": "n" } } });
        IngressClass::default(&mut class);
        assert_eq!(IngressClass::validate(&class), []);
        assert_eq!(reference(&class), "K.x.y/n");
        for (spec, message) in [
            (json!({}), "spec.controller: Required value"),
            (
                json!({ "controller": "x" }),
                "spec.controller: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
            (
                json!({ "controller": "a/b", "parameters": { "kind": "K", "name": "n", "scope": "Namespace" } }),
                "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ),
        ] {
            let errors = IngressClass::validate(&json!({ "spec": spec }));
            assert_eq!(errors.first().map(ToString::to_string).as_deref(), Some(message));
        }
        let changed = IngressClass::validate_update(&json!({ "spec": { "controller": "a/c" } }), &class, "");
        assert_eq!(
            changed.first().map(ToString::to_string).as_deref(),
            Some("spec.controller: Invalid value: \"a/c\": field is immutable")
        );
    }
}
