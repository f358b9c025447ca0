//! When a container is started again: by its own policy, by its exit code, when it gets other resources (core
//! `validateContainerRestartPolicy`, `validateResizePolicy`).

use crate::{at::At, field::FieldError};
use std::collections::HashSet;

const POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;

pub(super) fn validate(container: &At<'_>) -> Vec<FieldError> {
    let rules = container.items("restartPolicyRules");
    let mut errors = Vec::new();
    if !container.has("restartPolicy") && !rules.is_empty() {
        let why = "must specify restartPolicy when restart rules are used";
        errors.push(container.required("restartPolicy", why));
    }
    errors.extend(container.one_of("restartPolicy", POLICIES));
    if rules.len() > RULES_MAX {
        let field = container.path("restartPolicyRules");
        errors.push(FieldError::too_many(field, rules.len(), RULES_MAX));
    }
    for rule in rules {
        if !ACTIONS.contains(&rule.text("action")) {
            errors.push(FieldError::not_supported(
                rule.path("action"),
                rule.text("action"),
                ACTIONS,
            ));
        }
        let Some(codes) = rule.some("exitCodes") else {
            errors.push(rule.required("exitCodes", "must be specified"));
            continue;
        };
        let operator = codes.text("operator");
        if !OPERATORS.contains(&operator) {
            errors.push(FieldError::not_supported(codes.path("operator"), operator, OPERATORS));
        }
        let count = codes.list("values").len();
        if count > CODES_MAX {
            errors.push(FieldError::too_many(codes.path("values"), count, CODES_MAX));
        }
    }
    errors
}

pub(super) fn resize_policy(container: &At<'_>, pod_policy: &str) -> Vec<FieldError> {
    let field = container.path("resizePolicy");
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for policy in container.items("resizePolicy") {
        let (resource, restart) = (policy.text("resourceName"), policy.text("restartPolicy"));
        if !seen.insert(resource) {
            errors.push(FieldError::duplicate(policy.path(""), resource));
        }
        for (word, known) in [
            (resource, ["cpu", "memory"]),
            (restart, ["NotRequired", "RestartContainer"]),
        ] {
            if word.is_empty() {
                errors.push(FieldError::required(&field, ""));
            } else if !known.contains(&word) {
                errors.push(FieldError::not_supported(&field, word, &known));
            }
        }
        if pod_policy == "Never" && restart != "NotRequired" {
            let why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(&field, restart, why));
        }
    }
    errors
}
