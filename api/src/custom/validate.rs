//! Holds a custom resource against its schema, with upstream's sentences (kube-openapi `pkg/validation`, translated to field
//! errors as by apiextensions `pkg/apiserver/validation`).

use super::format;
use super::structural::{Checks, Structural};
use crate::field::{FieldError, quoted};
use serde_json::{Number, Value};

/// What is wrong with `value`, which stands at `path` (empty for the whole object).
pub(super) fn errors(schema: &Structural, value: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(schema, value, path, &mut errors);
    errors
}

fn check(schema: &Structural, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    check_type(schema, value, path, errors);
    if value.is_null() {
        check_enum(&schema.checks, value, path, errors);
        return;
    }
    check_junctors(&schema.checks, value, path, errors);
    match value {
        Value::String(text) => check_text(&schema.checks, text, path, errors),
        Value::Number(number) => check_number(&schema.checks, number, path, errors),
        Value::Array(items) => check_list(schema, items, path, errors),
        Value::Null | Value::Bool(_) | Value::Object(_) => {}
    }
    check_enum(&schema.checks, value, path, errors);
    if value.is_object() {
        check_object(schema, value, path, errors);
    }
}

fn check_type(schema: &Structural, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let wanted = if schema.int_or_string {
        "integer,string"
    } else {
        schema.kind.as_str()
    };
    let is_whole = |n: &Number| n.is_i64() || n.is_u64() || n.as_f64().is_some_and(|n| n.fract() == 0.0);
    let (got, fits) = match value {
        Value::Null => ("null", schema.nullable),
        Value::Bool(_) => ("boolean", wanted == "boolean"),
        Value::Number(n) if n.is_f64() => (
            "number",
            wanted == "number" || wanted.starts_with("integer") && is_whole(n),
        ),
        Value::Number(_) => ("integer", wanted == "number" || wanted.starts_with("integer")),
        Value::String(_) => ("string", wanted.ends_with("string")),
        Value::Array(_) => ("array", wanted == "array"),
        Value::Object(_) => ("object", wanted == "object"),
    };
    if !fits && !wanted.is_empty() {
        let why = format!("{path} in body must be of type {wanted}: {}", quoted(got));
        errors.push(FieldError::type_invalid(path, got, why));
    }
}

fn check_enum(checks: &Checks, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if checks.one_of_values.is_empty() || checks.one_of_values.iter().any(|known| equal(known, value)) {
        return;
    }
    let known: Vec<String> = checks
        .one_of_values
        .iter()
        .map(|known| known.as_str().map_or_else(|| known.to_string(), str::to_owned))
        .collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    errors.push(FieldError::not_supported(path, value.clone(), &known));
}

/// Equality in which 1 and 1.0 are one.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

fn check_text(checks: &Checks, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let length = text.chars().count() as u64;
    if let Some(limit) = checks.max_length.filter(|limit| length > *limit) {
        errors.push(FieldError::too_long(path, usize::try_from(limit).unwrap_or(usize::MAX)));
    }
    if let Some(least) = checks.min_length.filter(|least| length < *least) {
        let why = format!("{path} in body should be at least {least} chars long");
        errors.push(FieldError::invalid(path, text, why));
    }
    if let Some((pattern, _)) = checks.pattern.as_ref().filter(|(_, regex)| !regex.is_match(text)) {
        errors.push(FieldError::invalid(
            path,
            text,
            format!("{path} in body should match '{pattern}'"),
        ));
    }
    if !format::fits(&checks.format, text) {
        let why = format!("{path} in body must be of type {}: {}", checks.format, quoted(text));
        errors.push(FieldError::type_invalid(path, text, why));
    }
}

fn check_number(checks: &Checks, number: &Number, path: &str, errors: &mut Vec<FieldError>) {
    let Some(value) = number.as_f64() else { return };
    let mut refuse = |why: String| {
        let sentence = format!("{path} in body {why}");
        errors.push(FieldError::invalid(path, Value::Number(number.clone()), sentence));
    };
    if let Some(factor) = checks
        .multiple_of
        .filter(|factor| *factor > 0.0 && (value / factor).fract() != 0.0)
    {
        refuse(format!("should be a multiple of {}", go_float(factor)));
    }
    if let Some(most) = checks.maximum {
        if checks.exclusive_maximum && value >= most {
            refuse(format!("should be less than {}", go_float(most)));
        } else if value > most {
            refuse(format!("should be less than or equal to {}", go_float(most)));
        }
    }
    if let Some(least) = checks.minimum {
        if checks.exclusive_minimum && value <= least {
            refuse(format!("should be greater than {}", go_float(least)));
        } else if value < least {
            refuse(format!("should be greater than or equal to {}", go_float(least)));
        }
    }
    let wrong_width = match checks.format.as_str() {
        "int32" => number.as_i64().is_some_and(|n| i32::try_from(n).is_err()),
        "float" => value.abs() > f64::from(f32::MAX),
        _ => false,
    };
    if wrong_width {
        refuse(format!(
            "must be of type {}: {}",
            checks.format,
            quoted(&number.to_string())
        ));
    }
}

