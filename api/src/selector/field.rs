//! Field selectors: `spec.nodeName=n1,status.phase!=Running`; which labels exist is the kind's own (apimachinery `fields`).

use crate::{
    rules::{FieldReader, Rules},
    status::{self, Status},
};
use serde_json::Value;

#[derive(Clone, Debug)]
struct Term {
    label: String,
    read: FieldReader,
    equal: bool,
    value: String,
}

/// Conditions that must all hold; none holds for everything.
#[derive(Clone, Debug, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

impl FieldSelector {
    /// Reads a `fieldSelector` parameter; a 400 where it cannot be read or the kind has no such field.
    pub fn parse(text: &str, rules: &Rules) -> Result<Self, Status> {
        let mut terms = Vec::new();
        for part in split(text) {
            if part.is_empty() {
                continue;
            }
            let found = ["!=", "==", "="]
                .iter()
                .filter_map(|op| Some((find(part, op)?, *op)))
                .min_by_key(|(at, op)| (*at, op.len() == 1));
            let Some((at, operator)) = found else {
                return Err(status::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            let label = part[..at].to_owned();
            let value = unescape(&part[at + operator.len()..]).map_err(status::bad_request)?;
            let read = rules
                .field(&label)
                .ok_or_else(|| status::unsupported_field_label(rules, &label))?;
            terms.push(Term {
                label,
                read,
                equal: operator != "!=",
                value,
            });
        }
        Ok(Self { terms })
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the object's fields satisfy it; a field that is not there is empty.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|t| (t.read.read(object) == t.value) == t.equal)
    }

    /// The value that `label` must equal, where the selector says so: a watch of one name is a watch of one key.
    pub fn required(&self, label: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|t| t.equal && t.label == label)
            .map(|t| t.value.as_str())
    }
}

/// At commas that no backslash escapes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Where `operator` first stands unescaped.
fn find(part: &str, operator: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in part.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if part[at..].starts_with(operator) {
            return Some(at);
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, String> {
    let (mut out, mut chars) = (String::new(), value.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("invalid escape sequence: \\{c}")),
                None => return Err("invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped {c} in value: {value}")),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find as kind;
    use serde_json::json;

    #[test]
    fn fields_choose_objects() {
        let pods = kind("", "v1", "pods").expect("pods are served");
        let pod = json!({ "metadata": { "name": "a", "namespace": "n" }, "spec": { "nodeName": "w1" }, "status": {} });
        for (text, holds) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a,metadata.namespace!=m", true),
            ("spec.nodeName=w1", true),
            ("spec.nodeName!=w1", false),
            ("status.phase=", true),
            ("metadata.name=a\\,b", false),
        ] {
            assert_eq!(
                FieldSelector::parse(text, pods).map(|s| s.matches(&pod)),
                Ok(holds),
                "{text}"
            );
        }
        let one = FieldSelector::parse("metadata.name=a", pods).expect("it is a good selector");
        assert_eq!(one.required("metadata.name"), Some("a"));
    }

    #[test]
    fn unknown_fields_and_bad_grammar_are_named() {
        for (plural, text, message) in [
            ("pods", "spec.foo=1", "field label not supported: spec.foo"),
            (
                "configmaps",
                "data=1",
                "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            ),
            ("pods", "what", "invalid selector: 'what'; can't understand 'what'"),
        ] {
            let rules = kind("", "v1", plural).expect("the kind is served");
            let error = FieldSelector::parse(text, rules).expect_err("the selector is bad");
            assert_eq!((error.code, error.message.as_str()), (400, message));
        }
    }
}
