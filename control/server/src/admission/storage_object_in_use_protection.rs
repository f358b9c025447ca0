//! StorageObjectInUseProtection: claims and volumes are held until nobody uses them; controllers let them go.

use api::read;
use serde_json::{Value, json};

/// Holds a new object.
pub(super) fn admit(object: &mut Value, finalizer: &str) {
    if let Some(metadata) = read::map_mut(object, "metadata") {
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if finalizers.is_null() {
            *finalizers = json!([]);
        }
        if let Some(finalizers) = finalizers
            .as_array_mut()
            .filter(|all| !all.iter().any(|present| present == finalizer))
        {
            finalizers.push(finalizer.into());
        }
    }
}
