//! RuntimeClass: which container runtime runs a pod.

use super::pod;
use crate::{
    at::root,
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    quantity::Quantity,
    read::text,
};
use jiff::Timestamp;
use serde_json::Value;

/// `node.k8s.io/v1` RuntimeClass.
pub struct RuntimeClass;

impl Kind for RuntimeClass {
    const GROUP: &'static str = "node.k8s.io";
    const KIND: &'static str = "RuntimeClass";
    const PLURAL: &'static str = "runtimeclasses";
    const SINGULAR: &'static str = "runtimeclass";
    const NAMESPACED: bool = false;
    const KEY: &'static str = "runtimeclasses";
    const UNCONDITIONAL_UPDATE: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Handler", "string", "The runtime's configuration on the node."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::node::v1::RuntimeClass;

    fn validate(class: &Value) -> Vec<FieldError> {
        let at = root(class);
        let mut errors = at.invalid_text("handler", names::dns1123_label(at.text("handler")));
        for (name, amount) in at.child("overhead").entries("podFixed") {
            errors.extend(amount.invalid("", names::qualified_name(name)));
            if Quantity::of(amount.value).is_some_and(Quantity::is_negative) {
                errors.extend(amount.invalid("", ["must be greater than or equal to 0"]));
            }
        }
        let scheduling = at.child("scheduling");
        let labels = scheduling.value.get("nodeSelector");
        errors.extend(metadata::labels(labels, &scheduling.path("nodeSelector")));
        errors.extend(pod::tolerations(&scheduling));
        let all = scheduling.items("tolerations");
        let twice = all
            .iter()
            .enumerate()
            .filter(|(index, one)| all[..*index].iter().any(|a| a.value == one.value));
        errors.extend(twice.map(|(_, one)| FieldError::duplicate(one.path(""), one.value.clone())));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        root(new).immutable(old, "handler").into_iter().collect()
    }

    fn row(class: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(class).into(),
            text(class, "/handler").into(),
            metadata::age(class, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn handlers_are_labels_and_stay() {
        let class = |handler: &str| json!({ "handler": handler });
        assert_eq!(RuntimeClass::validate(&class("runc")), []);
        assert_eq!(RuntimeClass::validate(&class("")).len(), 1);
        assert_eq!(
            RuntimeClass::validate_update(&class("b"), &class("a"), "")[0].to_string(),
            "handler: Invalid value: \"b\": field is immutable"
        );
        let odd = json!({ "handler": "a", "scheduling": { "tolerations": [{ "operator": "Equal" }] } });
        assert_eq!(
            RuntimeClass::validate(&odd)[0].field,
            "scheduling.tolerations[0].operator"
        );
    }
}
