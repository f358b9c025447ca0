//! What is wrong with the policies of a job: when a failure counts, when a success is enough, when a pod is replaced.

use super::indexes;
use crate::{
    field::{FieldError, Reason},
    kinds::amount::not_negative,
    names,
    read::{int, list, some, text},
};
use serde_json::Value;

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
/// In bytes; upstream's limit.
const INDEXES_MAX: usize = 64 * 1024;

/// How many indexes may fail is a question only where each may fail by itself.
pub(super) fn per_index(spec: &Value, path: &str) -> Option<FieldError> {
    let needs = some(spec, "/maxFailedIndexes").is_some() && some(spec, "/backoffLimitPerIndex").is_none();
    let field = format!("{path}.backoffLimitPerIndex");
    needs.then(|| FieldError::required(field, "when maxFailedIndexes is specified"))
}

/// What only indexed jobs have.
pub(super) fn needs_indexes(spec: &Value, path: &str) -> Vec<FieldError> {
    let members = ["backoffLimitPerIndex", "maxFailedIndexes"].into_iter();
    let given = members.filter_map(|member| Some((member, some(spec, &format!("/{member}"))?)));
    let why = "requires indexed completion mode";
    given
        .map(|(member, shown)| FieldError::invalid(format!("{path}.{member}"), shown.clone(), why))
        .collect()
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
        if let Some(codes) = codes {
            errors.extend(exit_codes(codes, &format!("{path}.onExitCodes"), spec));
        }
        errors.extend(pod_conditions(conditions, &format!("{path}.onPodConditions")));
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
            errors.push(FieldError::invalid(
                field.as_str(),
                0,
                "must not be 0 for the In operator",
            ));
        }
        if values[..index].contains(code) {
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
        let field = format!("{path}.status");
        if status.is_empty() {
            let why = "valid values: [\"False\" \"True\" \"Unknown\"]";
            errors.push(FieldError::required(field, why));
        } else if !known.contains(&status) {
            errors.push(FieldError::not_supported(field, status, &known));
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
        errors.extend(succeeded(rule, &path, int(spec, "/completions")));
    }
    errors
}

/// Which indexes, and how many of them, are enough.
fn succeeded(rule: &Value, path: &str, completions: i64) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let indexes = some(rule, "/succeededIndexes").and_then(Value::as_str);
    let field = format!("{path}.succeededIndexes");
    if indexes.is_some_and(|indexes| indexes.len() > INDEXES_MAX) {
        errors.push(FieldError::too_long(field.as_str(), INDEXES_MAX));
    }
    let named = indexes.map(|indexes| match indexes::parse(indexes, completions) {
        Ok(intervals) => indexes::count(&intervals),
        Err(why) => {
            let why = format!("error parsing succeededIndexes: {why}");
            errors.push(FieldError::invalid(field, indexes, why));
            0
        }
    });
    let Some(count) = some(rule, "/succeededCount").and_then(Value::as_i64) else {
        return errors;
    };
    errors.extend(not_negative(rule, path, &["succeededCount"]));
    for (most, of) in [
        (Some(completions), "the number of specified completions"),
        (named, "the number of indexes in the specified succeededIndexes field"),
    ] {
        if let Some(most) = most.filter(|most| count > *most) {
            let why = format!("must be less than or equal to {most} ({of})");
            errors.push(FieldError::invalid(format!("{path}.succeededCount"), count, why));
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
