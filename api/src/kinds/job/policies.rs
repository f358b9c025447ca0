//! What is wrong with the policies of a job: when a failure counts, when a success is enough, when a pod is replaced.

use crate::{
    field::{FieldError, Reason},
    names,
    read::{int, list, some, text},
};
use serde_json::Value;

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;

/// Limits of single indexes, which only indexed jobs have.
pub(super) fn per_index(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let indexed = text(spec, "/completionMode") == "Indexed";
    if let Some(limit) = some(spec, "/backoffLimitPerIndex").filter(|_| !indexed) {
        let field = format!("{path}.backoffLimitPerIndex");
        errors.push(FieldError::invalid(
            field,
            limit.clone(),
            "requires indexed completion mode",
        ));
    }
    if let Some(most) = some(spec, "/maxFailedIndexes") {
        if some(spec, "/backoffLimitPerIndex").is_none() {
            let field = format!("{path}.backoffLimitPerIndex");
            errors.push(FieldError::required(field, "when maxFailedIndexes is specified"));
        }
        if some(spec, "/completions").is_some() && most.as_i64() > Some(int(spec, "/completions")) {
            let field = format!("{path}.maxFailedIndexes");
            errors.push(FieldError::invalid(
                field,
                most.clone(),
                "must be less than or equal to completions",
            ));
        }
    }
    errors
}

/// An `Invalid` that shows no value.
fn invalid(field: impl Into<String>, why: &str) -> FieldError {
    FieldError {
        field: field.into(),
        reason: Reason::Invalid,
        value: None,
        detail: why.to_owned(),
    }
}

