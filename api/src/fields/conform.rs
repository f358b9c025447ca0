//! Whether an applied configuration fits its kind's shape (structured-merge-diff `typed/validate.go`).

use super::view::{Misfit, View};
use super::{Element, go};
use crate::schema::{ListKind, Shape};
use serde_json::Value;

/// Checks `value`; the misfits read as upstream lists them.
pub fn conform(view: View<'_>, value: &Value) -> Result<(), Misfit> {
    let mut misfits = Vec::new();
    walk(view, value, "", &mut misfits);
    match misfits.as_slice() {
        [] => Ok(()),
        [one] => Err(Misfit(one.clone())),
        many => Err(Misfit(format!("errors:\n  {}", many.join("\n  ")))),
    }
}

fn walk(view: View<'_>, value: &Value, path: &str, misfits: &mut Vec<String>) {
    let mut wrong = |what: String| {
        let at = if path.is_empty() {
            String::new()
        } else {
            format!("{path}: ")
        };
        misfits.push(format!("{at}{what}"));
    };
    match (view.shape(), value) {
        (_, Value::Null) => {}
        (Shape::Any, value) if view.kind().is_none() || !value.is_object() => {}
        (Shape::Any | Shape::Object(_) | Shape::Map(_), Value::Object(members)) => {
            for (name, value) in members {
                let below = format!("{path}.{name}");
                if view.kind().is_some_and(|kind| !kind.preserves_unknown) && !view.declares(name) {
                    misfits.push(format!("{below}: field not declared in schema"));
                } else {
                    walk(view.member(name), value, &below, misfits);
                }
            }
        }
        (Shape::Any | Shape::Object(_) | Shape::Map(_), value) => {
            wrong(format!("expected map, got &{{{}}}", go::verbose(value)))
        }
        (Shape::List(_), Value::Array(items)) => list(view, items, path, misfits),
        (Shape::List(_), value) => wrong(format!("expected list, got &{{{}}}", go::verbose(value))),
        (Shape::Int32 | Shape::Int64 | Shape::Number, Value::Number(_)) | (Shape::Boolean, Value::Bool(_)) => {}
        (Shape::Int32 | Shape::Int64 | Shape::Number, value) => {
            wrong(format!("expected numeric (int or float), got {}", go::type_name(value)));
        }
        (Shape::Boolean, value) => wrong(format!("expected boolean, got &{{{}}}", go::verbose(value))),
        (Shape::Text | Shape::Bytes, Value::String(_)) => {}
        (Shape::Text | Shape::Bytes, value) => wrong(format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            go::verbose(value)
        )),
        (Shape::Time | Shape::IntOrString | Shape::Quantity, Value::Array(_) | Value::Object(_)) => {
            wrong(format!("expected any scalar, got &{{{}}}", go::verbose(value)));
        }
        (Shape::Time | Shape::IntOrString | Shape::Quantity, _) => {}
    }
}

fn list(view: View<'_>, items: &[Value], path: &str, misfits: &mut Vec<String>) {
    let mut seen: Vec<Element> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let element = if *view.list_kind() == ListKind::Atomic {
            Element::Index(i64::try_from(at).unwrap_or(i64::MAX))
        } else {
            match view.element(item) {
                Ok(element) => element,
                Err(why) => {
                    misfits.push(format!("{path}: element {at}: {why}"));
                    return;
                }
            }
        };
        if seen.contains(&element) {
            misfits.push(format!("{path}: duplicate entries for key {element}"));
        }
        walk(view.item(), item, &format!("{path}{element}"), misfits);
        seen.push(element);
    }
}
