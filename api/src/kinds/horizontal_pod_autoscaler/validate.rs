//! What is wrong with an autoscaler (autoscaling `validation.ValidateHorizontalPodAutoscaler`).

use crate::{at::At, field::FieldError, names, quantity::Quantity};
use serde_json::Value;

/// The sources of metrics, as `type` calls them and as members are called.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
const PERIOD_MAX: i64 = 1800;
const WINDOW_MAX: i64 = 3600;

/// What was told to scale to nothing may stay so (upstream's `minReplicasLowerBound`).
pub(super) fn validate(autoscaler: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let lowest = i64::from(old.is_none_or(|old| old["spec"]["minReplicas"] != 0));
    let root = At::new(autoscaler, "");
    let spec = root.child("spec");
    let mut errors = Vec::new();
    let number = |member: &str| spec.value.get(member).and_then(Value::as_i64);
    let (least, most) = (number("minReplicas"), number("maxReplicas").unwrap_or_default());
    if let Some(least) = least.filter(|n| *n < lowest) {
        let why = format!("must be greater than or equal to {lowest}");
        errors.push(FieldError::invalid(spec.path("minReplicas"), least, why));
    }
    if most < 1 {
        errors.push(FieldError::invalid(
            spec.path("maxReplicas"),
            most,
            "must be greater than 0",
        ));
    }
    if least.is_some_and(|least| most < least) {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(spec.path("maxReplicas"), most, why));
    }
    errors.extend(reference(&spec.child("scaleTargetRef")));
    let metrics = spec.items("metrics");
    metrics.iter().for_each(|metric| errors.extend(validate_metric(metric)));
    let wakes = |metric: &At<'_>| matches!(metric.text("type"), "Object" | "External");
    if least == Some(0) && !metrics.iter().any(wakes) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(spec.forbidden("metrics", why));
    }
    if let Some(behavior) = spec.some("behavior") {
        for direction in ["scaleUp", "scaleDown"] {
            errors.extend(
                behavior
                    .some(direction)
                    .map_or_else(Vec::new, |rules| validate_rules(&rules)),
            );
        }
    }
    errors
}

fn reference(target: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for member in ["kind", "name"] {
        match target.text(member) {
            "" => errors.push(target.required(member, "")),
            text => errors.extend(target.invalid_text(member, names::path_segment(text))),
        }
    }
    errors
}

fn validate_metric(metric: &At<'_>) -> Vec<FieldError> {
    let kind = metric.text("type");
    let mut errors = Vec::new();
    if kind.is_empty() {
        errors.push(metric.required("type", "must specify a metric source type"));
    }
    let known: Vec<&str> = SOURCES.iter().map(|(kind, _)| *kind).collect();
    if !known.contains(&kind) {
        errors.push(FieldError::not_supported(metric.path("type"), kind, &known));
    }
    let expected = SOURCES
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or("", |(_, member)| member);
    let given: Vec<&str> = SOURCES
        .iter()
        .map(|(_, member)| *member)
        .filter(|m| metric.some(m).is_some())
        .collect();
    if !expected.is_empty() && !given.contains(&expected) {
        errors.push(metric.required(expected, "must populate information for the given metric source"));
    }
    for other in given.iter().filter(|member| **member != expected) {
        errors.push(metric.forbidden(other, "must populate the given metric source only"));
    }
    if let [one] = given[..] {
        errors.extend(validate_source(&metric.child(one), one));
    }
    errors
}

fn validate_source(source: &At<'_>, kind: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let target = source.child("target");
    let (value, average) = (target.some("value").is_some(), target.some("averageValue").is_some());
    let utilization = target.some("averageUtilization").is_some();
    match kind {
        "resource" | "containerResource" => {
            match source.text("name") {
                "" => errors.push(source.required("name", "must specify a resource name")),
                name => errors.extend(source.invalid_text("name", names::qualified_name(name))),
            }
            match (kind, source.text("container")) {
                ("containerResource", "") => errors.push(source.required("container", "must specify a container")),
                ("containerResource", name) => {
                    errors.extend(source.invalid_text("container", names::dns1123_label(name)));
                }
                _ => {}
            }
            errors.extend(validate_target(&target));
            if !utilization && !average {
                let why = "must set either a target raw value or a target utilization";
                errors.push(target.required("averageUtilization", why));
            } else if utilization && average {
                let why = "may not set both a target raw value and a target utilization";
                errors.push(target.forbidden("averageValue", why));
            }
            return errors;
        }
        "object" => errors.extend(reference(&source.child("describedObject"))),
        _ => {}
    }
    let metric = source.child("metric");
    match metric.text("name") {
        "" => errors.push(metric.required("name", "must specify a metric name")),
        name => errors.extend(metric.invalid_text("name", names::path_segment(name))),
    }
    errors.extend(validate_target(&target));
    match (kind, value, average) {
        ("pods", _, false) => {
            errors.push(target.required("averageValue", "must specify a positive target averageValue"));
        }
        ("object", false, false) => {
            errors.push(target.required("averageValue", "must set either a target value or averageValue"));
        }
        ("external", false, false) => errors.push(target.required(
            "averageValue",
            "must set either a target value for metric or a per-pod target",
        )),
        ("external", true, true) => errors.push(target.forbidden(
            "value",
            "may not set both a target value for metric and a per-pod target",
        )),
        _ => {}
    }
    errors
}

