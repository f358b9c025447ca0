//! CSIStorageCapacity: how much room a driver has in one part of the cluster.

use crate::{
    at::root,
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    quantity::Quantity,
    read::text,
    selector,
};
use jiff::Timestamp;
use serde_json::Value;

/// `storage.k8s.io/v1` CSIStorageCapacity.
pub struct CsiStorageCapacity;

impl Kind for CsiStorageCapacity {
    const GROUP: &'static str = "storage.k8s.io";
    const KIND: &'static str = "CSIStorageCapacity";
    const PLURAL: &'static str = "csistoragecapacities";
    const SINGULAR: &'static str = "csistoragecapacity";
    const KEY: &'static str = "csistoragecapacities";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("StorageClassName", "string", "The StorageClass that it is about."),
        Column::narrow("Capacity", "string", "The room, in bytes."),
    ];
    type Object = k8s_openapi::api::storage::v1::CSIStorageCapacity;

    fn validate(capacity: &Value) -> Vec<FieldError> {
        let at = root(capacity);
        let mut errors = selector::check(&at.child("nodeTopology"));
        let class = names::dns1123_subdomain(at.text("storageClassName"));
        errors.extend(at.invalid_text("storageClassName", class));
        let size = at.some("capacity").and_then(|at| Quantity::of(at.value));
        if size.is_some_and(Quantity::is_negative) {
            errors.extend(at.invalid("capacity", ["must be greater than or equal to 0"]));
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let at = root(new);
        let frozen = ["nodeTopology", "storageClassName"].into_iter();
        frozen.filter_map(|key| at.immutable(old, key)).collect()
    }

    fn row(capacity: &Value, _now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(capacity).into(),
            text(capacity, "/storageClassName").into(),
            text(capacity, "/capacity").into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn room_is_not_negative_and_stays_where_it_is() {
        let good =
            json!({ "storageClassName": "c", "capacity": "1Gi", "nodeTopology": { "matchLabels": { "a": "b" } } });
        assert_eq!(CsiStorageCapacity::validate(&good), []);
        let bad = json!({ "storageClassName": "d", "capacity": "-1" });
        let fields: Vec<String> = CsiStorageCapacity::validate_update(&bad, &good, "")
            .iter()
            .map(|e| e.field.clone())
            .collect();
        assert_eq!(fields, ["nodeTopology", "storageClassName"]);
        let errors = CsiStorageCapacity::validate(&bad);
        assert_eq!(errors[0].field, "capacity");
    }
}
