//! An object without a set of fields, or with nothing else.

use super::view::{Form, View};
use super::{Element, Set};
use serde_json::{Map, Value};

/// `value` without the fields of `set`. A list or map that loses its last item stays, empty.
pub fn remove(view: View<'_>, value: &Value, set: &Set) -> Value {
    match (view.form(value), value) {
        (Form::Map, Value::Object(members)) => {
            let mut kept = Map::new();
            for (name, value) in members {
                let element = Element::field(name);
                if set.has_member(&element) {
                    continue;
                }
                let rest = rest(view.member(name), &element, value, set);
                kept.insert(name.clone(), rest);
            }
            Value::Object(kept)
        }
        (Form::List, Value::Array(items)) => {
            let mut kept = Vec::with_capacity(items.len());
            for item in items {
                let Ok(element) = view.element(item) else {
                    kept.push(item.clone());
                    continue;
                };
                if !set.has_member(&element) {
                    kept.push(rest(view.item(), &element, item, set));
                }
            }
            Value::Array(kept)
        }
        // A leaf goes whole or not at all.
        (_, value) => value.clone(),
    }
}

fn rest(view: View<'_>, element: &Element, value: &Value, set: &Set) -> Value {
    match set.child(element) {
        Some(child) if !child.is_empty() => remove(view, value, child),
        Some(_) | None => value.clone(),
    }
}

/// What of `value` is in `set`; none if nothing is.
pub fn extract(view: View<'_>, value: &Value, set: &Set) -> Option<Value> {
    let pick = |element: &Element, view: View<'_>, value: &Value| match set.child(element) {
        Some(child) if !child.is_empty() => extract(view, value, child),
        Some(_) | None => set.has_member(element).then(|| value.clone()),
    };
    match (view.form(value), value) {
        (Form::Map, Value::Object(members)) if !members.is_empty() => {
            let picked: Map<String, Value> = members
                .iter()
                .filter_map(|(name, value)| {
                    let value = pick(&Element::field(name), view.member(name), value)?;
                    Some((name.clone(), value))
                })
                .collect();
            (!picked.is_empty()).then_some(Value::Object(picked))
        }
        (Form::List, Value::Array(items)) if !items.is_empty() => {
            let picked: Vec<Value> = items
                .iter()
                .filter_map(|item| pick(&view.element(item).ok()?, view.item(), item))
                .collect();
            (!picked.is_empty()).then_some(Value::Array(picked))
        }
        (_, value) => Some(value.clone()),
    }
}
