//! ReplicationController: ReplicaSet's elder, with a plain map of labels as its selector.

use super::{amount::not_negative, replica_set, template};
use crate::{
    field::FieldError,
    kind::{Column, Kind, SelectableField, Subresource},
    read::{self, some},
    selector::{self, LabelSelector},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `v1` ReplicationController.
pub struct ReplicationController;

impl Kind for ReplicationController {
    const KIND: &'static str = "ReplicationController";
    const PLURAL: &'static str = "replicationcontrollers";
    const SINGULAR: &'static str = "replicationcontroller";
    const SHORT_NAMES: &'static [&'static str] = &["rc"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource::SCALE,
        Subresource::status("", "v1", "ReplicationController"),
    ];
    const KEY: &'static str = "replicationcontrollers";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = replica_set::COLUMNS;
    const FIELDS: &'static [SelectableField] = replica_set::FIELDS;
    type Object = k8s_openapi::api::core::v1::ReplicationController;

    fn default(controller: &mut Value) {
        read::set_default(controller, "spec", json!({}));
        let labels = some(controller, "/spec/template/metadata/labels").cloned();
        if let Some(labels) = labels.filter(|l| l.as_object().is_some_and(|l| !l.is_empty())) {
            if is_empty(controller, "/spec/selector") {
                controller["spec"]["selector"] = labels.clone();
            }
            if is_empty(controller, "/metadata/labels") {
                controller["metadata"]["labels"] = labels;
            }
        }
        read::set_default(&mut controller["spec"], "replicas", 1);
        if some(controller, "/spec/template").is_some() {
            template::default_template(&mut controller["spec"]);
        }
        replica_set::default_status(controller);
    }

    fn validate(controller: &Value) -> Vec<FieldError> {
        let spec = &controller["spec"];
        let mut errors = not_negative(spec, "spec", &["minReadySeconds", "replicas"]);
        if is_empty(controller, "/spec/selector") {
            errors.push(FieldError::required("spec.selector", ""));
        }
        let Some(template) = some(controller, "/spec/template") else {
            errors.push(FieldError::required("spec.template", ""));
            return errors;
        };
        let selector = LabelSelector::of_labels(&spec["selector"]);
        errors.extend(template::validate_match(&selector, template, "spec.template"));
        errors.extend(template::validate(template, "spec.template"));
        errors.extend(template::validate_lasting(
            template,
            "spec.template",
            "ReplicationController",
        ));
        errors
    }

    fn validate_update(new: &Value, _old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            replica_set::validate_status(&new["status"])
        } else {
            Self::validate(new)
        }
    }

    fn row(controller: &Value, now: Timestamp) -> Vec<Value> {
        let selector = selector::labels_shown(&controller["spec"]["selector"]);
        replica_set::row(controller, selector, now)
    }
}

fn is_empty(object: &Value, pointer: &str) -> bool {
    read::entries(object, pointer).next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_selector_come_from_the_template() {
        let mut controller = json!({
            "metadata": { "name": "a" },
            "spec": { "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } },
        });
        ReplicationController::default(&mut controller);
        assert_eq!(
            (&controller["spec"]["selector"], &controller["metadata"]["labels"]),
            (&json!({ "a": "b" }), &json!({ "a": "b" }))
        );
        assert_eq!(ReplicationController::validate(&controller), []);
        let mut bare = json!({ "metadata": { "name": "a" } });
        ReplicationController::default(&mut bare);
        let messages: Vec<String> = ReplicationController::validate(&bare)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            messages,
            ["spec.selector: Required value", "spec.template: Required value"]
        );
    }
}
