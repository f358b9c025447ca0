//! Strategic merge patch: a merge patch that knows which lists are merged, and by which key (apimachinery `strategicpatch`).

use crate::{
    fields::go,
    schema::{Field, Shape, Type, types},
    status::{self, Status},
};
use serde_json::{Map, Value};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// What a merge does with an object before its members are looked at.
enum Directive {
    Merge,
    Replace,
    Delete,
}

/// Patches `target`, an object of the type with component name `schema`.
pub(super) fn apply(target: &mut Value, patch: &Value, schema: &str) -> Result<(), Status> {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else {
        return Err(super::not_an_object(patch));
    };
    merge_map(target, patch, types().by_name(schema))
}

/// 500: upstream has no better code for most of what can be wrong with a patch.
fn unfit(message: String) -> Status {
    Status {
        message,
        ..status::unexplained()
    }
}

/// 400: a directive that is no list.
fn no_list(directive: &str) -> Status {
    status::bad_request(format!("invalid patch format of {directive}"))
}

fn directive(patch: &Object) -> Result<Directive, Status> {
    match patch.get(DIRECTIVE).map(|d| d.as_str().unwrap_or_default()) {
        None | Some("merge") => Ok(Directive::Merge),
        Some("replace") => Ok(Directive::Replace),
        Some("delete") => Ok(Directive::Delete),
        Some(other) => Err(unfit(format!("unknown patch type found: {other}"))),
    }
}

fn merge_map(target: &mut Object, patch: &Object, kind: Option<&Type>) -> Result<(), Status> {
    match directive(patch)? {
        Directive::Merge => {}
        Directive::Delete => {
            target.clear();
            return Ok(());
        }
        Directive::Replace => {
            *target = patch.clone();
            target.shift_remove(DIRECTIVE);
            return Ok(());
        }
    }
    if let Some(keys) = patch.get(RETAIN_KEYS) {
        retain_keys(target, patch, keys)?;
    }
    for (key, value) in patch {
        if key == DIRECTIVE || key == RETAIN_KEYS {
            continue;
        }
        if key.starts_with(ELEMENT_ORDER) {
            order_of(value)?;
            continue;
        }
        if let Some(list) = key.strip_prefix(DELETE_PRIMITIVES) {
            delete_primitives(target, list, value)?;
            continue;
        }
        merge_member(target, patch, key, value, kind.and_then(|k| k.field(key)))?;
    }
    for (key, order) in patch {
        if let Some(list) = key.strip_prefix(ELEMENT_ORDER)
            && !patch.contains_key(list)
            && let Some(items) = target.get_mut(list).and_then(Value::as_array_mut)
        {
            let merge_key = kind.and_then(|k| k.field(list)).map_or("", |f| f.merge_key);
            let live = items.clone();
            reorder(items, &order_of(order)?, &live, merge_key);
        }
    }
    Ok(())
}

fn retain_keys(target: &mut Object, patch: &Object, keys: &Value) -> Result<(), Status> {
    let keys = keys.as_array().ok_or_else(|| no_list("retainKeys"))?;
    let kept = |key: &str| keys.iter().any(|k| k == key);
    if patch
        .iter()
        .any(|(k, v)| !v.is_null() && !k.starts_with('$') && !kept(k))
    {
        // Upstream's sentence is "patch content doesn't match retainKeys list", but no client hears it.
        return Err(status::unprocessable(
            "the server rejected our request due to an error in our request",
        ));
    }
    target.retain(|key, _| kept(key));
    Ok(())
}

fn delete_primitives(target: &mut Object, list: &str, gone: &Value) -> Result<(), Status> {
    let gone = gone.as_array().ok_or_else(|| no_list("primitive list"))?;
    if let Some(items) = target.get_mut(list).and_then(Value::as_array_mut) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

fn merge_member(
    target: &mut Object,
    patch: &Object,
    key: &str,
    value: &Value,
    field: Option<&Field>,
) -> Result<(), Status> {
    let merges = field.is_some_and(|f| f.merges);
    match (target.get_mut(key), value) {
        (_, Value::Null) => {
            target.shift_remove(key);
        }
        (Some(Value::Object(present)), Value::Object(change)) => {
            let kind = field.and_then(|f| object_type(&f.shape));
            merge_map(present, change, kind)?;
        }
        (Some(Value::Array(present)), Value::Array(change)) if merges => {
            let order = patch.get(&format!("{ELEMENT_ORDER}{key}")).map(order_of).transpose()?;
            merge_list(present, change, order.as_deref(), field)?;
        }
        (_, value) => {
            target.insert(key.to_owned(), without_directives(value));
        }
    }
    Ok(())
}

/// The type of an object, or of a list's or map's items.
fn object_type(shape: &Shape) -> Option<&'static Type> {
    match shape {
        Shape::Object(at) => Some(types().at(*at)),
        _ => None,
    }
}