/// A float as Go's `%v` writes it.
fn go_float(value: f64) -> String {
    let magnitude = value.abs();
    // strconv's 'g' with the shortest digits takes an exponent from 1e6 on, and below 1e-4.
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    value.to_string()
}

fn check_list(schema: &Structural, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let checks = &schema.checks;
    if let Some(items_schema) = &schema.items {
        for (index, item) in items.iter().enumerate() {
            check(items_schema, item, &format!("{path}[{index}]"), errors);
        }
    }
    let count = items.len() as u64;
    if let Some(least) = checks.min_items.filter(|least| count < *least) {
        let why = format!("{path} in body should have at least {least} items");
        errors.push(FieldError::invalid(path, items.to_vec(), why));
    }
    if let Some(limit) = checks.max_items.filter(|limit| count > *limit) {
        errors.push(FieldError::too_many(
            path,
            items.len(),
            usize::try_from(limit).unwrap_or(usize::MAX),
        ));
    }
    if checks.unique_items && items.iter().enumerate().any(|(at, item)| items[..at].contains(item)) {
        let why = format!("{path} in body shouldn't contain duplicates");
        errors.push(FieldError::invalid(path, items.to_vec(), why));
    }
}

fn check_object(schema: &Structural, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(members) = value.as_object() else { return };
    let checks = &schema.checks;
    let count = members.len() as u64;
    if let Some(least) = checks.min_properties.filter(|least| count < *least) {
        let why = format!("{path} in body should have at least {least} properties");
        errors.push(FieldError::invalid(path, value.clone(), why));
    }
    if let Some(limit) = checks.max_properties.filter(|limit| count > *limit) {
        errors.push(FieldError::too_many(
            path,
            members.len(),
            usize::try_from(limit).unwrap_or(usize::MAX),
        ));
    }
    for (name, value) in members {
        if let Some(member) = schema.member(name) {
            check(member, value, &child(path, name), errors);
        }
    }
    for name in checks.required.iter().filter(|name| !members.contains_key(*name)) {
        errors.push(FieldError::required(child(path, name), ""));
    }
}

/// `allOf`, `anyOf`, `oneOf`, `not`. Upstream reports them without a field, beside what the best alternative lacks.
fn check_junctors(checks: &Checks, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let judge = |schemas: &[Structural]| -> Vec<Vec<FieldError>> {
        schemas.iter().map(|schema| self::errors(schema, value, path)).collect()
    };
    let whole = |why: String| FieldError::invalid("<nil>", "", format!("{} {why}", quoted(path)));
    let best = |found: Vec<Vec<FieldError>>| found.into_iter().min_by_key(Vec::len).unwrap_or_default();
    if !checks.any_of.is_empty() {
        let found = judge(&checks.any_of);
        if found.iter().all(|errors| !errors.is_empty()) {
            errors.push(whole("must validate at least one schema (anyOf)".to_owned()));
            errors.extend(best(found));
        }
    }
    if !checks.one_of.is_empty() {
        let found = judge(&checks.one_of);
        let good = found.iter().filter(|errors| errors.is_empty()).count();
        let message = "must validate one and only one schema (oneOf).";
        if good == 0 {
            errors.push(whole(format!("{message} Found none valid")));
            errors.extend(best(found));
        } else if good > 1 {
            errors.push(whole(format!("{message} Found {good} valid alternatives")));
        }
    }
    if !checks.all_of.is_empty() {
        let found = judge(&checks.all_of);
        let good = found.iter().filter(|errors| errors.is_empty()).count();
        let all = found.len();
        errors.extend(found.into_iter().flatten());
        if good < all {
            let tail = if good == 0 { ". None validated" } else { "" };
            errors.push(whole(format!("must validate all the schemas (allOf){tail}")));
        }
    }
    if checks
        .not
        .as_ref()
        .is_some_and(|not| self::errors(not, value, path).is_empty())
    {
        errors.push(whole("must not validate the schema (not)".to_owned()));
    }
}

