//! CSINode: the storage drivers on one node.

use crate::{
    at::root,
    field::FieldError,
    kind::{Column, Kind},
    kinds::volume_source,
    metadata, names,
    read::{self, list},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

const NODE_ID_MAX: usize = 192;

/// `storage.k8s.io/v1` CSINode.
pub struct CsiNode;

impl Kind for CsiNode {
    const GROUP: &'static str = "storage.k8s.io";
    const KIND: &'static str = "CSINode";
    const PLURAL: &'static str = "csinodes";
    const SINGULAR: &'static str = "csinode";
    const NAMESPACED: bool = false;
    const KEY: &'static str = "csinodes";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Drivers", "integer", "How many drivers are registered on the node."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::storage::v1::CSINode;

    fn default(node: &mut Value) {
        read::set_default(node, "spec", json!({}));
        read::set_default(&mut node["spec"], "drivers", json!([]));
    }

    fn validate(node: &Value) -> Vec<FieldError> {
        let (mut errors, mut seen) = (Vec::new(), HashSet::new());
        for driver in root(node).child("spec").items("drivers") {
            let name = driver.text("name");
            errors.extend(volume_source::csi_driver(&driver, "name"));
            match driver.text("nodeID") {
                "" => errors.push(driver.required("nodeID", "")),
                id if id.len() > NODE_ID_MAX => {
                    let why = format!("must be {NODE_ID_MAX} characters or less");
                    errors.extend(driver.invalid("nodeID", [why]));
                }
                _ => {}
            }
            let allocatable = driver.child("allocatable");
            if allocatable.int("count") < 0 {
                errors.extend(allocatable.invalid("count", ["must be greater than or equal to 0"]));
            }
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(driver.path("name"), name));
            }
            let mut keys = HashSet::new();
            // Upstream names the driver here and not the key.
            let path = driver.path("");
            for key in driver.items("topologyKeys") {
                let key = key.as_text();
                if key.is_empty() {
                    errors.push(driver.required("", ""));
                }
                if !keys.insert(key) {
                    errors.push(FieldError::duplicate(&path, key));
                }
                let wrong = names::qualified_name(key).into_iter();
                errors.extend(wrong.map(|why| FieldError::invalid(&path, key, why)));
            }
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let mut errors = Self::validate(new);
        // A driver may go and come back, but not change: only what it can allocate may.
        let fixed = |driver: &Value| {
            let mut driver = driver.clone();
            if let Some(members) = driver.as_object_mut() {
                members.shift_remove("allocatable");
            }
            driver
        };
        for before in list(old, "/spec/drivers") {
            let mut drivers = list(new, "/spec/drivers").iter();
            let now = drivers.find(|driver| driver.get("name") == before.get("name"));
            if let Some(now) = now.map(fixed).filter(|now| *now != fixed(before)) {
                errors.push(FieldError::invalid("spec.drivers", now, "field is immutable"));
            }
        }
        errors
    }

    fn row(node: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(node).into(),
            list(node, "/spec/drivers").len().into(),
            metadata::age(node, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(drivers: Value) -> Value {
        json!({ "metadata": { "name": "n" }, "spec": { "drivers": drivers } })
    }

    #[test]
    fn drivers_are_judged_as_upstream() {
        let good = node(json!([{ "name": "a", "nodeID": "1", "topologyKeys": ["x/y"] }]));
        assert_eq!(CsiNode::validate(&good), []);
        let bad = node(json!([{ "name": "a", "nodeID": "1" }, { "name": "a", "topologyKeys": ["x", "x"] }]));
        let messages: Vec<String> = CsiNode::validate(&bad).iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "spec.drivers[1].nodeID: Required value",
                "spec.drivers[1].name: Duplicate value: \"a\"",
                "spec.drivers[1]: Duplicate value: \"x\"",
            ]
        );
        let moved = node(json!([{ "name": "a", "nodeID": "2", "topologyKeys": ["x/y"] }]));
        assert_eq!(CsiNode::validate_update(&moved, &good, "")[0].field, "spec.drivers");
        assert_eq!(CsiNode::validate_update(&node(json!([])), &good, ""), []);
    }
}
