//! Label selectors: `app=web,tier in (a,b),!old`, with upstream's grammar and sentences (apimachinery `labels.Parse`).

use crate::{FieldError, names, read};
use serde_json::Value;
use std::fmt;

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`, `==` or `in (…)`: the label is one of the values.
    In,
    /// `!=` or `notin (…)`: the label is absent or none of the values.
    NotIn,
    /// `key`: the label is there.
    Exists,
    /// `!key`: it is not.
    DoesNotExist,
    /// `>`: an integer above the value.
    GreaterThan,
    /// `<`: an integer below the value.
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// The comparison.
    pub operator: Operator,
    /// What it is compared with.
    pub values: Vec<String>,
}

/// Conditions that must all hold; none holds for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// The conditions.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Reads a `labelSelector` parameter. The error is the message of a 400.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser {
            tokens: tokens(text),
            at: 0,
        };
        parser.requirements().map(|requirements| Self { requirements })
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the object's labels satisfy it.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = read::at(object, "/metadata/labels");
        self.matches_with(|key| labels?.get(key)?.as_str())
    }

    /// Whether labels read through `label` satisfy it.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|r| r.holds(label(&r.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let among = |v: &str| self.values.iter().any(|known| known == v);
        let numbers = || Some((value?.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match self.operator {
            Operator::In => value.is_some_and(among),
            Operator::NotIn => !value.is_some_and(among),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => numbers().is_some_and(|(label, bound)| label > bound),
            Operator::LessThan => numbers().is_some_and(|(label, bound)| label < bound),
        }
    }

    fn checked(self) -> Result<Self, String> {
        let count = self.values.len();
        let wrong = match self.operator {
            Operator::In | Operator::NotIn if count == 0 => {
                Some("for 'in', 'notin' operators, values set can't be empty")
            }
            Operator::GreaterThan | Operator::LessThan if self.values.iter().any(|v| v.parse::<i64>().is_err()) => {
                Some("for 'Gt', 'Lt' operators, the value must be an integer")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            let shown = self.values.first().cloned().unwrap_or_default();
            return Err(FieldError::invalid(if count == 0 { "values" } else { "values[0]" }, shown, wrong).to_string());
        }
        for (index, value) in self.values.iter().enumerate() {
            let wrong = names::label_value(value);
            if !wrong.is_empty() {
                let path = format!("values[{index}][{}]", self.key);
                return Err(FieldError::invalid(path, value.as_str(), wrong.join("; ")).to_string());
            }
        }
        Ok(self)
    }
}

/// In upstream's canonical form, values sorted: `a=b,c in (d,e)`.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, r) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let values = r.values.join(",");
            match (r.operator, r.values.len()) {
                (Operator::In, 1) => write!(f, "{comma}{}={values}", r.key)?,
                (Operator::NotIn, 1) => write!(f, "{comma}{}!={values}", r.key)?,
                (Operator::In, _) => write!(f, "{comma}{} in ({values})", r.key)?,
                (Operator::NotIn, _) => write!(f, "{comma}{} notin ({values})", r.key)?,
                (Operator::Exists, _) => write!(f, "{comma}{}", r.key)?,
                (Operator::DoesNotExist, _) => write!(f, "{comma}!{}", r.key)?,
                (Operator::GreaterThan, _) => write!(f, "{comma}{}>{values}", r.key)?,
                (Operator::LessThan, _) => write!(f, "{comma}{}<{values}", r.key)?,
            }
        }
        Ok(())
    }
}

const SPECIAL: &str = "=!(),><";
const BINARY: &str = "in, notin, =, ==, !=, gt, lt";

/// Words and symbols; the empty text is the end.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if SPECIAL.contains(first) {
            ["==", "!="]
                .iter()
                .find(|s| rest.starts_with(**s))
                .map_or(1, |s| s.len())
        } else {
            rest.find(|c: char| SPECIAL.contains(c) || c.is_whitespace())
                .unwrap_or(rest.len())
        };
        tokens.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    tokens
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        let token = self.peek().to_owned();
        self.at += 1;
        token
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut all = Vec::new();
        if self.peek().is_empty() {
            return Ok(all);
        }
        if !(is_word(self.peek()) || self.peek() == "!") {
            return Err(format!(
                "found '{}', expected: !, identifier, or 'end of string'",
                self.peek()
            ));
        }
        loop {
            all.push(
                self.requirement()
                    .map_err(|why| format!("unable to parse requirement: {why}"))?,
            );
            match self.next().as_str() {
                "" => return Ok(all),
                "," if is_word(self.peek()) || self.peek() == "!" => {}
                "," => return Err(format!("found '{}', expected: identifier after ','", self.peek())),
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == "!";
        if absent {
            self.next();
        }
        let key = self.next();
        if !is_word(&key) {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let wrong = names::qualified_name(&key);
        if !wrong.is_empty() {
            return Err(FieldError::invalid("<nil>", key, wrong.join("; ")).to_string());
        }
        let (operator, values) = if absent {
            (Operator::DoesNotExist, Vec::new())
        } else if matches!(self.peek(), "" | ",") {
            (Operator::Exists, Vec::new())
        } else {
            match self.next().as_str() {
                "in" => (Operator::In, self.set()?),
                "notin" => (Operator::NotIn, self.set()?),
                "=" | "==" => (Operator::In, self.one()?),
                "!=" => (Operator::NotIn, self.one()?),
                ">" => (Operator::GreaterThan, self.one()?),
                "<" => (Operator::LessThan, self.one()?),
                other => return Err(format!("found '{other}', expected: {BINARY}")),
            }
        };
        Requirement { key, operator, values }.checked()
    }

    fn one(&mut self) -> Result<Vec<String>, String> {
        match self.peek() {
            "" | "," => Ok(vec![String::new()]),
            word if is_word(word) => Ok(vec![self.next()]),
            other => Err(format!("found '{other}', expected: identifier")),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        let open = self.next();
        if open != "(" {
            return Err(format!("found '{open}' expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            match self.next().as_str() {
                ")" => {
                    values.push(String::new());
                    break;
                }
                "," => values.push(String::new()),
                word if is_word(word) => {
                    values.push(word.to_owned());
                    match self.next().as_str() {
                        ")" => break,
                        "," => {}
                        other => return Err(format!("found '{other}', expected: ',' or ')'")),
                    }
                }
                other => return Err(format!("found '{other}', expected: ',', ')' or identifier")),
            }
        }
        values.sort();
        values.dedup();
        Ok(values)
    }
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(|c| SPECIAL.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_choose_objects_as_upstream() {
        let web = json!({ "metadata": { "labels": { "app": "web", "tier": "a", "n": "7", "x.y/z": "" } } });
        for (text, holds) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!gone", true),
            ("app=web", true),
            ("app==web", true),
            (" app = web , tier != b ", true),
            ("app!=web", false),
            ("gone!=x", true),
            ("gone=", false),
            ("x.y/z=", true),
            ("app in (web, db)", true),
            ("app notin (web,db)", false),
            ("gone notin (web)", true),
            ("n>6", true),
            ("n<7", false),
            ("app>1", false),
            ("in=web", false),
        ] {
            let selector = LabelSelector::parse(text).expect("the case is a good selector");
            assert_eq!(selector.matches(&web), holds, "{text}");
        }
    }

    #[test]
    fn bad_selectors_are_named() {
        for (text, message) in [
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            (
                "a>b",
                "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            ("!", "unable to parse requirement: found '', expected: identifier"),
        ] {
            assert_eq!(LabelSelector::parse(text), Err(message.to_owned()), "{text}");
        }
        let long = LabelSelector::parse("a/b/c=d").expect_err("two slashes are too many");
        assert!(
            long.starts_with("unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a qualified name"),
            "{long}"
        );
    }

    #[test]
    fn the_canonical_form_reads_back() {
        let text = "a=b,c!=d,e in (f,g),h notin (i,j),k,!l,m>1,n<2";
        assert_eq!(LabelSelector::parse(text).map(|s| s.to_string()), Ok(text.to_owned()));
    }
}