pub(super) fn pod_failure(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let rules_path = format!("{path}.podFailurePolicy.rules");
    let rules = list(spec, "/podFailurePolicy/rules");
    if rules.len() > RULES_MAX {
        errors.push(FieldError::too_many(rules_path.as_str(), rules.len(), RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{rules_path}[{index}]");
        errors.extend(action(rule, &path, spec));
        let codes = some(rule, "/onExitCodes");
        let conditions = list(rule, "/onPodConditions");
        match (codes, conditions) {
            (Some(_), [_, ..]) => errors.push(invalid(
                path.as_str(),
                "specifying both OnExitCodes and OnPodConditions is not supported",
            )),
            (None, []) => errors.push(invalid(
                path.as_str(),
                "specifying one of OnExitCodes and OnPodConditions is required",
            )),
            (Some(_), []) | (None, [_, ..]) => {}
        }
        if let Some(codes) = codes {
            errors.extend(exit_codes(codes, &format!("{path}.onExitCodes"), spec));
        }
        errors.extend(pod_conditions(conditions, &format!("{path}.onPodConditions")));
    }
    errors
}

fn action(rule: &Value, path: &str, spec: &Value) -> Option<FieldError> {
    let field = format!("{path}.action");
    let known = ["Count", "FailIndex", "FailJob", "Ignore"];
    match text(rule, "/action") {
        "" => Some(FieldError::required(
            field,
            "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
        )),
        "FailIndex" if some(spec, "/backoffLimitPerIndex").is_none() => {
            let why = "requires the backoffLimitPerIndex to be set";
            Some(FieldError::invalid(field, "FailIndex", why))
        }
        word if known.contains(&word) => None,
        word => Some(FieldError::not_supported(field, word, &known)),
    }
}

fn exit_codes(codes: &Value, path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let operator = text(codes, "/operator");
    if !["In", "NotIn"].contains(&operator) {
        let field = format!("{path}.operator");
        errors.push(match operator {
            "" => FieldError::required(field, "valid values: [\"In\" \"NotIn\"]"),
            word => FieldError::not_supported(field, word, &["In", "NotIn"]),
        });
    }
    if let Some(name) = some(codes, "/containerName").and_then(Value::as_str) {
        let mut containers = ["/template/spec/containers", "/template/spec/initContainers"]
            .into_iter()
            .flat_map(|at| list(spec, at));
        if !containers.any(|c| text(c, "/name") == name) {
            let why = "must be one of the container or initContainer names in the pod template";
            errors.push(FieldError::invalid(format!("{path}.containerName"), name, why));
        }
    }
    let values_path = format!("{path}.values");
    let values: Vec<i64> = list(codes, "/values").iter().filter_map(Value::as_i64).collect();
    let shown = || codes.get("values").cloned().unwrap_or_default();
    if values.is_empty() {
        errors.push(FieldError::invalid(
            values_path.as_str(),
            shown(),
            "at least one value is required",
        ));
    } else if values.len() > EXIT_CODES_MAX {
        errors.push(FieldError::too_many(values_path.as_str(), values.len(), EXIT_CODES_MAX));
    }
    for (index, code) in values.iter().enumerate() {
        let field = format!("{values_path}[{index}]");
        if *code == 0 && operator == "In" {
            errors.push(FieldError::invalid(field, 0, "must not be 0 for the In operator"));
        } else if values[..index].contains(code) {
            errors.push(FieldError::duplicate(field, *code));
        }
    }
    if !values.is_sorted() {
        errors.push(FieldError::invalid(values_path, shown(), "must be ordered"));
    }
    errors
}

fn pod_conditions(conditions: &[Value], path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if conditions.len() > RULES_MAX {
        errors.push(FieldError::too_many(path, conditions.len(), RULES_MAX));
    }
    for (index, condition) in conditions.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let kind = text(condition, "/type");
        let wrong = names::qualified_name(kind);
        errors.extend(
            wrong
                .into_iter()
                .map(|m| FieldError::invalid(format!("{path}.type"), kind, m)),
        );
        let (status, known) = (text(condition, "/status"), ["False", "True", "Unknown"]);
        if !known.contains(&status) {
            errors.push(FieldError::not_supported(format!("{path}.status"), status, &known));
        }
    }
    errors
}

pub(super) fn success(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let Some(policy) = some(spec, "/successPolicy") else {
        return errors;
    };
    let path = format!("{path}.successPolicy");
    if text(spec, "/completionMode") != "Indexed" {
        errors.push(FieldError::invalid(
            path.as_str(),
            policy.clone(),
            "requires indexed completion mode",
        ));
        return errors;
    }
    let rules = list(policy, "/rules");
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(format!("{path}.rules"), why));
    } else if rules.len() > RULES_MAX {
        errors.push(FieldError::too_many(format!("{path}.rules"), rules.len(), RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{path}.rules[{index}]");
        let (count, indexes) = (some(rule, "/succeededCount"), some(rule, "/succeededIndexes"));
        if count.is_none() && indexes.is_none() {
            let why = "at least one of succeededCount or succeededIndexes must be specified";
            errors.push(FieldError::required(path.as_str(), why));
        }
        if let Some(count) = count.and_then(Value::as_i64) {
            let field = format!("{path}.succeededCount");
            if count < 1 {
                errors.push(FieldError::invalid(field, count, "must be greater than or equal to 0"));
            } else if count > int(spec, "/completions") {
                let why = format!(
                    "must be less than or equal to {} (the number of specified completions)",
                    int(spec, "/completions")
                );
                errors.push(FieldError::invalid(field, count, why));
            }
        }
    }
    errors
}

pub(super) fn replacement(spec: &Value, path: &str) -> Option<FieldError> {
    let policy = some(spec, "/podReplacementPolicy").and_then(Value::as_str)?;
    let known: &[&str] = match some(spec, "/podFailurePolicy") {
        Some(_) => &["Failed"],
        None => &["Failed", "TerminatingOrFailed"],
    };
    let field = format!("{path}.podReplacementPolicy");
    (!known.contains(&policy)).then(|| FieldError::not_supported(field, policy, known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_of_exit_codes_are_judged_as_upstream() {
        let rule = |codes: Value| {
            let spec = json!({
                "template": { "spec": { "containers": [{ "name": "c" }] } },
                "podFailurePolicy": { "rules": [{ "action": "FailJob", "onExitCodes": codes }] },
            });
            pod_failure(&spec, "spec")
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let at = "spec.podFailurePolicy.rules[0].onExitCodes";
        assert_eq!(
            rule(json!({ "operator": "In", "values": [1, 2], "containerName": "c" })),
            Vec::<String>::new()
        );
        for (codes, message) in [
            (
                json!({ "operator": "In", "values": [] }),
                format!("{at}.values: Invalid value: []: at least one value is required"),
            ),
            (
                json!({ "operator": "In", "values": [0] }),
                format!("{at}.values[0]: Invalid value: 0: must not be 0 for the In operator"),
            ),
            (
                json!({ "operator": "NotIn", "values": [2, 1] }),
                format!("{at}.values: Invalid value: [2,1]: must be ordered"),
            ),
            (
                json!({ "operator": "In", "values": [1], "containerName": "x" }),
                format!(
                    "{at}.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template"
                ),
            ),
        ] {
            assert_eq!(rule(codes), [message]);
        }
    }
}
