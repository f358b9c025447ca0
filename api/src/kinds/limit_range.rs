//! LimitRange: what one container, pod or claim of a namespace may ask for, and what it asks for when it says nothing.

use super::pod;
use crate::{
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    quantity::Quantity,
    read::{self, entries, text},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashSet};

/// `v1` LimitRange.
pub struct LimitRange;

/// What can be limited without a domain in its name.
const TYPES: &[&str] = &["Pod", "Container", "PersistentVolumeClaim"];

impl Kind for LimitRange {
    const KIND: &'static str = "LimitRange";
    const PLURAL: &'static str = "limitranges";
    const SINGULAR: &'static str = "limitrange";
    const SHORT_NAMES: &'static [&'static str] = &["limits"];
    const KEY: &'static str = "limitranges";
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::narrow("Created At", "date", "When it was made.")];
    type Object = k8s_openapi::api::core::v1::LimitRange;

    fn default(range: &mut Value) {
        read::set_default(range, "spec", json!({}));
        let limits = range["spec"].get_mut("limits").and_then(Value::as_array_mut);
        let containers = limits.into_iter().flatten().filter(|l| text(l, "/type") == "Container");
        containers.for_each(default_item);
    }

    fn validate(range: &Value) -> Vec<FieldError> {
        let (mut errors, mut seen) = (Vec::new(), HashSet::new());
        for (index, limit) in read::list(range, "/spec/limits").iter().enumerate() {
            let (path, kind) = (format!("spec.limits[{index}]"), text(limit, "/type"));
            let mut wrong = names::qualified_name(kind);
            if wrong.is_empty() && !kind.contains('/') && !TYPES.contains(&kind) {
                wrong.push("must be a standard limit type or fully qualified".to_owned());
            }
            errors.extend(
                wrong
                    .into_iter()
                    .map(|m| FieldError::invalid(format!("{path}.type"), kind, m)),
            );
            if !seen.insert(kind) {
                errors.push(FieldError::duplicate(format!("{path}.type"), kind));
            }
            errors.extend(validate_item(limit, &path, kind));
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
    }

    fn row(range: &Value, _now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(range).into(),
            text(range, "/metadata/creationTimestamp").into(),
        ]
    }
}

/// What is not said of a container follows from what is: the default limit from the maximum, the default request from
/// the default limit, then from the minimum.
fn default_item(limit: &mut Value) {
    for (to, from) in [
        ("default", "max"),
        ("defaultRequest", "default"),
        ("defaultRequest", "min"),
    ] {
        let given: Map<String, Value> = limit.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
        let Some(target) = read::map_mut(limit, to) else {
            continue;
        };
        for (resource, amount) in given {
            target.entry(resource).or_insert(amount);
        }
        if target.is_empty() {
            limit.as_object_mut().map(|l| l.shift_remove(to));
        }
    }
}

fn validate_item(limit: &Value, path: &str, kind: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let given = |member: &str| entries(limit, &format!("/{member}")).next().is_some();
    let named = if matches!(kind, "Pod" | "Container") {
        pod::container_resource_name
    } else {
        pod::resource_name
    };
    let name_all = |member: &str| -> Vec<FieldError> {
        let pointer = format!("/{member}");
        entries(limit, &pointer)
            .flat_map(|(resource, _)| named(resource, &format!("{path}.{member}[{resource}]")))
            .collect()
    };
    errors.extend(["max", "min"].into_iter().flat_map(name_all));
    for member in ["default", "defaultRequest"] {
        if kind != "Pod" {
            errors.extend(name_all(member));
        } else if given(member) {
            let why = "may not be specified when `type` is 'Pod'";
            errors.push(FieldError::forbidden(format!("{path}.{member}"), why));
        }
    }
    let storage = |part: &str| read::some(limit, &format!("/{part}/storage")).is_some();
    if kind == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(format!("{path}.limits"), why));
    }
    errors.extend(name_all("maxLimitRequestRatio"));
    // What a pod cannot have is not compared either.
    let parts = match kind {
        "Pod" => &["max", "min", "maxLimitRequestRatio"][..],
        _ => &["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"],
    };
    let resources: BTreeSet<&str> = parts
        .iter()
        .filter_map(|part| limit.get(part)?.as_object())
        .flat_map(|part| part.keys().map(String::as_str))
        .collect();
    for resource in resources {
        validate_resource(limit, path, resource, parts, &mut errors);
    }
    errors
}

