//! ReplicaSet: so many pods of one template. ReplicationController is its elder with a plain selector and shares its status.

use super::{
    amount::{immutable, not_above, not_negative},
    template,
};
use crate::{
    field::FieldError,
    kind::{Column, Kind, SelectableField, Subresource},
    metadata,
    read::{self, int},
    selector,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `apps/v1` ReplicaSet.
pub struct ReplicaSet;

/// Columns of everything that only counts pods.
pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::narrow("Desired", "integer", "The pods wished for."),
    Column::narrow("Current", "integer", "The pods that there are."),
    Column::narrow("Ready", "integer", "The pods that are ready."),
    Column::AGE,
    template::CONTAINERS,
    template::IMAGES,
    template::SELECTOR,
];

/// What its kind and ReplicationController may be selected by.
pub(super) const FIELDS: &[SelectableField] = &[SelectableField {
    label: "status.replicas",
    read: |set| int(set, "/status/replicas").to_string(),
}];

impl Kind for ReplicaSet {
    const GROUP: &'static str = "apps";
    const KIND: &'static str = "ReplicaSet";
    const PLURAL: &'static str = "replicasets";
    const SINGULAR: &'static str = "replicaset";
    const SHORT_NAMES: &'static [&'static str] = &["rs"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::SCALE, Subresource::status("apps", "v1", "ReplicaSet")];
    const KEY: &'static str = "replicasets";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;
    const FIELDS: &'static [SelectableField] = FIELDS;
    type Object = k8s_openapi::api::apps::v1::ReplicaSet;

    fn default(set: &mut Value) {
        read::set_default(set, "spec", json!({}));
        read::set_default(&mut set["spec"], "replicas", 1);
        template::default_template(&mut set["spec"]);
        default_status(set);
    }

    fn validate(set: &Value) -> Vec<FieldError> {
        let spec = &set["spec"];
        let mut errors = not_negative(spec, "spec", &["replicas", "minReadySeconds"]);
        errors.extend(template::validate_selector(
            spec,
            "empty selector is invalid for deployment",
        ));
        errors.extend(template::validate(&spec["template"], "spec.template"));
        errors.extend(template::validate_lasting(
            &spec["template"],
            "spec.template",
            "ReplicaSet",
        ));
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return validate_status(&new["status"]);
        }
        let mut errors = Self::validate(new);
        errors.extend(immutable(new, old, "spec.selector"));
        errors
    }

    fn row(set: &Value, now: Timestamp) -> Vec<Value> {
        row(set, selector::shown(Some(&set["spec"]["selector"])), now)
    }
}

/// Go writes the count even when it is 0.
pub(super) fn default_status(set: &mut Value) {
    read::set_default(set, "status", json!({}));
    read::set_default(&mut set["status"], "replicas", 0);
}

/// The cells under [`COLUMNS`].
pub(super) fn row(set: &Value, selector: String, now: Timestamp) -> Vec<Value> {
    let [containers, images] = template::cells(&set["spec"]["template"]);
    vec![
        metadata::name(set).into(),
        int(set, "/spec/replicas").into(),
        int(set, "/status/replicas").into(),
        int(set, "/status/readyReplicas").into(),
        metadata::age(set, now).into(),
        containers,
        images,
        selector.into(),
    ]
}

/// What is wrong with the status of a ReplicaSet or a ReplicationController.
pub(super) fn validate_status(status: &Value) -> Vec<FieldError> {
    let path = "status";
    let counts = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    let mut errors = not_negative(status, path, &counts);
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    errors.extend(not_above(
        status,
        path,
        &parts,
        "replicas",
        "cannot be greater than status.replicas",
    ));
    let ready = "cannot be greater than readyReplicas";
    errors.extend(not_above(status, path, &["availableReplicas"], "readyReplicas", ready));
    errors
}

/// The count of hash collisions never falls: names already taken stay taken.
pub(super) fn collisions(new: &Value, old: &Value) -> Option<FieldError> {
    let before = read::some(old, "/status/collisionCount").and_then(Value::as_i64)?;
    let now = read::some(new, "/status/collisionCount").and_then(Value::as_i64);
    if now.is_some_and(|now| now >= before) {
        return None;
    }
    let now = now.unwrap_or_default();
    Some(FieldError::invalid(
        "status.collisionCount",
        now,
        "cannot be decremented",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_counts_its_pods() {
        let mut set = json!({
            "metadata": { "name": "web" },
            "spec": {
                "replicas": 2, "selector": { "matchLabels": { "a": "b" } },
                "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } },
            },
        });
        ReplicaSet::default(&mut set);
        assert_eq!(set["status"], json!({ "replicas": 0 }));
        assert_eq!(ReplicaSet::validate(&set), []);
        let cells = json!(["web", 2, 0, 0, "<unknown>", "c", "i", "a=b"]);
        assert_eq!(Value::from(ReplicaSet::row(&set, Timestamp::UNIX_EPOCH)), cells);
    }

    #[test]
    fn parts_are_not_more_than_the_whole() {
        let messages: Vec<String> =
            validate_status(&json!({ "replicas": 1, "readyReplicas": 2, "availableReplicas": 3 }))
                .iter()
                .map(ToString::to_string)
                .collect();
        assert_eq!(
            messages,
            [
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
            ]
        );
        let with = |count: Value| json!({ "status": { "collisionCount": count } });
        assert!(collisions(&with(json!(1)), &with(json!(1))).is_none());
        assert!(collisions(&with(Value::Null), &with(json!(1))).is_some());
    }
}
