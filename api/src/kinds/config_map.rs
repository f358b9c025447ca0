//! ConfigMap: small data as keys and values, immutable on request.

use crate::{
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{entries, flag},
};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;

/// All keys and values of a ConfigMap or a Secret together, in bytes (upstream `MaxSecretSize`).
pub(super) const MAX_SIZE: usize = 1024 * 1024;

/// `v1` ConfigMap.
pub struct ConfigMap;

impl Kind for ConfigMap {
    const KIND: &'static str = "ConfigMap";
    const PLURAL: &'static str = "configmaps";
    const SINGULAR: &'static str = "configmap";
    const SHORT_NAMES: &'static [&'static str] = &["cm"];
    const KEY: &'static str = "configmaps";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Data", "integer", "The number of keys."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::core::v1::ConfigMap;

    fn validate(map: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let binary: HashSet<&str> = entries(map, "/binaryData").map(|(key, _)| key).collect();
        let mut size = 0;
        for member in ["data", "binaryData"] {
            for (key, value) in entries(map, &format!("/{member}")) {
                let field = format!("{member}[{key}]");
                errors.extend(
                    names::config_key(key)
                        .into_iter()
                        .map(|m| FieldError::invalid(&field, key, m)),
                );
                if member == "data" && binary.contains(key) {
                    errors.push(FieldError::invalid(
                        &field,
                        key,
                        "duplicate of key present in binaryData",
                    ));
                }
                let length = value.as_str().map_or(0, str::len);
                size += if member == "data" { length } else { length / 4 * 3 };
            }
        }
        if size > MAX_SIZE {
            errors.push(FieldError::too_long("", MAX_SIZE));
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let mut errors = immutable(new, old, &["data", "binaryData"]);
        errors.extend(Self::validate(new));
        errors
    }

    fn row(map: &Value, now: Timestamp) -> Vec<Value> {
        let count = entries(map, "/data").count() + entries(map, "/binaryData").count();
        vec![metadata::name(map).into(), count.into(), metadata::age(map, now).into()]
    }
}

/// What changed although `immutable` is set, of these members and the mark itself.
pub(super) fn immutable(new: &Value, old: &Value, members: &[&str]) -> Vec<FieldError> {
    if !flag(old, "/immutable") {
        return Vec::new();
    }
    let why = "field is immutable when `immutable` is set";
    let empty = |v: Option<&Value>| v.filter(|v| v.as_object().is_none_or(|m| !m.is_empty())).cloned();
    let changed = members.iter().filter(|m| empty(new.get(**m)) != empty(old.get(**m)));
    let mut errors: Vec<FieldError> = changed.map(|m| FieldError::forbidden(*m, why)).collect();
    if !flag(new, "/immutable") {
        errors.insert(0, FieldError::forbidden("immutable", why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_and_size_are_judged() {
        for (map, field) in [
            (json!({ "data": { "a/b": "" } }), Some("data[a/b]")),
            (
                json!({ "data": { "a": "" }, "binaryData": { "a": "" } }),
                Some("data[a]"),
            ),
            (json!({ "data": { "a": "x".repeat(MAX_SIZE + 1) } }), Some("")),
            (json!({ "data": { "a": "x".repeat(MAX_SIZE) } }), None),
        ] {
            assert_eq!(ConfigMap::validate(&map).first().map(|e| e.field.as_str()), field);
        }
    }

    #[test]
    fn what_is_immutable_stays() {
        let old = json!({ "immutable": true, "data": { "a": "1" } });
        let new = json!({ "immutable": false, "data": { "a": "2" } });
        let messages: Vec<String> = ConfigMap::validate_update(&new, &old, "")
            .iter()
            .map(ToString::to_string)
            .collect();
        let why = "Forbidden: field is immutable when `immutable` is set";
        assert_eq!(messages, [format!("immutable: {why}"), format!("data: {why}")]);
        assert!(ConfigMap::validate_update(&old, &old, "").is_empty());
        assert!(ConfigMap::validate_update(&old, &new, "").is_empty());
    }
}
