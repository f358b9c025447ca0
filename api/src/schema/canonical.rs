//! Brings what has several spellings into one, as a decode and encode by upstream's types would: nulls go, quantities are
//! written canonically.

use super::{Shape, Type, Types, types};
use crate::quantity::Quantity;
use serde_json::Value;

/// Rewrites an object of the type with that component name. What the type does not know stays.
pub fn canonicalize(component: &str, object: &mut Value) {
    let types = types();
    if let Some(kind) = types.by_name(component) {
        rewrite(types, kind, object);
    }
}

fn rewrite(types: &Types, kind: &Type, object: &mut Value) {
    let Some(members) = object.as_object_mut() else { return };
    members.retain(|_, value| !value.is_null());
    for (key, value) in members {
        if let Some(field) = kind.field(key) {
            rewrite_value(types, &field.shape, value);
        }
    }
}

fn rewrite_value(types: &Types, shape: &Shape, value: &mut Value) {
    match (shape, &mut *value) {
        (Shape::Object(at), value) => rewrite(types, types.at(*at), value),
        (Shape::List(item), Value::Array(items)) => {
            items.iter_mut().for_each(|value| rewrite_value(types, item, value))
        }
        (Shape::Map(item), Value::Object(members)) => members
            .iter_mut()
            .for_each(|(_, value)| rewrite_value(types, item, value)),
        (Shape::Quantity, written) => {
            if let Some(quantity) = Quantity::of(written) {
                *written = quantity.to_string().into();
            }
        }
        _ => {}
    }
}