fn validate_target(target: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match target.text("type") {
        "" => errors.push(target.required("type", "must specify a metric target type")),
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            let why = "must be either Utilization, Value, or AverageValue";
            errors.push(FieldError::invalid(target.path("type"), other, why));
        }
    }
    for member in ["value", "averageValue"] {
        let amount = target.some(member).and_then(|at| Quantity::of(at.value));
        if let Some(amount) = amount.filter(|a| a.is_zero() || a.is_negative()) {
            errors.push(FieldError::invalid(
                target.path(member),
                amount.to_string(),
                "must be positive",
            ));
        }
    }
    let percent = target.some("averageUtilization").and_then(|at| at.value.as_i64());
    if let Some(percent) = percent.filter(|p| *p < 1) {
        errors.push(FieldError::invalid(
            target.path("averageUtilization"),
            percent,
            "must be greater than 0",
        ));
    }
    errors
}

fn validate_rules(rules: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let window = rules
        .some("stabilizationWindowSeconds")
        .and_then(|at| at.value.as_i64());
    if let Some(window) = window {
        let path = rules.path("stabilizationWindowSeconds");
        if window < 0 {
            errors.push(FieldError::invalid(
                path,
                window,
                "must be greater than or equal to zero",
            ));
        } else if window > WINDOW_MAX {
            errors.push(FieldError::invalid(
                path,
                window,
                format!("must be less than or equal to {WINDOW_MAX}"),
            ));
        }
    }
    let tolerance = rules.some("tolerance").and_then(|at| Quantity::of(at.value));
    if let Some(tolerance) = tolerance.filter(|tolerance| tolerance.is_negative()) {
        let (path, why) = (rules.path("tolerance"), "must be greater or equal to zero");
        errors.push(FieldError::invalid(path, tolerance.to_string(), why));
    }
    let (select, known) = (rules.text("selectPolicy"), ["Disabled", "Max", "Min"]);
    if !select.is_empty() && !known.contains(&select) {
        errors.push(FieldError::not_supported(rules.path("selectPolicy"), select, &known));
    }
    let policies = rules.items("policies");
    if policies.is_empty() {
        errors.push(rules.required("policies", "must specify at least one Policy"));
    }
    for policy in policies {
        let kind = policy.text("type");
        if !["Percent", "Pods"].contains(&kind) {
            errors.push(FieldError::not_supported(
                policy.path("type"),
                kind,
                &["Percent", "Pods"],
            ));
        }
        for member in ["value", "periodSeconds"] {
            let number = policy.value.get(member).and_then(Value::as_i64).unwrap_or_default();
            if number <= 0 {
                errors.push(FieldError::invalid(
                    policy.path(member),
                    number,
                    "must be greater than zero",
                ));
            } else if member == "periodSeconds" && number > PERIOD_MAX {
                let why = format!("must be less than or equal to {PERIOD_MAX}");
                errors.push(FieldError::invalid(policy.path(member), number, why));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::validate;
    use serde_json::{Value, json};

    #[test]
    fn mistakes_are_named_as_upstream() {
        let metric = |metric: Value| json!({ "metrics": [metric] });
        for (change, message) in [
            (
                json!({ "minReplicas": -1 }),
                "spec.minReplicas: Invalid value: -1: must be greater than or equal to 1",
            ),
            (
                json!({ "minReplicas": 9 }),
                "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
            ),
            (
                json!({ "scaleTargetRef": { "kind": "D" } }),
                "spec.scaleTargetRef.name: Required value",
            ),
            (
                metric(json!({ "type": "Guess" })),
                "spec.metrics[0].type: Unsupported value: \"Guess\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
            ),
            (
                json!({ "behavior": { "scaleDown": { "tolerance": "-0.1", "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 1 }] } } }),
                "spec.behavior.scaleDown.tolerance: Invalid value: \"-100m\": must be greater or equal to zero",
            ),
            (
                metric(json!({ "type": "Resource" })),
                "spec.metrics[0].resource: Required value: must populate information for the given metric source",
            ),
            (
                metric(
                    json!({ "type": "Pods", "pods": { "metric": { "name": "m" }, "target": { "type": "AverageValue" } } }),
                ),
                "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
            ),
            (
                json!({ "behavior": { "scaleUp": { "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 1801 }] } } }),
                "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            ),
        ] {
            let mut object = json!({ "spec": { "scaleTargetRef": { "kind": "D", "name": "d" }, "maxReplicas": 3 } });
            for (key, value) in change.as_object().into_iter().flatten() {
                object["spec"][key] = value.clone();
            }
            let messages: Vec<String> = validate(&object, None).iter().map(ToString::to_string).collect();
            assert_eq!(messages, [message]);
        }
    }
}
