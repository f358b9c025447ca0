//! What may be in a version's printer columns and selectable fields.

use crate::{
    custom::path::JsonPath,
    field::FieldError,
    read::{list, text},
};
use serde_json::Value;
use std::collections::HashSet;

const TYPES: &str = "boolean,date,integer,number,string";
const FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";
/// Upstream's `MaxSelectableFields`.
const MAX_FIELDS: usize = 8;

/// What is wrong with them in the version at `path`.
pub(super) fn errors(version: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (at, column) in list(version, "/additionalPrinterColumns").iter().enumerate() {
        errors.extend(column_errors(column, &format!("{path}.additionalPrinterColumns[{at}]")));
    }
    errors.extend(field_errors(version, &format!("{path}.selectableFields")));
    errors
}

fn column_errors(column: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let known = |words: &str, word: &str| words.split(',').any(|w| w == word);
    if text(column, "/name").is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let kind = text(column, "/type");
    if kind.is_empty() {
        errors.push(FieldError::required(
            format!("{path}.type"),
            format!("must be one of {TYPES}"),
        ));
    } else if !known(TYPES, kind) {
        errors.push(FieldError::invalid(
            format!("{path}.type"),
            kind,
            format!("must be one of {TYPES}"),
        ));
    }
    let format = text(column, "/format");
    if !format.is_empty() && !known(FORMATS, format) {
        let why = format!("must be one of {FORMATS}");
        errors.push(FieldError::invalid(format!("{path}.format"), format, why));
    }
    let json_path = text(column, "/jsonPath");
    if json_path.is_empty() {
        errors.push(FieldError::required(format!("{path}.JSONPath"), ""));
    } else if let Some(why) = no_simple_path(json_path) {
        errors.push(FieldError::invalid(format!("{path}.JSONPath"), json_path, why));
    }
    errors
}

/// Why a text is no simple JSON path, if it is none.
pub(super) fn no_simple_path(path: &str) -> Option<&'static str> {
    match path {
        "" => Some("must not be empty"),
        path if !path.starts_with('.') => Some("must be a simple json path starting with ."),
        path if path != "." && JsonPath::parse(path).is_none() => Some("must be a json path in the dot notation"),
        _ => None,
    }
}

fn field_errors(version: &Value, path: &str) -> Vec<FieldError> {
    let (mut errors, mut seen) = (Vec::new(), HashSet::new());
    let fields = list(version, "/selectableFields");
    let schema = &version["schema"]["openAPIV3Schema"];
    for (at, field) in fields.iter().enumerate() {
        let place = format!("{path}[{at}].jsonPath");
        let written = text(field, "/jsonPath");
        if written.is_empty() {
            errors.push(FieldError::required(place, ""));
            continue;
        }
        let names = JsonPath::parse(written)
            .and_then(|path| Some(path.members()?.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        let Some(names) = names.filter(|names| written.starts_with('.') && !names.is_empty()) else {
            let why = "is an invalid path: does not refer to a valid field";
            errors.push(FieldError::invalid(place, written, why));
            continue;
        };
        if names[0] == "metadata" {
            errors.push(FieldError::invalid(
                place,
                written,
                "must not point to fields in metadata",
            ));
            continue;
        }
        let found = names
            .iter()
            .try_fold(schema, |at, name| at.get("properties")?.get(name));
        match found.map(|found| text(found, "/type")) {
            None => {
                let why = "is an invalid path: does not refer to a valid field";
                errors.push(FieldError::invalid(place.as_str(), written, why));
            }
            Some("string" | "boolean" | "integer") => {}
            Some(_) => {
                let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                errors.push(FieldError::invalid(place.as_str(), written, why));
            }
        }
        if !seen.insert(written) {
            errors.push(FieldError::duplicate(place, written));
        }
    }
    if seen.len() > MAX_FIELDS {
        errors.push(FieldError::too_many(path, seen.len(), MAX_FIELDS));
    }
    errors
}
