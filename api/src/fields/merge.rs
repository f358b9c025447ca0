//! An applied configuration on top of an object: nothing goes, leaves are the configuration's.

use super::listed::{items, listed};
use super::view::{Form, Misfit, View};
use super::{Element, set};
use serde_json::{Map, Value};

/// `old` with everything that `new` says. Lists keep their order, with `new`'s items in `new`'s order among them.
pub fn merge(view: View<'_>, old: &Value, new: &Value) -> Result<Value, Misfit> {
    let merged = pair(view, Some(old), Some(new), &mut Vec::new())?;
    Ok(merged.unwrap_or_else(|| Value::Object(Map::new())))
}

fn pair(
    view: View<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Element>,
) -> Result<Option<Value>, Misfit> {
    let Some(present) = new.or(old) else { return Ok(None) };
    match view.form(present) {
        Form::Leaf => Ok(Some(present.clone())),
        Form::Map => {
            let (old_map, new_map) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            let nothing = |map: Option<&Map<String, Value>>| map.is_none_or(Map::is_empty);
            if nothing(old_map) && nothing(new_map) {
                return Ok(Some(present.clone()));
            }
            let merged = maps(view, old_map, new_map, path)?;
            Ok((!merged.is_empty()).then_some(Value::Object(merged)))
        }
        Form::List => {
            let list = |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
            let (old_list, new_list) = (list(old), list(new));
            if old_list.is_empty() && new_list.is_empty() {
                return Ok(Some(present.clone()));
            }
            let merged = lists(view, &old_list, &new_list, path)?;
            Ok((!merged.is_empty()).then_some(Value::Array(merged)))
        }
    }
}

fn maps(
    view: View<'_>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    path: &mut Vec<Element>,
) -> Result<Map<String, Value>, Misfit> {
    let mut merged = Map::new();
    let names = old.into_iter().flatten().map(|(name, _)| name);
    let added = new
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .filter(|name| old.is_none_or(|map| !map.contains_key(*name)));
    for name in names.chain(added) {
        path.push(Element::field(name));
        let value = pair(
            view.member(name),
            old.and_then(|m| m.get(name)),
            new.and_then(|m| m.get(name)),
            path,
        )?;
        path.pop();
        if let Some(value) = value {
            merged.insert(name.clone(), value);
        }
    }
    Ok(merged)
}

/// The two orders are woven: items of both come in `new`'s order, those of `old` alone keep their place among them.
fn lists(view: View<'_>, old: &[Value], new: &[Value], path: &mut Vec<Element>) -> Result<Vec<Value>, Misfit> {
    let (mine, theirs) = (listed(view, new, path)?, listed(view, old, path)?);
    if let Some((element, _)) = mine.iter().find(|(_, items)| items.len() > 1) {
        return Err(Misfit(format!(
            "{}: duplicate entries for key {element}",
            set::path_text(path)
        )));
    }
    // The items of `old` in their places; duplicates stand as often as they come.
    let elements: Vec<Element> = old.iter().filter_map(|item| view.element(item).ok()).collect();
    let is_mine = |element: &Element| !items(&mine, element).is_empty();
    let mut shared = mine
        .iter()
        .filter(|(element, _)| !items(&theirs, element).is_empty())
        .map(|(element, _)| element);
    let mut next_shared = shared.next();
    let mut done: Vec<&Element> = Vec::new();
    let mut merged = Vec::with_capacity(old.len().max(new.len()));
    let (mut l, mut r) = (0, 0);
    let mut put = |element: &Element, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Element>| {
        path.push(element.clone());
        let value = pair(view.item(), old, new, path);
        path.pop();
        value.map(|value| merged.extend(value))
    };
    // An item that comes twice in `old` is not merged with: the configuration's stands in its place.
    let single = |element: &Element| match items(&theirs, element) {
        [one] => Some(*one),
        _ => None,
    };
    while l < elements.len() || r < mine.len() {
        if let (Some(element), Some((wanted, wanted_items))) = (elements.get(l), mine.get(r)) {
            if element == wanted {
                done.push(wanted);
                put(wanted, single(wanted), wanted_items.first().copied(), path)?;
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if is_mine(element) && next_shared.is_some_and(|next| next != element) {
                l += 1;
                continue;
            }
        }
        if let Some(element) = elements.get(l) {
            if !is_mine(element) {
                put(element, old.get(l), None, path)?;
                l += 1;
                continue;
            } else if done.contains(&element) {
                l += 1;
            }
        }
        if let Some((wanted, wanted_items)) = mine.get(r) {
            done.push(wanted);
            put(wanted, single(wanted), wanted_items.first().copied(), path)?;
            r += 1;
            if next_shared == Some(wanted) {
                next_shared = shared.next();
            }
        }
    }
    Ok(merged)
}
