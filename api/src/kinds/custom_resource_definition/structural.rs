//! Whether a schema is structural (apiextensions `structuralschema.ValidateStructural`): the structure is said once, outside of
//! `allOf`, `anyOf`, `oneOf` and `not`, and those only narrow it.

use crate::{
    field::FieldError,
    read::{flag, list, some, text},
};
use serde_json::{Value, json};

const KEEPS: &str = "x-kubernetes-preserve-unknown-fields";
const RESOURCE: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What keeps a schema from being structural, sorted as upstream sorts it.
pub(super) fn errors(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    invariants(schema, Level::Root, path, &mut errors);
    complete(schema, path, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

fn is_set(schema: &Value, word: &str) -> bool {
    schema.get(word) == Some(&Value::Bool(true))
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn invariants(schema: &Value, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let items = schema.get("items").filter(|items| items.is_object());
    if text(schema, "/type") == "array" && items.is_none() {
        errors.push(FieldError::required(format!("{path}.items"), "must be specified"));
    }
    if let Some(items) = items {
        invariants(items, Level::Item, &format!("{path}.items"), errors);
    }
    for (name, property) in properties(schema) {
        invariants(property, Level::Field, &format!("{path}.properties[{name}]"), errors);
    }
    if let Some(additional) = some(schema, "/additionalProperties") {
        let place = format!("{path}.additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(place.as_str(), "must not be used at the root"));
        }
        if is_set(schema, RESOURCE) {
            let why = "must not be used if x-kubernetes-embedded-resource is set";
            errors.push(FieldError::forbidden(place.as_str(), why));
        }
        if additional.is_object() {
            invariants(additional, Level::Field, &place, errors);
        }
    }
    for word in [KEEPS, RESOURCE] {
        if is_set(schema, INT_OR_STRING) && is_set(schema, word) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(format!("{path}.{word}"), true, why));
        }
    }
    let either = json!([{ "type": "integer" }, { "type": "string" }]);
    let any_of = schema.get("anyOf") == Some(&either);
    let all_of = schema.pointer("/allOf/0/anyOf") == Some(&either);
    junctors(schema, any_of, all_of, path, errors);
    types(schema, level, path, errors);
    whole_resource(schema, level, path, errors);
}

fn types(schema: &Value, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let (kind, place) = (text(schema, "/type"), format!("{path}.type"));
    if is_set(schema, RESOURCE) && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() {
            FieldError::required(place.as_str(), why)
        } else {
            FieldError::invalid(place.as_str(), kind, why)
        });
    } else if kind.is_empty() && !is_set(schema, INT_OR_STRING) && !is_set(schema, KEEPS) {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(place.as_str(), why));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(place, kind, "must be object at the root"));
    }
}

fn whole_resource(schema: &Value, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let is_resource = level == Level::Root || is_set(schema, RESOURCE);
    for name in ["kind", "apiVersion"] {
        let property = schema.pointer(&format!("/properties/{name}")).filter(|_| is_resource);
        if let Some(kind) = property.map(|p| text(p, "/type")).filter(|kind| *kind != "string") {
            errors.push(FieldError::invalid(
                format!("{path}.properties[{name}].type"),
                kind,
                "must be string",
            ));
        }
    }
    if let Some(metadata) = schema.pointer("/properties/metadata").filter(|_| is_resource) {
        let place = format!("{path}.properties[metadata]");
        let kind = text(metadata, "/type");
        if kind != "object" {
            errors.push(FieldError::invalid(format!("{place}.type"), kind, "must be object"));
        }
        let only_names = properties(metadata).all(|(name, _)| name == "name" || name == "generateName");
        let nothing_else = metadata.as_object().is_some_and(|metadata| {
            let known = ["type", "properties", "description", "default"];
            metadata.keys().all(|key| known.contains(&key.as_str()))
        });
        if level == Level::Root && !(only_names && nothing_else) {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(FieldError::forbidden(place, why));
        }
    }
    if is_set(schema, RESOURCE) && !is_set(schema, KEEPS) && properties(schema).next().is_none() {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(format!("{path}.properties"), why));
    }
}

fn junctors(schema: &Value, skip_any_of: bool, skip_first_all_of: bool, path: &str, errors: &mut Vec<FieldError>) {
    for key in ["anyOf", "allOf", "oneOf"] {
        if key == "anyOf" && skip_any_of {
            continue;
        }
        for (at, inner) in list(schema, &format!("/{key}")).iter().enumerate() {
            let skip = key == "allOf" && skip_first_all_of && at == 0;
            nested(inner, skip, &format!("{path}.{key}[{at}]"), errors);
        }
    }
    if let Some(not) = some(schema, "/not") {
        nested(not, false, &format!("{path}.not"), errors);
    }
    let pattern = text(schema, "/pattern");
    if let Err(cause) = regex::Regex::new(pattern) {
        let why = format!("must be a valid regular expression, but isn't: {cause}");
        errors.push(FieldError::invalid(format!("{path}.pattern"), pattern, why));
    }
}

