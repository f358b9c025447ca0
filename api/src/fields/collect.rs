//! The fields that a value mentions: what an applied configuration comes to own.

use super::listed::listed;
use super::view::{Form, Misfit, View};
use super::{Element, Set};
use serde_json::Value;

/// Every leaf, every item of a list, every key of a map that `value` mentions.
pub fn collect(view: View<'_>, value: &Value) -> Result<Set, Misfit> {
    let mut set = Set::default();
    walk(view, value, &mut Vec::new(), &mut set)?;
    Ok(set)
}

/// Collects what is below into `set`; whether `value` itself is owned as a whole.
fn walk(view: View<'_>, value: &Value, path: &mut Vec<Element>, set: &mut Set) -> Result<bool, Misfit> {
    match (view.form(value), value) {
        (Form::Leaf, _) => return Ok(true),
        (Form::Map, Value::Object(members)) => {
            for (name, value) in members {
                let empty = match value {
                    Value::Null => true,
                    Value::Object(members) => members.is_empty(),
                    Value::Array(items) => items.is_empty(),
                    Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
                };
                let is_member = empty || !view.declares(name);
                descend(view, Element::field(name), value, is_member, path, set)?;
            }
        }
        (Form::List, Value::Array(items)) => {
            for (element, items) in listed(view, items, path)? {
                match items.as_slice() {
                    [item] => descend(view, element, item, true, path, set)?,
                    // Items that nothing tells apart are owned together.
                    _ => set.insert_member(element),
                }
            }
        }
        (Form::Map | Form::List, _) => {}
    }
    Ok(false)
}

fn descend(
    view: View<'_>,
    element: Element,
    value: &Value,
    is_member: bool,
    path: &mut Vec<Element>,
    set: &mut Set,
) -> Result<(), Misfit> {
    let mut below = Set::default();
    path.push(element);
    let is_leaf = walk(view.step(&path[path.len() - 1]), value, path, &mut below)?;
    let Some(element) = path.pop() else { return Ok(()) };
    if is_leaf || is_member {
        set.insert_member(element.clone());
    }
    set.insert_child(element, below);
    Ok(())
}