/// The path of a member.
pub(super) fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sentences_are_upstreams() {
        let cases = [
            (
                json!({ "type": "integer" }),
                json!("x"),
                "f: Invalid value: \"string\": f in body must be of type integer: \"string\"",
            ),
            (
                json!({ "type": "integer" }),
                json!(1.5),
                "f: Invalid value: \"number\": f in body must be of type integer: \"number\"",
            ),
            (
                json!({ "type": "string" }),
                json!(null),
                "f: Invalid value: \"null\": f in body must be of type string: \"null\"",
            ),
            (
                json!({ "x-kubernetes-int-or-string": true }),
                json!(true),
                "f: Invalid value: \"boolean\": f in body must be of type integer,string: \"boolean\"",
            ),
            (
                json!({ "type": "string", "enum": ["a", "b"] }),
                json!("c"),
                "f: Unsupported value: \"c\": supported values: \"a\", \"b\"",
            ),
            (
                json!({ "type": "integer", "minimum": 10 }),
                json!(5),
                "f: Invalid value: 5: f in body should be greater than or equal to 10",
            ),
            (
                json!({ "type": "number", "maximum": 0.5, "exclusiveMaximum": true }),
                json!(0.5),
                "f: Invalid value: 0.5: f in body should be less than 0.5",
            ),
            (
                json!({ "type": "integer", "multipleOf": 3 }),
                json!(5),
                "f: Invalid value: 5: f in body should be a multiple of 3",
            ),
            (
                json!({ "type": "string", "minLength": 2 }),
                json!("a"),
                "f: Invalid value: \"a\": f in body should be at least 2 chars long",
            ),
            (
                json!({ "type": "string", "maxLength": 2 }),
                json!("abc"),
                "f: Too long: may not be more than 2 bytes",
            ),
            (
                json!({ "type": "string", "pattern": "^a+$" }),
                json!("b"),
                "f: Invalid value: \"b\": f in body should match '^a+$'",
            ),
            (
                json!({ "type": "string", "format": "date-time" }),
                json!("b"),
                "f: Invalid value: \"b\": f in body must be of type date-time: \"b\"",
            ),
            (
                json!({ "type": "array", "minItems": 1 }),
                json!([]),
                "f: Invalid value: []: f in body should have at least 1 items",
            ),
            (
                json!({ "type": "array", "maxItems": 1 }),
                json!([1, 2]),
                "f: Too many: 2: must have at most 1 item",
            ),
            (
                json!({ "type": "object", "required": ["a"] }),
                json!({}),
                "f.a: Required value",
            ),
            (
                json!({ "type": "object", "minProperties": 1 }),
                json!({}),
                "f: Invalid value: {}: f in body should have at least 1 properties",
            ),
            (
                json!({ "not": { "required": ["a"] } }),
                json!({ "a": 1 }),
                "<nil>: Invalid value: \"\": \"f\" must not validate the schema (not)",
            ),
            (
                json!({ "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] }),
                json!({ "a": 1, "b": 1 }),
                "<nil>: Invalid value: \"\": \"f\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ),
            (
                json!({ "type": "array", "items": { "type": "object", "properties": { "a": { "type": "string" } } } }),
                json!([{}, { "a": 1 }]),
                "f[1].a: Invalid value: \"integer\": f[1].a in body must be of type string: \"integer\"",
            ),
        ];
        for (schema, value, sentence) in cases {
            let found: Vec<String> = errors(&Structural::of(&schema), &value, "f")
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found.first().map(String::as_str), Some(sentence), "{schema}");
        }
    }

    #[test]
    fn what_fits_passes() {
        for (schema, value) in [
            (json!({ "type": "integer" }), json!(1.0)),
            (json!({ "type": "number" }), json!(1)),
            (json!({ "type": "string", "nullable": true }), json!(null)),
            (json!({ "type": "integer", "enum": [1, 2] }), json!(1.0)),
            (json!({ "x-kubernetes-int-or-string": true }), json!("80%")),
            (
                json!({ "x-kubernetes-preserve-unknown-fields": true }),
                json!([{ "a": null }]),
            ),
            (
                json!({ "type": "object", "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] }),
                json!({ "b": 1 }),
            ),
        ] {
            assert_eq!(errors(&Structural::of(&schema), &value, "f"), [], "{schema}");
        }
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (value, text) in [
            (1.0, "1"),
            (0.5, "0.5"),
            (65535.0, "65535"),
            (1e6, "1e+06"),
            (1e-7, "1e-07"),
        ] {
            assert_eq!(go_float(value), text);
        }
    }
}
