//! The JSON paths of printer columns, selectable fields and scale: `.spec.image`, `.status.conditions[?(@.type=="Ready")].status`
//! (client-go `util/jsonpath`, as far as definitions use it).

use serde_json::Value;

/// A path, read once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Member(String),
    Index(i64),
    Every,
    /// Items whose member (a path) equals, or does not equal, a value.
    Where(Vec<String>, bool, Value),
}

// === impl JsonPath ===

impl JsonPath {
    /// Reads `.a.b[0]['c'][*][?(@.d=="e")]`; none where it is nothing like that.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('.') {
                let (name, tail) = member(tail);
                if name == "*" {
                    steps.push(Step::Every);
                } else if !name.is_empty() {
                    steps.push(Step::Member(name));
                } else if !tail.is_empty() && !tail.starts_with('[') {
                    return None;
                }
                rest = tail;
            } else {
                let end = closing(rest)?;
                steps.push(bracket(rest.get(1..end)?)?);
                rest = &rest[end + 1..];
            }
        }
        Some(Self(steps))
    }

    /// The names of the members, where it has nothing else.
    pub(crate) fn members(&self) -> Option<Vec<&str>> {
        self.0
            .iter()
            .map(|step| match step {
                Step::Member(name) => Some(name.as_str()),
                Step::Index(_) | Step::Every | Step::Where(..) => None,
            })
            .collect()
    }

    /// The first value that it leads to.
    pub(crate) fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        let mut found = vec![object];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.from(value)).collect();
        }
        found.into_iter().next()
    }
}

// === impl Step ===

impl Step {
    fn from<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Step::Member(name), Value::Object(members)) => members.get(name).into_iter().collect(),
            (Step::Index(at), Value::Array(items)) => {
                let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let at = if *at < 0 { at + count } else { *at };
                usize::try_from(at)
                    .ok()
                    .and_then(|at| items.get(at))
                    .into_iter()
                    .collect()
            }
            (Step::Every, Value::Array(items)) => items.iter().collect(),
            (Step::Every, Value::Object(members)) => members.iter().map(|(_, value)| value).collect(),
            (Step::Where(path, is_equal, wanted), Value::Array(items)) => items
                .iter()
                .filter(|item| {
                    let found = path.iter().try_fold(*item, |at, name| at.get(name));
                    found.is_some_and(|found| (found == wanted) == *is_equal)
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The name at the beginning, in which a backslash takes the next character as it is, and what follows it.
fn member(text: &str) -> (String, &str) {
    let (mut name, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                name.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '.' | '[' => return (name, &text[at..]),
            c => name.push(c),
        }
    }
    (name, "")
}

/// Where the bracket that begins `text` ends.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            (None, _) if at == 0 => return None,
            (None, _) => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::Every);
    }
    if let Ok(at) = text.parse() {
        return Some(Step::Index(at));
    }
    if let Some(name) = unquoted(text) {
        return Some(Step::Member(name));
    }
    let condition = text.strip_prefix("?(")?.strip_suffix(')')?.trim();
    let (left, right, is_equal) = match condition.split_once("==") {
        Some((left, right)) => (left, right, true),
        None => condition.split_once("!=").map(|(left, right)| (left, right, false))?,
    };
    let path = JsonPath::parse(left.trim().strip_prefix('@')?)?;
    let names: Vec<String> = path.members()?.into_iter().map(str::to_owned).collect();
    let right = right.trim();
    let value = unquoted(right).map_or_else(|| serde_json::from_str(right).ok(), |text| Some(Value::String(text)))?;
    Some(Step::Where(names, is_equal, value))
}

fn unquoted(text: &str) -> Option<String> {
    ['"', '\'']
        .iter()
        .find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({
            "metadata": { "annotations": { "example.com/a": "x" } },
            "spec": { "list": [1, 2, 3], "size": null },
            "status": { "conditions": [{ "type": "A", "status": "False" }, { "type": "Ready", "status": "True" }] },
        });
        for (path, expected) in [
            (".spec.list[0]", Some(json!(1))),
            (".spec.list[-1]", Some(json!(3))),
            (".spec.list[*]", Some(json!(1))),
            (".spec.size", Some(json!(null))),
            (".spec.nothing", None),
            (".metadata.annotations.example\\.com/a", Some(json!("x"))),
            (".metadata.annotations['example.com/a']", Some(json!("x"))),
            (".status.conditions[?(@.type==\"Ready\")].status", Some(json!("True"))),
            (".status.conditions[?(@.type == 'None')].status", None),
        ] {
            let read = JsonPath::parse(path).expect("the path is good");
            assert_eq!(read.first(&object), expected.as_ref(), "{path}");
        }
        for bad in ["spec", ".a[", ".a[?(x)]", "..a"] {
            assert_eq!(JsonPath::parse(bad), None, "{bad}");
        }
    }
}
