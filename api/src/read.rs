//! Reading JSON objects by pointer, with Go's zero value where a field is absent, null or of another type.

use serde_json::{Map, Value};

/// Text at `pointer`, or empty.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Number at `pointer`, or 0.
pub fn int(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Boolean at `pointer`, or false.
pub fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// List at `pointer`, or empty.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The members of the map at `pointer`, or none.
pub fn entries<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v))
}

/// What is at `pointer`, unless null.
pub fn some<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    object.pointer(pointer).filter(|v| !v.is_null())
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