fn merge_list(
    live: &mut Vec<Value>,
    patch: &[Value],
    order: Option<&[Value]>,
    field: Option<&Field>,
) -> Result<(), Status> {
    let merge_key = field.map_or("", |f| f.merge_key);
    let item_type = field.and_then(|f| match &f.shape {
        Shape::List(item) => object_type(item),
        _ => None,
    });
    let before = live.clone();
    let mut kept: Vec<Value> = Vec::new();
    let mut replaces = false;
    for item in patch {
        let Value::Object(change) = item else {
            kept.push(item.clone());
            continue;
        };
        let id = |missing: &str| change.get(merge_key).ok_or_else(|| unfit(missing.to_owned()));
        match directive(change)? {
            Directive::Delete => {
                let id = id("delete patch type with no merge key defined")?;
                live.retain(|item| item.get(merge_key) != Some(id));
            }
            Directive::Replace => replaces = true,
            Directive::Merge => {
                id(&format!(
                    "map: {} does not contain declared merge key: {merge_key}",
                    go::verbose(item)
                ))?;
                kept.push(item.clone());
            }
        }
    }
    if replaces {
        *live = kept.iter().map(without_directives).collect();
        return Ok(());
    }
    for item in &kept {
        match live.iter_mut().find(|present| same(present, item, merge_key)) {
            Some(Value::Object(present)) => {
                if let Value::Object(change) = item {
                    merge_map(present, change, item_type)?;
                }
            }
            Some(_) => {}
            None => live.push(without_directives(item)),
        }
    }
    reorder(live, order.unwrap_or(&kept), &before, merge_key);
    Ok(())
}

/// Whether two items of a list are the same one. An order names items by an object with the key, or by the key's value.
fn same(item: &Value, other: &Value, merge_key: &str) -> bool {
    let id = |v: &Value| {
        if merge_key.is_empty() {
            Some(v.clone())
        } else {
            v.get(merge_key).cloned()
        }
    };
    id(item).is_some() && id(item) == id(other)
}

fn order_of(order: &Value) -> Result<Vec<Value>, Status> {
    order.as_array().cloned().ok_or_else(|| no_list("setElementOrder list"))
}

/// Items that `order` names come in its order; the others keep their places among them as in `live`, as far as possible.
fn reorder(items: &mut Vec<Value>, order: &[Value], live: &[Value], merge_key: &str) {
    let place = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item, merge_key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = std::mem::take(items)
        .into_iter()
        .partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    others.sort_by_key(|item| place(live, item).unwrap_or(usize::MAX));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(first), Some(other)) = (named.peek(), others.peek()) {
        let other_first = match (place(live, other), place(live, first)) {
            (Some(other), Some(named)) => other < named,
            _ => false,
        };
        items.extend(if other_first { others.next() } else { named.next() });
    }
    items.extend(named);
    items.extend(others);
}

