//! Lists that are sets or maps: no item twice (apiextensions `schema/listtype`); and where an error's field stands.

use super::structural::Structural;
use super::validate::child;
use crate::field::FieldError;
use serde_json::{Map, Value};

/// The items that are there already.
pub(super) fn errors(schema: &Structural, value: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(schema, value, path, &mut errors);
    errors
}

fn walk(schema: &Structural, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if let Some(member) = schema.member(name) {
                    walk(member, value, &child(path, name), errors);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema_of_items) = &schema.items else { return };
            let keys: Option<Vec<Value>> = match schema.list_type.as_str() {
                "set" => Some(items.clone()),
                "map" => Some(items.iter().map(|item| key(schema, item)).collect()),
                _ => None,
            };
            for (at, key) in keys.iter().flatten().enumerate() {
                let twice = keys.as_ref().is_some_and(|keys| keys[..at].contains(key));
                if twice {
                    errors.push(FieldError::duplicate(format!("{path}[{at}]"), key.clone()));
                }
            }
            for (at, item) in items.iter().enumerate() {
                walk(schema_of_items, item, &format!("{path}[{at}]"), errors);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn key(schema: &Structural, item: &Value) -> Value {
    let members = schema.list_map_keys.iter().filter_map(|name| {
        let default = || schema.items.as_ref()?.properties.get(name)?.default.as_ref();
        Some((name.clone(), item.get(name).or_else(default)?.clone()))
    });
    Value::Object(members.collect::<Map<_, _>>())
}

/// The steps of a field's path, `spec.list[0].name`; none for what is no path.
pub(super) fn steps(field: &str) -> Option<Vec<String>> {
    if field.is_empty() || field == "<nil>" {
        return None;
    }
    let parts = field.split(['.', '[']).filter(|part| !part.is_empty());
    Some(parts.map(|part| part.trim_end_matches(']').to_owned()).collect())
}

/// What stands there.
pub(super) fn at<'a>(object: &'a Value, steps: &[String]) -> Option<&'a Value> {
    steps.iter().try_fold(object, |value, step| match value {
        Value::Object(members) => members.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_item_stands_twice_in_a_set_or_a_map() {
        let schema = Structural::of(&json!({ "type": "object", "properties": {
            "tags": { "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } },
            "ports": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                "items": { "type": "object", "properties": { "port": { "type": "integer" }, "protocol": { "type": "string", "default": "TCP" } } } },
        } }));
        let object = json!({
            "tags": ["a", "b", "a"],
            "ports": [{ "port": 1 }, { "port": 1, "protocol": "UDP" }, { "port": 1, "protocol": "TCP" }],
        });
        let found: Vec<String> = errors(&schema, &object, "").iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "tags[2]: Duplicate value: \"a\"",
                "ports[2]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}"
            ]
        );
    }

    #[test]
    fn fields_are_found_again() {
        let object = json!({ "spec": { "list": [{ "name": "a" }] } });
        let steps = steps("spec.list[0].name").expect("it is a path");
        assert_eq!(at(&object, &steps), Some(&json!("a")));
    }
}
