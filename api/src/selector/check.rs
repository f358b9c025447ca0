//! Label selectors inside objects: what is wrong with one, and how a table shows it (apimachinery `meta/v1/validation`).

use crate::{at::At, field::FieldError, metadata, names};
use serde_json::Value;

/// What is wrong with a LabelSelector; nothing where there is none.
pub fn check(selector: &At<'_>) -> Vec<FieldError> {
    let labels = selector.value.get("matchLabels");
    let mut errors = metadata::labels(labels, &selector.path("matchLabels"));
    for expression in selector.items("matchExpressions") {
        let count = expression.items("values").len();
        match expression.text("operator") {
            "In" | "NotIn" if count == 0 => {
                errors.push(expression.required("values", "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if count > 0 => errors.push(expression.forbidden(
                "values",
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Exists" | "DoesNotExist" => {}
            _ => errors.extend(expression.invalid_text("operator", ["not a valid selector operator"])),
        }
        errors.extend(expression.invalid_text("key", names::qualified_name(expression.text("key"))));
        for value in expression.items("values") {
            errors.extend(value.invalid("", names::label_value(value.as_text())));
        }
    }
    errors
}

/// As tables show it (`metav1.FormatLabelSelector`): `a=b,c in (d,e)`, `<none>` where it chooses everything.
pub fn shown(selector: Option<&Value>) -> String {
    let Some(selector) = selector else {
        return "<none>".to_owned();
    };
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    let mut terms: Vec<(&str, String)> = labels
        .map(|(key, value)| (key.as_str(), format!("{key}={}", value.as_str().unwrap_or_default())))
        .collect();
    let expressions = At::new(selector, "").items("matchExpressions");
    for expression in &expressions {
        let key = expression.text("key");
        let mut values: Vec<&str> = expression.items("values").iter().map(At::as_text).collect();
        values.sort_unstable();
        let values = values.join(",");
        let term = match expression.text("operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".to_owned(),
        };
        terms.push((key, term));
    }
    terms.sort_by(|a, b| a.0.cmp(b.0));
    if terms.is_empty() {
        return "<none>".to_owned();
    }
    let terms: Vec<String> = terms.into_iter().map(|(_, term)| term).collect();
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_judged_as_upstream() {
        for (selector, message) in [
            (json!({ "matchLabels": { "a": "b" } }), None),
            (
                json!({ "matchLabels": { "a": "-" } }),
                Some("s.matchLabels: Invalid value: \"-\": a valid label must"),
            ),
            (
                json!({ "matchExpressions": [{ "key": "a", "operator": "In" }] }),
                Some(
                    "s.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                ),
            ),
            (
                json!({ "matchExpressions": [{ "key": "a", "operator": "Exists", "values": ["b"] }] }),
                Some(
                    "s.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ),
            ),
            (
                json!({ "matchExpressions": [{ "key": "a", "operator": "x" }] }),
                Some("s.matchExpressions[0].operator: Invalid value: \"x\": not a valid selector operator"),
            ),
        ] {
            let first = check(&At::new(&selector, "s")).first().map(ToString::to_string);
            match (first, message) {
                (Some(first), Some(message)) => assert!(first.starts_with(message), "{first}"),
                (first, message) => assert_eq!((first, message), (None, None), "{selector}"),
            }
        }
    }

    #[test]
    fn selectors_read_as_upstream_prints_them() {
        let selector = json!({
            "matchLabels": { "b": "1", "a": "2" },
            "matchExpressions": [{ "key": "c", "operator": "In", "values": ["y", "x"] }, { "key": "d", "operator": "DoesNotExist" }],
        });
        assert_eq!(shown(Some(&selector)), "a=2,b=1,c in (x,y),!d");
        assert_eq!(shown(Some(&json!({}))), "<none>");
    }
}