/// A value that is taken over whole: without directives, and without nulls, which mean "no such field".
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, value)| !value.is_null() && !is_directive(key));
            Value::Object(
                kept.map(|(key, value)| (key.clone(), without_directives(value)))
                    .collect(),
            )
        }
        Value::Array(items) => {
            let deleted = |item: &&Value| item.get(DIRECTIVE).is_some_and(|d| d == "delete" || d == "replace");
            Value::Array(items.iter().filter(|i| !deleted(i)).map(without_directives).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(ELEMENT_ORDER) || key.starts_with(DELETE_PRIMITIVES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(mut object: Value, patch: Value) -> Result<Value, String> {
        apply(&mut object, &patch, "io.k8s.api.core.v1.Pod")
            .map(|()| object)
            .map_err(|e| e.message)
    }

    fn spec(spec: Value) -> Value {
        json!({ "spec": spec })
    }

    #[test]
    fn maps_and_scalars_merge() {
        let labels = |labels: Value| json!({ "metadata": { "labels": labels } });
        for (before, patch, after) in [
            (
                labels(json!({ "a": "1", "b": "2" })),
                labels(json!({ "b": null, "c": "3" })),
                labels(json!({ "a": "1", "c": "3" })),
            ),
            (
                labels(json!({ "a": "1" })),
                labels(json!({ "$patch": "replace", "c": "3" })),
                labels(json!({ "c": "3" })),
            ),
            (
                labels(json!({ "a": "1" })),
                labels(json!({ "$patch": "delete" })),
                labels(json!({})),
            ),
            (
                json!({}),
                labels(json!({ "a": "1", "b": null })),
                labels(json!({ "a": "1" })),
            ),
            (
                spec(json!({ "nodeName": "a" })),
                spec(json!({ "nodeName": null, "hostname": "h" })),
                spec(json!({ "hostname": "h" })),
            ),
        ] {
            assert_eq!(patched(before, patch.clone()), Ok(after), "{patch}");
        }
    }

    #[test]
    fn lists_merge_by_their_key_or_are_replaced() {
        let two = || spec(json!({ "containers": [{ "name": "a", "image": "1" }, { "name": "b", "image": "2" }] }));
        for (before, patch, after) in [
            (
                two(),
                json!({ "containers": [{ "name": "b", "image": "3" }] }),
                json!({ "containers": [{ "name": "a", "image": "1" }, { "name": "b", "image": "3" }] }),
            ),
            (
                two(),
                json!({ "containers": [{ "name": "a", "$patch": "delete" }] }),
                json!({ "containers": [{ "name": "b", "image": "2" }] }),
            ),
            (
                two(),
                json!({ "containers": [{ "name": "c" }, { "$patch": "replace" }] }),
                json!({ "containers": [{ "name": "c" }] }),
            ),
            (
                two(),
                json!({ "$setElementOrder/containers": [{ "name": "b" }, { "name": "a" }] }),
                json!({ "containers": [{ "name": "b", "image": "2" }, { "name": "a", "image": "1" }] }),
            ),
            (
                two(),
                json!({ "$setElementOrder/containers": [{ "name": "c" }, { "name": "a" }, { "name": "b" }], "containers": [{ "name": "c" }] }),
                json!({ "containers": [{ "name": "c" }, { "name": "a", "image": "1" }, { "name": "b", "image": "2" }] }),
            ),
            (
                spec(
                    json!({ "containers": [{ "name": "a", "ports": [{ "containerPort": 80, "name": "w" }], "command": ["a", "b"] }] }),
                ),
                json!({ "containers": [{ "name": "a", "ports": [{ "containerPort": 80, "protocol": "UDP" }, { "containerPort": 81 }], "command": ["c"] }] }),
                json!({ "containers": [{ "name": "a", "ports": [{ "containerPort": 80, "name": "w", "protocol": "UDP" }, { "containerPort": 81 }], "command": ["c"] }] }),
            ),
            (
                spec(json!({ "volumes": [{ "name": "v", "emptyDir": {} }] })),
                json!({ "volumes": [{ "name": "v", "$retainKeys": ["name", "secret"], "secret": { "secretName": "s" } }] }),
                json!({ "volumes": [{ "name": "v", "secret": { "secretName": "s" } }] }),
            ),
            (
                spec(json!({ "tolerations": [{ "key": "a" }, { "key": "b" }] })),
                json!({ "tolerations": [{ "key": "c" }] }),
                json!({ "tolerations": [{ "key": "c" }] }),
            ),
        ] {
            assert_eq!(patched(before, spec(patch.clone())), Ok(spec(after)), "{patch}");
        }
    }

    #[test]
    fn primitive_lists_merge_as_sets() {
        let finalizers = |list: Value| json!({ "metadata": { "finalizers": list } });
        let before = || finalizers(json!(["a/x", "a/y"]));
        assert_eq!(
            patched(before(), finalizers(json!(["a/z", "a/x"]))),
            Ok(finalizers(json!(["a/z", "a/x", "a/y"])))
        );
        let delete = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a/x"], "$setElementOrder/finalizers": ["a/y"] } });
        assert_eq!(patched(before(), delete), Ok(finalizers(json!(["a/y"]))));
    }

    #[test]
    fn items_that_only_the_server_has_keep_their_places() {
        let env = |names: &[&str]| {
            let env: Vec<Value> = names.iter().map(|n| json!({ "name": n })).collect();
            spec(json!({ "containers": [{ "name": "a", "env": env }] }))
        };
        for (live, patch, after) in [
            (&["s", "x", "y"][..], &["x", "n"][..], &["s", "x", "n", "y"][..]),
            (&["x", "s", "y"], &["y", "x"], &["s", "y", "x"]),
            (&[], &["x"], &["x"]),
        ] {
            let result = patched(env(live), env(patch));
            if live == ["x", "s", "y"] || live.is_empty() || live == ["s", "x", "y"] {
                assert_eq!(result, Ok(env(after)), "{live:?} {patch:?}");
            }
        }
    }

    #[test]
    fn patches_that_cannot_be_merged_are_refused() {
        for (patch, message) in [
            (
                json!({ "containers": [{ "image": "x" }] }),
                "map: map[image:x] does not contain declared merge key: name",
            ),
            (
                json!({ "containers": [{ "$patch": "delete" }] }),
                "delete patch type with no merge key defined",
            ),
            (json!({ "$patch": "what" }), "unknown patch type found: what"),
        ] {
            let before = spec(json!({ "containers": [{ "name": "a" }] }));
            assert_eq!(patched(before, spec(patch)), Err(message.to_owned()));
        }
    }
}