/// A schema inside of a junctor: it narrows, and says nothing of the structure.
fn nested(schema: &Value, skip_any_of: bool, path: &str, errors: &mut Vec<FieldError>) {
    junctors(schema, skip_any_of, false, path, errors);
    if let Some(items) = some(schema, "/items").filter(|items| items.is_object()) {
        nested(items, false, &format!("{path}.items"), errors);
    }
    for (name, property) in properties(schema) {
        nested(property, false, &format!("{path}.properties[{name}]"), errors);
    }
    for (word, why) in [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("externalDocs", "must be undefined to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ] {
        if schema.get(word).is_some_and(|value| !value.is_null() && value != "") {
            errors.push(FieldError::forbidden(format!("{path}.{word}"), why));
        }
    }
    for word in ["nullable", KEEPS, RESOURCE, INT_OR_STRING] {
        if flag(schema, &format!("/{word}")) {
            errors.push(FieldError::forbidden(
                format!("{path}.{word}"),
                "must be false to be structural",
            ));
        }
    }
    if schema.pointer("/properties/metadata").is_some() {
        let why = "must not be specified in a nested context";
        errors.push(FieldError::forbidden(format!("{path}.properties[metadata]"), why));
    }
}

/// Whatever a junctor speaks of is there outside of it, too.
fn complete(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for key in ["anyOf", "allOf", "oneOf"] {
        for (at, inner) in list(schema, &format!("/{key}")).iter().enumerate() {
            covered(inner, Some(schema), path, &format!("{path}.{key}[{at}]"), errors);
        }
    }
    if let Some(not) = some(schema, "/not") {
        covered(not, Some(schema), path, &format!("{path}.not"), errors);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key).filter(|inner| inner.is_object()) {
            complete(inner, &format!("{path}.{key}"), errors);
        }
    }
    for (name, property) in properties(schema) {
        complete(property, &format!("{path}.properties[{name}]"), errors);
    }
}

fn covered(nested: &Value, structure: Option<&Value>, place: &str, path: &str, errors: &mut Vec<FieldError>) {
    let Some(structure) = structure else {
        let why = format!("because it is defined in {path}");
        errors.push(FieldError::required(place, why));
        return;
    };
    for key in ["anyOf", "allOf", "oneOf"] {
        for (at, inner) in list(nested, &format!("/{key}")).iter().enumerate() {
            covered(inner, Some(structure), place, &format!("{path}.{key}[{at}]"), errors);
        }
    }
    if let Some(not) = some(nested, "/not") {
        covered(not, Some(structure), place, &format!("{path}.not"), errors);
    }
    if let Some(items) = some(nested, "/items").filter(|items| items.is_object()) {
        covered(
            items,
            structure.get("items"),
            &format!("{place}.items"),
            &format!("{path}.items"),
            errors,
        );
    }
    for (name, property) in properties(nested) {
        let known = structure.get("properties").and_then(|properties| properties.get(name));
        let inside = format!("{place}.properties[{name}]");
        covered(property, known, &inside, &format!("{path}.properties[{name}]"), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_structural_is_named() {
        for (schema, expected) in [
            (json!({ "type": "object" }), None),
            (json!({}), Some("s.type: Required value: must not be empty at the root")),
            (
                json!({ "type": "string" }),
                Some("s.type: Invalid value: \"string\": must be object at the root"),
            ),
            (
                json!({ "type": "object", "properties": { "a": {} } }),
                Some("s.properties[a].type: Required value: must not be empty for specified object fields"),
            ),
            (
                json!({ "type": "object", "properties": { "a": { "type": "array" } } }),
                Some("s.properties[a].items: Required value: must be specified"),
            ),
            (
                json!({ "type": "object", "anyOf": [{ "type": "object" }] }),
                Some("s.anyOf[0].type: Forbidden: must be empty to be structural"),
            ),
            (
                json!({ "type": "object", "anyOf": [{ "properties": { "a": { "minimum": 1 } } }] }),
                Some("s.properties[a]: Required value: because it is defined in s.anyOf[0].properties[a]"),
            ),
            (
                json!({ "type": "object", "properties": { "a": { "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] } } }),
                None,
            ),
            (
                json!({ "type": "object", "properties": { "metadata": { "type": "object", "properties": { "labels": { "type": "object" } } } } }),
                Some(
                    "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
                ),
            ),
        ] {
            let found = errors(&schema, "s").first().map(ToString::to_string);
            assert_eq!(found.as_deref(), expected, "{schema}");
        }
    }
}
