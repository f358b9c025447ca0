//! StorageClass: how volumes of one sort are made.

use crate::{
    at::{At, root},
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{self, flag, text},
};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const RECLAIM: &[&str] = &["Delete", "Retain"];
const BINDING: &[&str] = &["Immediate", "WaitForFirstConsumer"];
const PARAMETERS_MAX: usize = 512;
/// All keys and values together, in bytes.
const PARAMETERS_SIZE_MAX: usize = 256 * 1024;

/// `storage.k8s.io/v1` StorageClass.
pub struct StorageClass;

impl Kind for StorageClass {
    const GROUP: &'static str = "storage.k8s.io";
    const KIND: &'static str = "StorageClass";
    const PLURAL: &'static str = "storageclasses";
    const SINGULAR: &'static str = "storageclass";
    const SHORT_NAMES: &'static [&'static str] = &["sc"];
    const NAMESPACED: bool = false;
    const KEY: &'static str = "storageclasses";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Provisioner", "string", "Who makes the volumes."),
        Column::narrow("ReclaimPolicy", "string", "What becomes of a volume that was released."),
        Column::narrow("VolumeBindingMode", "string", "When a volume is made."),
        Column::narrow("AllowVolumeExpansion", "string", "Whether volumes may grow."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::storage::v1::StorageClass;

    fn default(class: &mut Value) {
        read::set_default(class, "reclaimPolicy", "Delete");
        read::set_default(class, "volumeBindingMode", "Immediate");
    }

    fn validate(class: &Value) -> Vec<FieldError> {
        let at = root(class);
        let mut errors = Vec::new();
        errors.extend(at.need_judged("provisioner", provisioner));
        errors.extend(parameters(class, false));
        errors.extend(at.one_of("reclaimPolicy", RECLAIM));
        errors.extend(at.must_be_one_of("volumeBindingMode", BINDING));
        errors.extend(topologies(&at));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let at = root(new);
        let changed = |key: &&str| at.immutable(old, key).is_some();
        let frozen = ["parameters", "provisioner", "reclaimPolicy"];
        let mut errors: Vec<FieldError> = frozen
            .iter()
            .copied()
            .filter(changed)
            .map(|key| at.forbidden(key, format!("updates to {key} are forbidden.")))
            .collect();
        errors.extend(at.immutable(old, "volumeBindingMode"));
        errors
    }

    fn row(class: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            default_name(class, "storageclass.kubernetes.io~1is-default-class").into(),
            text(class, "/provisioner").into(),
            text(class, "/reclaimPolicy").into(),
            text(class, "/volumeBindingMode").into(),
            flag(class, "/allowVolumeExpansion").into(),
            metadata::age(class, now).into(),
        ]
    }
}

/// The name, with a mark where `annotation` (as in a JSON pointer) says that it is the default class.
pub(super) fn default_name(class: &Value, annotation: &str) -> String {
    let name = metadata::name(class);
    if text(class, &format!("/metadata/annotations/{annotation}")) == "true" {
        format!("{name} (default)")
    } else {
        name.to_owned()
    }
}

/// What is wrong with the name of who makes volumes.
pub(super) fn provisioner(name: &str) -> Vec<String> {
    names::qualified_name(&name.to_lowercase())
}

/// Where volumes may be; no two terms may ask for the same.
fn topologies(class: &At<'_>) -> Vec<FieldError> {
    let (mut errors, mut seen) = (Vec::new(), Vec::new());
    for term in class.items("allowedTopologies") {
        let mut places: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for requirement in term.items("matchLabelExpressions") {
            let mut values = BTreeSet::new();
            if requirement.list("values").is_empty() {
                errors.push(requirement.required("values", ""));
            }
            for value in requirement.items("values") {
                if !values.insert(value.as_text()) {
                    errors.push(FieldError::duplicate(value.path(""), value.as_text()));
                }
            }
            let key = requirement.text("key");
            errors.extend(requirement.invalid_text("key", names::qualified_name(key)));
            if places.insert(key, values).is_some() {
                errors.push(FieldError::duplicate(requirement.path("key"), key));
            }
        }
        // A term that asks for nothing is refused as a duplicate upstream too.
        if places.is_empty() || seen.contains(&places) {
            errors.push(FieldError::duplicate(term.path("matchLabelExpressions"), ""));
        }
        seen.push(places);
    }
    errors
}

/// What is wrong with a class's parameters.
pub(super) fn parameters(class: &Value, needed: bool) -> Vec<FieldError> {
    let at = root(class);
    let all = at.entries("parameters");
    if all.len() > PARAMETERS_MAX {
        return vec![FieldError::too_long("parameters", PARAMETERS_MAX)];
    }
    let mut errors = Vec::new();
    if all.iter().any(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid("parameters", "", "field can not be empty."));
    }
    let size: usize = all.iter().map(|(key, value)| key.len() + value.as_text().len()).sum();
    if size > PARAMETERS_SIZE_MAX {
        errors.push(FieldError::too_long("parameters", PARAMETERS_SIZE_MAX));
    }
    if all.is_empty() && needed {
        errors.push(at.required("parameters", "must contain at least one key/value pair"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_of_volumes_are_judged_as_upstream() {
        let term = |key: &str, values: &[&str]| json!({ "matchLabelExpressions": [{ "key": key, "values": values }] });
        let cases: &[(Value, &[&str])] = &[
            (json!([term("a", &["x"]), term("a", &["y"])]), &[]),
            (
                json!([term("a", &["x"]), term("a", &["x"])]),
                &["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""],
            ),
            (
                json!([{}]),
                &["allowedTopologies[0].matchLabelExpressions: Duplicate value: \"\""],
            ),
            (
                json!([term("a", &[])]),
                &["allowedTopologies[0].matchLabelExpressions[0].values: Required value"],
            ),
            (
                json!([term("a", &["x", "x"])]),
                &["allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"x\""],
            ),
        ];
        for (places, expected) in cases {
            let class = json!({ "provisioner": "p", "volumeBindingMode": "Immediate", "allowedTopologies": places });
            let errors = StorageClass::validate(&class);
            let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(messages, *expected, "{places}");
        }
    }

    #[test]
    fn classes_are_filled_in_judged_and_frozen_as_upstream() {
        let mut class = json!({ "metadata": { "name": "c", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } }, "provisioner": "a.b/c" });
        StorageClass::default(&mut class);
        assert_eq!(StorageClass::validate(&class), []);
        let row = StorageClass::row(&class, Timestamp::UNIX_EPOCH);
        assert_eq!(
            Value::from(row[..5].to_vec()),
            json!(["c (default)", "a.b/c", "Delete", "Immediate", false])
        );
        let mut new = class.clone();
        new["parameters"] = json!({ "a": "b" });
        new["volumeBindingMode"] = "WaitForFirstConsumer".into();
        let messages: Vec<String> = StorageClass::validate_update(&new, &class, "")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            messages,
            [
                "parameters: Forbidden: updates to parameters are forbidden.",
                "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
            ]
        );
        let bad = json!({ "reclaimPolicy": "X", "volumeBindingMode": "Immediate" });
        let messages: Vec<String> = StorageClass::validate(&bad).iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "provisioner: Required value",
                "reclaimPolicy: Unsupported value: \"X\": supported values: \"Delete\", \"Retain\"",
            ]
        );
    }
}
