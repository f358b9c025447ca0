//! Reading JSON objects by pointer, with Go's zero value where a field is absent, null or of another type.

use serde_json::{Map, Value};

/// In a map of up to so many members a look at each key is quicker than a hash of the one that is wanted.
const FEW: usize = 8;

/// What is at `pointer`, as [`Value::pointer`] has it, which makes a string of each of its parts.
pub fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.bytes().any(|byte| byte == b'~') {
        return object.pointer(pointer);
    }
    let (mut value, mut rest) = (object, pointer);
    while !rest.is_empty() {
        // Parts are so short that looking at each byte is quicker than a search that prepares itself.
        let past = rest.strip_prefix('/')?;
        let (part, after) = past.split_at(past.bytes().position(|byte| byte == b'/').unwrap_or(past.len()));
        rest = after;
        value = match value {
            Value::Object(map) if map.len() <= FEW => map.iter().find(|(key, _)| *key == part).map(|(_, value)| value),
            Value::Object(map) => map.get(part),
            Value::Array(list) => index(part).and_then(|at| list.get(at)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }?;
    }
    Some(value)
}

/// A place in a list is digits, and no more of them than it needs.
fn index(part: &str) -> Option<usize> {
    let plain = part == "0" || !part.starts_with(['0', '+']);
    part.parse().ok().filter(|_| plain)
}

/// Text at `pointer`, or empty.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Number at `pointer`, or 0.
pub fn int(object: &Value, pointer: &str) -> i64 {
    at(object, pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Boolean at `pointer`, or false.
pub fn flag(object: &Value, pointer: &str) -> bool {
    at(object, pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// List at `pointer`, or empty.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The members of the map at `pointer`, or none.
pub fn entries<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    at(object, pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v))
}

/// What is at `pointer`, unless null.
pub fn some<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    at(object, pointer).filter(|v| !v.is_null())
}

/// The map at member `key`, made if it is absent or null. None where `object` or the member is something else.
pub fn map_mut<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let member = object.as_object_mut()?.entry(key).or_insert(Value::Null);
    if member.is_null() {
        *member = Value::Object(Map::new());
    }
    member.as_object_mut()
}

/// Sets member `key` to `value` where it is absent or null.
pub fn set_default(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut() {
        let member = map.entry(key).or_insert(Value::Null);
        if member.is_null() {
            *member = value.into();
        }
    }
}

/// Sets member `key` to `value` where it is absent, null or empty text: Go's `if x == ""`.
pub fn set_default_text(object: &mut Value, key: &str, value: &str) {
    if object.get(key).is_some_and(|v| v.as_str() == Some("")) {
        object[key] = Value::Null;
    }
    set_default(object, key, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pointer_leads_where_the_standard_says() {
        let many: Map<String, Value> = (0..20).map(|n| (format!("m{n}"), n.into())).collect();
        let object = json!({
            "a": { "b": [1, { "c": null }], "": 2, "x/y": 3, "x~y": 4 }, "": { "d": 5 }, "many": many, "text": "t",
        });
        let pointers = [
            "",
            "/",
            "//d",
            "/a",
            "/a/",
            "/a/b",
            "/a/b/0",
            "/a/b/1/c",
            "/a/b/01",
            "/a/b/+1",
            "/a/b/2",
            "/a/b/-",
            "/a/b/c",
            "/a/x~1y",
            "/a/x~0y",
            "/many/m3",
            "/many/m21",
            "/text/t",
            "a",
            "a/b",
            "/a/b/1/c/d",
        ];
        for pointer in pointers {
            assert_eq!(at(&object, pointer), object.pointer(pointer), "{pointer:?}");
        }
        assert_eq!(at(&object, "/many/m3"), Some(&json!(3)));
    }
}
