//! Selectors as objects carry them (`matchLabels`, `matchExpressions`): read, judged and shown (apimachinery
//! `LabelSelectorAsSelector`, `ValidateLabelSelector`, `FormatLabelSelector`).

use super::{LabelSelector, Operator, Requirement};
use crate::{
    field::FieldError,
    metadata, names,
    read::{entries, list, text},
};
use serde_json::Value;

impl LabelSelector {
    /// The conditions of a `LabelSelector` object, sorted by key; none where an operator is unknown. An absent selector
    /// (null) selects nothing, which this type cannot say: ask before.
    pub fn of_object(selector: &Value) -> Option<Self> {
        let mut selector_read = Self::of_labels(selector.get("matchLabels").unwrap_or(&Value::Null));
        for expression in list(selector, "/matchExpressions") {
            let operator = match text(expression, "/operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return None,
            };
            let values = list(expression, "/values").iter().filter_map(Value::as_str);
            let mut values: Vec<String> = values.map(str::to_owned).collect();
            values.sort();
            selector_read.requirements.push(Requirement {
                key: text(expression, "/key").to_owned(),
                operator,
                values,
            });
        }
        selector_read.requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Some(selector_read)
    }

    /// The conditions of a plain map of labels, such as a ReplicationController's selector.
    pub fn of_labels(labels: &Value) -> Self {
        let one = |(key, value): (&str, &Value)| Requirement {
            key: key.to_owned(),
            operator: Operator::In,
            values: vec![value.as_str().unwrap_or_default().to_owned()],
        };
        let mut requirements: Vec<Requirement> = entries(labels, "").map(one).collect();
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements }
    }

    /// Whether a map of labels satisfies it.
    pub fn matches_labels(&self, labels: &Value) -> bool {
        self.matches_with(|key| labels.get(key)?.as_str())
    }
}

/// A selector object as tables show it: `app=web,tier in (a,b)`, or `<none>`.
pub fn shown(selector: &Value) -> String {
    let text = match (selector.is_null(), LabelSelector::of_object(selector)) {
        (true, _) => String::new(),
        (false, Some(selector)) => selector.to_string(),
        (false, None) => return "<error>".to_owned(),
    };
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// Labels as tables show them: `a=b,c=d`, or `<none>`.
pub fn labels_shown(labels: &Value) -> String {
    let text = LabelSelector::of_labels(labels).to_string();
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// What is wrong with a selector object at `path`.
pub(crate) fn validate(selector: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = metadata::labels(selector.get("matchLabels"), &format!("{path}.matchLabels"));
    for (index, expression) in list(selector, "/matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let values = list(expression, "/values");
        match text(expression, "/operator") {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = text(expression, "/key");
        let wrong = names::qualified_name(key);
        errors.extend(
            wrong
                .into_iter()
                .map(|m| FieldError::invalid(format!("{path}.key"), key, m)),
        );
        for (index, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            let wrong = names::label_value(value);
            errors.extend(
                wrong
                    .into_iter()
                    .map(|m| FieldError::invalid(format!("{path}.values[{index}]"), value, m)),
            );
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_select_and_show_as_upstream() {
        let selector = json!({
            "matchLabels": { "tier": "a", "app": "web" },
            "matchExpressions": [{ "key": "b", "operator": "NotIn", "values": ["y", "x"] }, { "key": "c", "operator": "Exists" }],
        });
        assert_eq!(shown(&selector), "app=web,b notin (x,y),c,tier=a");
        let read = LabelSelector::of_object(&selector).expect("every operator is known");
        assert!(read.matches_labels(&json!({ "app": "web", "tier": "a", "c": "" })));
        assert!(!read.matches_labels(&json!({ "app": "web", "tier": "a", "c": "", "b": "x" })));
        assert_eq!(
            (shown(&Value::Null), shown(&json!({}))),
            ("<none>".to_owned(), "<none>".to_owned())
        );
        assert_eq!(labels_shown(&json!({ "b": "2", "a": "1" })), "a=1,b=2");
    }

    #[test]
    fn bad_selectors_are_named_by_field() {
        let selector = json!({ "matchExpressions": [
            { "key": "a", "operator": "In" }, { "key": "a", "operator": "Exists", "values": ["x"] }, { "key": "a", "operator": "Is" },
        ] });
        let messages: Vec<String> = validate(&selector, "spec.selector")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            messages,
            [
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "spec.selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                "spec.selector.matchExpressions[2].operator: Invalid value: \"Is\": not a valid selector operator",
            ]
        );
    }
}
