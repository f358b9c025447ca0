//! What may be in a version's schema: words that are supported, kept together as they must be (apiextensions
//! `ValidateCustomResourceDefinitionOpenAPISchema`), and a structure ([`super::structural`]).

use super::structural;
use crate::{
    custom,
    field::FieldError,
    read::{flag, list, some, text},
};
use serde_json::Value;

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
/// What may stand at the root beside a status that is written apart.
const BESIDE_STATUS: &[&str] = &[
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];
const BESIDE_STATUS_TEXT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

/// Where a schema stands, as far as it matters to what it may say.
#[derive(Clone, Copy)]
struct Place<'a> {
    is_root: bool,
    in_metadata: bool,
    /// Why no default may stand here, if so.
    no_default: Option<&'a str>,
}

/// What is wrong with the schema at `path`.
pub(super) fn errors(schema: &Value, path: &str, has_status: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if has_status {
        errors.extend(beside_status(schema, path));
    }
    if flag(schema, "/nullable") {
        errors.push(FieldError::forbidden(
            format!("{path}.nullable"),
            "nullable cannot be true at the root",
        ));
    }
    let broken = structural::errors(schema, path);
    if broken.is_empty() {
        errors.extend(defaults(schema, path));
    }
    errors.extend(broken);
    let place = Place {
        is_root: true,
        in_metadata: false,
        no_default: None,
    };
    walk(schema, path, place, &mut errors);
    errors
}

fn beside_status(schema: &Value, path: &str) -> Option<FieldError> {
    let kind = text(schema, "/type");
    if !kind.is_empty() && kind != "object" {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        return Some(FieldError::invalid(format!("{path}.type"), kind, why));
    }
    let stray = schema
        .as_object()?
        .keys()
        .any(|key| !BESIDE_STATUS.contains(&key.as_str()));
    stray.then(|| {
        let why = format!(
            "only {BESIDE_STATUS_TEXT} fields are allowed at the root of the schema if the status subresource is enabled"
        );
        FieldError::invalid(path, schema.clone(), why)
    })
}

/// Defaults must be what the schema itself would take.
fn defaults(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(default) = schema.get("default") {
        errors.extend(custom::default_errors(schema, default, &format!("{path}.default")));
    }
    for (inner, place) in inner(schema, path) {
        errors.extend(defaults(inner, &place));
    }
    errors
}

/// The schemas of members and items, with their paths.
fn inner<'a>(schema: &'a Value, path: &str) -> Vec<(&'a Value, String)> {
    let mut found = Vec::new();
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key).filter(|inner| inner.is_object()) {
            found.push((inner, format!("{path}.{key}")));
        }
    }
    for (name, inner) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        found.push((inner, format!("{path}.properties[{name}]")));
    }
    found
}

fn walk(schema: &Value, path: &str, place: Place<'_>, errors: &mut Vec<FieldError>) {
    unsupported(schema, path, place, errors);
    if flag(schema, "/uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(format!("{path}.uniqueItems"), why));
    }
    let has_properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|p| !p.is_empty());
    let additional = some(schema, "/additionalProperties");
    if has_properties && additional.is_some_and(|additional| additional != true) {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(format!("{path}.additionalProperties"), why));
    }
    lists_and_maps(schema, path, errors);
    rules(schema, path, errors);
    let is_resource = place.is_root || flag(schema, "/x-kubernetes-embedded-resource");
    for (inner, inner_path) in inner(schema, path) {
        let name = inner_path
            .strip_prefix(&format!("{path}.properties["))
            .and_then(|n| n.strip_suffix(']'));
        let of_metadata = is_resource && name.is_some_and(|n| matches!(n, "metadata" | "kind" | "apiVersion"));
        let reason = name.map(|name| format!("in top-level {name}")).unwrap_or_default();
        let no_default = match place.no_default {
            None if of_metadata && place.is_root => Some(reason.as_str()),
            None if place.in_metadata && name.is_none() && inner_path.ends_with(".additionalProperties") => {
                Some("inside additionalProperties applying to object metadata")
            }
            already => already,
        };
        let inside = Place {
            is_root: false,
            in_metadata: place.in_metadata || of_metadata,
            no_default,
        };
        walk(inner, &inner_path, inside, errors);
    }
    let nested = Place {
        is_root: false,
        ..place
    };
    for key in ["allOf", "anyOf", "oneOf"] {
        for (at, inner) in list(schema, &format!("/{key}")).iter().enumerate() {
            walk(inner, &format!("{path}.{key}[{at}]"), nested, errors);
        }
    }
    if let Some(not) = some(schema, "/not") {
        walk(not, &format!("{path}.not"), nested, errors);
    }
}

fn unsupported(schema: &Value, path: &str, place: Place<'_>, errors: &mut Vec<FieldError>) {
    let kind = text(schema, "/type");
    if kind == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(format!("{path}.type"), why));
    } else if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(format!("{path}.type"), kind, TYPES));
    }
    if let (true, Some(why)) = (schema.get("default").is_some(), place.no_default) {
        errors.push(FieldError::forbidden(
            format!("{path}.default"),
            format!("must not be set {why}"),
        ));
    }
    for word in [
        "id",
        "additionalItems",
        "patternProperties",
        "definitions",
        "dependencies",
        "$ref",
    ] {
        if schema.get(word).is_some_and(|value| !value.is_null()) {
            errors.push(FieldError::forbidden(
                format!("{path}.{word}"),
                format!("{word} is not supported"),
            ));
        }
    }
    if schema.get("items").is_some_and(Value::is_array) {
        let why = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(format!("{path}.items"), why));
    }
    const KEEPS: &str = "x-kubernetes-preserve-unknown-fields";
    if schema.get(KEEPS) == Some(&Value::Bool(false)) {
        errors.push(FieldError::invalid(
            format!("{path}.{KEEPS}"),
            false,
            "must be true or undefined",
        ));
    }
    if place.in_metadata && flag(schema, "/x-kubernetes-embedded-resource") {
        let why = "must not be used inside of resource meta";
        errors.push(FieldError::forbidden(
            format!("{path}.x-kubernetes-embedded-resource"),
            why,
        ));
    }
}

