//! VolumeAttributesClass: attributes of volumes that may change while they are in use.

use super::storage_class::{default_name, parameters, provisioner};
use crate::{
    at::root,
    field::FieldError,
    kind::{Column, Kind},
    metadata,
    read::text,
};
use jiff::Timestamp;
use serde_json::Value;

/// `storage.k8s.io/v1` VolumeAttributesClass.
pub struct VolumeAttributesClass;

impl Kind for VolumeAttributesClass {
    const GROUP: &'static str = "storage.k8s.io";
    const KIND: &'static str = "VolumeAttributesClass";
    const PLURAL: &'static str = "volumeattributesclasses";
    const SINGULAR: &'static str = "volumeattributesclass";
    const SHORT_NAMES: &'static [&'static str] = &["vac"];
    const NAMESPACED: bool = false;
    const KEY: &'static str = "volumeattributesclasses";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("DriverName", "string", "The CSI driver."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::storage::v1::VolumeAttributesClass;

    fn validate(class: &Value) -> Vec<FieldError> {
        let mut errors = root(class).need_judged("driverName", provisioner);
        errors.extend(parameters(class, true));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let at = root(new);
        let frozen = ["driverName", "parameters"].into_iter();
        let changed = frozen.filter(|key| at.immutable(old, key).is_some());
        let mut errors: Vec<FieldError> = changed
            .map(|key| at.forbidden(key, format!("updates to {key} are forbidden.")))
            .collect();
        errors.extend(Self::validate(new));
        errors
    }

    fn row(class: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            default_name(class, "volumeattributesclass.kubernetes.io~1is-default-class").into(),
            text(class, "/driverName").into(),
            metadata::age(class, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes_have_parameters_and_keep_them() {
        let class = json!({ "driverName": "a.b", "parameters": { "k": "v" } });
        assert_eq!(VolumeAttributesClass::validate(&class), []);
        let messages = |errors: Vec<FieldError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            messages(VolumeAttributesClass::validate(&json!({}))),
            [
                "driverName: Required value",
                "parameters: Required value: must contain at least one key/value pair",
            ]
        );
        let other = json!({ "driverName": "c", "parameters": { "k": "v" } });
        assert_eq!(
            messages(VolumeAttributesClass::validate_update(&other, &class, "")),
            ["driverName: Forbidden: updates to driverName are forbidden."]
        );
    }
}