/// The amounts of one resource fit each other.
fn validate_resource(limit: &Value, path: &str, resource: &str, parts: &[&str], errors: &mut Vec<FieldError>) {
    let amount = |part: &str| {
        let part = limit.get(part).filter(|_| parts.contains(&part));
        part.and_then(|p| p.get(resource)).and_then(Quantity::of)
    };
    let shown = |amount: Quantity| amount.to_string();
    let (min, max) = (amount("min"), amount("max"));
    let (default, request, ratio) = (
        amount("default"),
        amount("defaultRequest"),
        amount("maxLimitRequestRatio"),
    );
    let mut wrong = |member: &str, amount: Quantity, why: String| {
        errors.push(FieldError::invalid(
            format!("{path}.{member}[{resource}]"),
            shown(amount),
            why,
        ));
    };
    // Each pair: the smaller one, the larger one, where it is said, and how both are called.
    for (small, large, member, names) in [
        (min, max, "min", ["min value", "max value"]),
        (min, request, "defaultRequest", ["min value", "default request value"]),
        (request, max, "defaultRequest", ["default request value", "max value"]),
        (
            request,
            default,
            "defaultRequest",
            ["default request value", "default limit value"],
        ),
        (min, default, "default", ["min value", "default value"]),
        (default, max, "default", ["default value", "max value"]),
    ] {
        if let (Some(small), Some(large)) = (small, large)
            && small > large
        {
            // Upstream shows the bound of a default, and the request itself.
            let named = match (member, names[0]) {
                ("defaultRequest", "min value") | ("default", "default value") => large,
                _ => small,
            };
            let why = format!("{} {small} is greater than {} {large}", names[0], names[1]);
            wrong(member, named, why);
        }
    }
    if let Some(ratio) = ratio {
        validate_ratio(ratio, min, max, &mut wrong);
    }
    if let (Some(default), Some(request)) = (default, request)
        && !pod::overcommits(resource)
        && default != request
    {
        let why = format!("default value {default} must equal to defaultRequest value {request} in {resource}");
        wrong("defaultRequest", request, why);
    }
}

/// How much higher than its request a limit may be.
fn validate_ratio(
    ratio: Quantity,
    min: Option<Quantity>,
    max: Option<Quantity>,
    wrong: &mut impl FnMut(&str, Quantity, String),
) {
    if ratio.millis() < 1000 {
        wrong("maxLimitRequestRatio", ratio, format!("ratio {ratio} is less than 1"));
    }
    if let (Some(min), Some(max)) = (min, max)
        && min.millis() > 0
    {
        #[expect(
            clippy::cast_precision_loss,
            reason = "upstream compares floats, shown with six digits"
        )]
        let most = max.millis() as f64 / min.millis() as f64;
        #[expect(
            clippy::cast_precision_loss,
            reason = "upstream compares floats, shown with six digits"
        )]
        let asked = ratio.millis() as f64 / 1000.0;
        if asked > most {
            wrong(
                "maxLimitRequestRatio",
                ratio,
                format!("ratio {ratio} is greater than max/min = {most:.6}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(limit: Value) -> Value {
        let mut range = json!({ "metadata": { "name": "l" }, "spec": { "limits": [limit] } });
        LimitRange::default(&mut range);
        range
    }

    #[test]
    fn defaults_follow_from_bounds() {
        let made = range(json!({ "type": "Container", "max": { "cpu": "2" }, "min": { "cpu": "1", "memory": "1Mi" } }));
        assert_eq!(made["spec"]["limits"][0]["default"], json!({ "cpu": "2" }));
        assert_eq!(
            made["spec"]["limits"][0]["defaultRequest"],
            json!({ "cpu": "2", "memory": "1Mi" })
        );
        assert_eq!(LimitRange::validate(&made), []);
        let pod = range(json!({ "type": "Pod", "max": { "cpu": "2" } }));
        assert_eq!(pod["spec"]["limits"][0].get("default"), None);
    }

    #[test]
    fn bounds_that_contradict_are_named_as_upstream() {
        for (limit, message) in [
            (
                json!({ "type": "Pod", "max": { "cpu": "1" }, "min": { "cpu": "2" } }),
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                json!({ "type": "Pod", "default": { "cpu": "1" } }),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                json!({ "type": "PersistentVolumeClaim" }),
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ),
            (
                json!({ "type": "Pod", "maxLimitRequestRatio": { "cpu": "3" }, "max": { "cpu": "2" }, "min": { "cpu": "1" } }),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ),
            (
                json!({ "type": "Container", "default": { "cpu": "3" }, "max": { "cpu": "2" }, "defaultRequest": { "cpu": "1" } }),
                "spec.limits[0].default[cpu]: Invalid value: \"2\": default value 3 is greater than max value 2",
            ),
            (
                json!({ "type": "Container", "max": { "foo": "1" }, "default": {}, "defaultRequest": {} }),
                "spec.limits[0].max[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
            ),
            (
                json!({ "type": "Thing" }),
                "spec.limits[0].type: Invalid value: \"Thing\": must be a standard limit type or fully qualified",
            ),
        ] {
            let messages: Vec<String> = LimitRange::validate(&range(limit))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages.first().map(String::as_str), Some(message));
        }
    }
}
