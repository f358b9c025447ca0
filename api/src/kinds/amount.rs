//! Counts as specs and statuses write them: never negative, never above another count, or a percentage of something
//! (core `ValidateNonnegativeField`, apps `ValidatePositiveIntOrPercent`).

use crate::{field::FieldError, read};
use serde_json::Value;

/// Judges counts that are members of `object`, which stands at `path`; absent ones pass.
pub(super) fn not_negative(object: &Value, path: &str, members: &[&str]) -> Vec<FieldError> {
    let wrong = |member: &&str| {
        let number = object.get(*member).and_then(Value::as_i64).filter(|n| *n < 0)?;
        let why = "must be greater than or equal to 0";
        Some(FieldError::invalid(format!("{path}.{member}"), number, why))
    };
    members.iter().filter_map(wrong).collect()
}

/// Judges counts of which none may be above the count at `limit`; `why` names it.
pub(super) fn not_above(object: &Value, path: &str, members: &[&str], limit: &str, why: &str) -> Vec<FieldError> {
    let count = |member: &str| object.get(member).and_then(Value::as_i64).unwrap_or_default();
    let above = members.iter().filter(|member| count(member) > count(limit));
    above
        .map(|member| FieldError::invalid(format!("{path}.{member}"), count(member), why))
        .collect()
}

/// Judges a count or percentage; absent passes.
pub(super) fn int_or_percent(object: &Value, path: &str, member: &str) -> Vec<FieldError> {
    match read::some(object, &format!("/{member}")) {
        Some(Value::String(written)) if percent(written).is_none() => vec![FieldError::invalid(
            format!("{path}.{member}"),
            written.as_str(),
            "must be an integer or percentage (e.g '5%%')",
        )],
        Some(Value::Number(_)) => not_negative(object, path, &[member]),
        Some(_) | None => Vec::new(),
    }
}

/// Judges a percentage, which may not be above 100; a count passes.
pub(super) fn not_above_all(object: &Value, path: &str, member: &str) -> Vec<FieldError> {
    let written = object.get(member).and_then(Value::as_str);
    match written.and_then(percent).filter(|percent| *percent > 100) {
        Some(_) => vec![FieldError::invalid(
            format!("{path}.{member}"),
            written.unwrap_or_default(),
            "must not be greater than 100%",
        )],
        None => Vec::new(),
    }
}

/// Whether a count or percentage says none.
pub(super) fn is_zero(object: &Value, member: &str) -> bool {
    match object.get(member) {
        Some(Value::String(written)) => percent(written).unwrap_or_default() == 0,
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        _ => true,
    }
}

/// `25%` → 25. Digits and a percent sign, nothing else.
fn percent(written: &str) -> Option<i64> {
    let digits = written.strip_suffix('%')?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// Judges a member that may not change once it is set at all: `path` is `spec.selector`, the same in both objects.
pub(super) fn immutable(new: &Value, old: &Value, path: &str) -> Vec<FieldError> {
    let pointer = format!("/{}", path.replace('.', "/"));
    let (now, before) = (new.pointer(&pointer), old.pointer(&pointer));
    if is_same(now, before) {
        return Vec::new();
    }
    let shown = now.cloned().unwrap_or_default();
    vec![FieldError::invalid(path, shown, "field is immutable")]
}

/// Equal as upstream's semantic equality sees it: absent, null and empty are one.
pub(super) fn is_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let nothing = |v: Option<&Value>| match v {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::String(_) | Value::Bool(_) | Value::Number(_)) => false,
    };
    match (a, b) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.keys().chain(b.keys()).all(|key| is_same(a.get(key), b.get(key)))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(Some(a), Some(b)))
        }
        (a, b) => a == b || nothing(a) && nothing(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_and_percentages_are_judged_as_upstream() {
        for (value, message) in [
            (json!(-1), "s.m: Invalid value: -1: must be greater than or equal to 0"),
            (
                json!("x"),
                "s.m: Invalid value: \"x\": must be an integer or percentage (e.g '5%%')",
            ),
            (
                json!("-5%"),
                "s.m: Invalid value: \"-5%\": must be an integer or percentage (e.g '5%%')",
            ),
        ] {
            let errors = int_or_percent(&json!({ "m": value }), "s", "m");
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [message]);
        }
        for good in [json!(0), json!("25%"), Value::Null] {
            assert_eq!(int_or_percent(&json!({ "m": good }), "s", "m"), []);
        }
        assert_eq!(not_above_all(&json!({ "m": "101%" }), "s", "m").len(), 1);
        assert_eq!(not_above_all(&json!({ "m": 101 }), "s", "m").len(), 0);
        assert!(is_zero(&json!({ "m": "0%" }), "m") && !is_zero(&json!({ "m": 1 }), "m"));
    }

    #[test]
    fn nothing_and_empty_are_the_same() {
        assert!(is_same(
            Some(&json!({ "a": [], "b": { "c": {} } })),
            Some(&json!({ "b": {} }))
        ));
        assert!(!is_same(Some(&json!({ "a": 0 })), Some(&json!({}))));
        assert!(!is_same(Some(&json!([{}])), Some(&json!([]))));
    }
}
