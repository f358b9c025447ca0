//! Brings what has several spellings into one, as a decode and encode by upstream's types would: nulls, empty lists and empty maps go, quantities are
//! written canonically.

use super::{Root, Shape, Type, Types};
use crate::quantity::Quantity;
use serde_json::{Map, Value};

/// Rewrites an object of the kind. What the type does not know stays. Of a custom resource only the metadata: a null or a
/// number in the rest is what its author wrote.
pub fn canonicalize(root: Root<'_>, object: &mut Value) {
    if root.types.typed_throughout {
        rewrite(root.types, root.kind, object);
    } else if let (Some(field), Some(metadata)) = (root.kind.field("metadata"), object.get_mut("metadata")) {
        rewrite_value(root.types, &field.shape, metadata);
    }
}

fn rewrite(types: &Types, kind: &Type, object: &mut Value) {
    let Some(members) = object.as_object_mut() else { return };
    members.retain(|key, value| !value.is_null() && !is_omitted(kind, key, value));
    for (key, value) in members {
        if let Some(field) = kind.field(key) {
            rewrite_value(types, &field.shape, value);
        }
    }
}

/// Go writes no empty lists and maps, except where the type says so.
fn is_omitted(kind: &Type, key: &str, value: &Value) -> bool {
    let empty = match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    empty
        && kind
            .field(key)
            .is_some_and(|f| f.zero.is_none() && matches!(f.shape, Shape::List(_) | Shape::Map(_)))
        // What a client says of managedFields being empty means something.
        && key != "managedFields"
}

fn rewrite_value(types: &Types, shape: &Shape, value: &mut Value) {
    match (shape, &mut *value) {
        (Shape::Object(at), value) => rewrite(types, types.at(*at), value),
        (Shape::List(item), Value::Array(items)) => items.iter_mut().for_each(|value| rewrite_item(types, item, value)),
        (Shape::Map(item), Value::Object(members)) => members
            .iter_mut()
            .for_each(|(_, value)| rewrite_item(types, item, value)),
        (Shape::Quantity, written) => {
            if let Some(quantity) = Quantity::of(written) {
                *written = quantity.to_string().into();
            }
        }
        _ => {}
    }
}

/// A null in a list or a map is a value of its type that nobody set: YAML's `key:` is an empty text.
fn rewrite_item(types: &Types, shape: &Shape, value: &mut Value) {
    if value.is_null() {
        *value = match shape {
            Shape::Text | Shape::Bytes => "".into(),
            Shape::Int32 | Shape::Int64 | Shape::Number | Shape::IntOrString => 0.into(),
            Shape::Boolean => false.into(),
            Shape::Quantity => "0".into(),
            Shape::List(_) => Value::Array(Vec::new()),
            Shape::Map(_) | Shape::Object(_) => Value::Object(Map::new()),
            Shape::Any | Shape::Time => return,
        };
    }
    rewrite_value(types, shape, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_spelling_is_left() {
        let mut pod = json!({
            "metadata": { "creationTimestamp": null, "labels": { "a": "1000m", "b": null }, "annotations": {} }, "mine": { "kept": null },
            "spec": {
                "nodeName": null, "securityContext": {}, "initContainers": [], "nodeSelector": {},
                "containers": [{ "command": null, "args": [], "resources": { "limits": { "cpu": 1, "memory": "1024Mi", "x/y": "oops" } } }],
                "volumes": [null, { "emptyDir": { "sizeLimit": "0.5Gi" } }],
            },
        });
        canonicalize(Root::built_in("io.k8s.api.core.v1.Pod"), &mut pod);
        let expected = json!({
            "metadata": { "labels": { "a": "1000m", "b": "" } }, "mine": { "kept": null },
            "spec": {
                "securityContext": {},
                "containers": [{ "resources": { "limits": { "cpu": "1", "memory": "1Gi", "x/y": "oops" } } }],
                "volumes": [{}, { "emptyDir": { "sizeLimit": "512Mi" } }],
            },
        });
        assert_eq!(pod, expected);
    }
}
