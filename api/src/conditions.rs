//! `status.conditions`: what is wrong with them (apimachinery `metav1validation.ValidateConditions`).

use crate::{at::At, field::FieldError, names};
use std::collections::HashSet;

const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

/// What is wrong with the conditions in member `key` of `owner`.
pub fn check(owner: &At<'_>, key: &str) -> Vec<FieldError> {
    let (mut errors, mut types) = (Vec::new(), HashSet::new());
    for condition in owner.items(key) {
        if !types.insert(condition.text("type")) {
            errors.push(FieldError::duplicate(condition.path("type"), condition.text("type")));
        }
        errors.extend(one(&condition));
    }
    errors
}

fn one(condition: &At<'_>) -> Vec<FieldError> {
    let mut errors = condition.invalid_text("type", names::qualified_name(condition.text("type")));
    let known = ["False", "True", "Unknown"];
    if !known.contains(&condition.text("status")) {
        let status = condition.text("status");
        errors.push(FieldError::not_supported(condition.path("status"), status, &known));
    }
    if condition.int("observedGeneration") < 0 {
        errors.extend(condition.invalid("observedGeneration", ["must be greater than or equal to zero"]));
    }
    if !condition.has("lastTransitionTime") {
        errors.push(condition.required("lastTransitionTime", "must be set"));
    }
    match condition.text("reason") {
        "" => errors.push(condition.required("reason", "must be set")),
        reason => {
            if !is_reason(reason) {
                errors.extend(condition.invalid("reason", [REASON]));
            }
            if reason.len() > REASON_MAX {
                errors.push(FieldError::too_long(condition.path("reason"), REASON_MAX));
            }
        }
    }
    if condition.text("message").len() > MESSAGE_MAX {
        errors.push(FieldError::too_long(condition.path("message"), MESSAGE_MAX));
    }
    errors
}

fn is_reason(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b',' | b':');
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
        && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_are_whole_and_single() {
        let good = json!({ "type": "Ready", "status": "True", "reason": "Ok", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let status = json!({ "conditions": [good, good, { "type": "A", "status": "x", "reason": "9" }] });
        let errors = check(&At::new(&status, "status"), "conditions");
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "status.conditions[1].type",
                "status.conditions[2].status",
                "status.conditions[2].lastTransitionTime",
                "status.conditions[2].reason",
            ]
        );
    }
}