fn lists_and_maps(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let kind = text(schema, "/type");
    for (word, wanted, known) in [
        ("x-kubernetes-map-type", "object", &["atomic", "granular"][..]),
        ("x-kubernetes-list-type", "array", &["atomic", "set", "map"][..]),
    ] {
        let value = text(schema, &format!("/{word}"));
        if value.is_empty() {
            continue;
        }
        let why = format!("must be {wanted} if {word} is specified");
        match kind {
            "" => errors.push(FieldError::required(format!("{path}.type"), why)),
            kind if kind != wanted => errors.push(FieldError::invalid(format!("{path}.type"), kind, why)),
            _ => {}
        }
        if !known.contains(&value) {
            errors.push(FieldError::not_supported(format!("{path}.{word}"), value, known));
        }
    }
    let list_type = text(schema, "/x-kubernetes-list-type");
    let keys: Vec<&str> = list(schema, "/x-kubernetes-list-map-keys")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if !keys.is_empty() && list_type != "map" {
        let (place, why) = (
            format!("{path}.x-kubernetes-list-type"),
            "must be map if x-kubernetes-list-map-keys is non-empty",
        );
        errors.push(if list_type.is_empty() {
            FieldError::required(place, why)
        } else {
            FieldError::invalid(place, list_type, why)
        });
    }
    match list_type {
        "map" => map_list(schema, path, &keys, errors),
        "set" => set_list(schema, path, errors),
        _ => {}
    }
    if matches!(list_type, "map" | "set") && flag(schema, "/items/nullable") {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.push(FieldError::forbidden(format!("{path}.items.nullable"), why));
    }
}

fn set_list(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let inner = |word: &str| text(schema, &format!("/items/{word}"));
    let (list_type, map_type) = (inner("x-kubernetes-list-type"), inner("x-kubernetes-map-type"));
    match inner("type") {
        "array" if !matches!(list_type, "" | "atomic") => {
            errors.push(FieldError::invalid(
                format!("{path}.items.x-kubernetes-list-type"),
                list_type,
                why,
            ));
        }
        "object" if map_type != "atomic" => {
            errors.push(FieldError::invalid(
                format!("{path}.items.x-kubernetes-map-type"),
                map_type,
                why,
            ));
        }
        _ => {}
    }
}

fn map_list(schema: &Value, path: &str, keys: &[&str], errors: &mut Vec<FieldError>) {
    const KEYS: &str = "x-kubernetes-list-map-keys";
    if keys.is_empty() {
        let why = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(format!("{path}.{KEYS}"), why));
    }
    let Some(items) = some(schema, "/items") else {
        let why = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(format!("{path}.items"), why));
        return;
    };
    let kind = text(items, "/type");
    if kind != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(format!("{path}.items.type"), kind, why));
        return;
    }
    let as_value = || Value::from(keys.to_vec());
    let required = list(items, "/required");
    for (at, key) in keys.iter().enumerate() {
        let place = format!("{path}.items.properties[{key}]");
        match items.get("properties").and_then(|properties| properties.get(*key)) {
            None => {
                let why = "entries must all be names of item properties";
                errors.push(FieldError::invalid(format!("{path}.{KEYS}"), as_value(), why));
            }
            Some(property) => {
                if matches!(text(property, "/type"), "array" | "object") {
                    let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    errors.push(FieldError::invalid(format!("{place}.type"), kind, why));
                }
                if !required.iter().any(|name| name == key) && property.get("default").is_none() {
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                    errors.push(FieldError::required(format!("{place}.default"), why));
                }
                if flag(property, "/nullable") {
                    let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                    errors.push(FieldError::forbidden(format!("{place}.nullable"), why));
                }
            }
        }
        if keys[..at].contains(key) {
            errors.push(FieldError::invalid(
                format!("{path}.{KEYS}"),
                as_value(),
                "must not contain duplicate entries",
            ));
        }
    }
}

/// What can be said of CEL rules without compiling them; the seam for doing so.
fn rules(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (at, rule) in list(schema, "/x-kubernetes-validations").iter().enumerate() {
        let place = format!("{path}.x-kubernetes-validations[{at}]");
        let (written, message) = (text(rule, "/rule"), text(rule, "/message"));
        if written.trim().is_empty() {
            errors.push(FieldError::required(format!("{place}.rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            let why = "must be non-empty if specified";
            errors.push(FieldError::invalid(format!("{place}.message"), message, why));
        } else if message.trim().contains(['\n', '\r']) {
            errors.push(FieldError::invalid(
                format!("{place}.message"),
                message,
                "must not contain line breaks",
            ));
        } else if written.trim().contains(['\n', '\r']) && message.trim().is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(format!("{place}.message"), why));
        }
        let known = [
            "FieldValueDuplicate",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueRequired",
        ];
        let reason = text(rule, "/reason");
        if !reason.is_empty() && !known.contains(&reason) {
            errors.push(FieldError::not_supported(format!("{place}.reason"), reason, &known));
        }
    }
}
