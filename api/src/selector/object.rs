//! Selectors as objects carry them (`matchLabels`, `matchExpressions`), read (apimachinery `LabelSelectorAsSelector`).

use super::{LabelSelector, Operator, Requirement};
use crate::read::{entries, list, text};
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

/// Labels as tables show them: `a=b,c=d`, or `<none>`.
pub fn labels_shown(labels: &Value) -> String {
    let text = LabelSelector::of_labels(labels).to_string();
    if text.is_empty() { "<none>".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_select_as_upstream() {
        let selector = json!({
            "matchLabels": { "tier": "a", "app": "web" },
            "matchExpressions": [{ "key": "b", "operator": "NotIn", "values": ["y", "x"] }, { "key": "c", "operator": "Exists" }],
        });
        let read = LabelSelector::of_object(&selector).expect("every operator is known");
        assert!(read.matches_labels(&json!({ "app": "web", "tier": "a", "c": "" })));
        assert!(!read.matches_labels(&json!({ "app": "web", "tier": "a", "c": "", "b": "x" })));
        assert_eq!(labels_shown(&json!({ "b": "2", "a": "1" })), "a=1,b=2");
    }
}
