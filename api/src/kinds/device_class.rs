//! DeviceClass: devices of one sort, and how they are set up.

use super::device_rules::{self, GROUP, ITEMS_MAX};
use crate::{at::root, field::FieldError, kind::Kind, quota, read};
use serde_json::{Value, json};

/// `resource.k8s.io/v1` DeviceClass.
pub struct DeviceClass;

impl Kind for DeviceClass {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "DeviceClass";
    const PLURAL: &'static str = "deviceclasses";
    const SINGULAR: &'static str = "deviceclass";
    const NAMESPACED: bool = false;
    const KEY: &'static str = "deviceclasses";
    const GENERATION: bool = true;
    type Object = k8s_openapi::api::resource::v1::DeviceClass;

    fn default(class: &mut Value) {
        read::set_default(class, "spec", json!({}));
    }

    fn validate(class: &Value) -> Vec<FieldError> {
        let spec = root(class).child("spec");
        let mut errors = device_rules::selectors(&spec);
        let configuration = device_rules::configuration;
        errors.extend(device_rules::all(&spec, "config", ITEMS_MAX, configuration));
        if let Some(name) = spec
            .some("extendedResourceName")
            .filter(|n| !quota::is_extended(n.as_text()))
        {
            errors.extend(name.invalid("", ["must be a valid extended resource name"]));
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_judged_as_upstream() {
        for (spec, message) in [
            (json!({ "selectors": [{ "cel": { "expression": "true" } }] }), None),
            (json!({ "extendedResourceName": "example.com/gpu" }), None),
            (
                json!({ "extendedResourceName": "cpu" }),
                Some("spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name"),
            ),
            (
                json!({ "selectors": [{}] }),
                Some("spec.selectors[0].cel: Required value"),
            ),
            (
                json!({ "config": [{ "opaque": { "driver": "d", "parameters": 1 } }] }),
                Some(
                    "spec.config[0].opaque.parameters: Invalid value: \"<value omitted>\": parameters must be a valid JSON object",
                ),
            ),
        ] {
            let errors = DeviceClass::validate(&json!({ "spec": spec }));
            assert_eq!(errors.first().map(ToString::to_string).as_deref(), message);
        }
    }
}
