//! Whole resources inside a custom resource (`x-kubernetes-embedded-resource`): their kind and metadata are judged too
//! (apiextensions `schema/objectmeta`).

use super::structural::Structural;
use super::validate::child;
use crate::field::FieldError;
use crate::{metadata, names, read::text};
use serde_json::Value;

/// What is wrong with the resources inside `value`.
pub(super) fn errors(schema: &Structural, value: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(schema, value, path, &mut errors);
    errors
}

fn walk(schema: &Structural, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(members) => {
            if schema.is_resource {
                check(value, path, errors);
            }
            for (name, value) in members {
                if let Some(member) = schema.member(name) {
                    walk(member, value, &child(path, name), errors);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for (at, item) in items.iter().enumerate() {
                walk(schema, item, &format!("{path}[{at}]"), errors);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check(resource: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (api_version, kind) = (text(resource, "/apiVersion"), text(resource, "/kind"));
    if api_version.is_empty() {
        errors.push(FieldError::required(child(path, "apiVersion"), "must not be empty"));
    } else if api_version.matches('/').count() > 1 {
        let why = format!("unexpected GroupVersion string: {api_version}");
        errors.push(FieldError::invalid(child(path, "apiVersion"), api_version, why));
    }
    if kind.is_empty() {
        errors.push(FieldError::required(child(path, "kind"), "must not be empty"));
    } else {
        let wrong = names::dns1035_label(&kind.to_lowercase());
        if !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.push(FieldError::invalid(child(path, "kind"), kind, why));
        }
    }
    let meta = child(path, "metadata");
    errors.extend(metadata::labels(
        resource.pointer("/metadata/labels"),
        &child(&meta, "labels"),
    ));
    errors.extend(metadata::annotations(
        resource.pointer("/metadata/annotations"),
        &child(&meta, "annotations"),
    ));
}
