//! Does a text have the shape that the JSON Schema says: known keys, right types, nothing missing?
//!
//! The schema is derived from the types, so what is published and what is checked are the same.

use crate::place::Place;
use crate::problem::Problem;
use ipnet::IpNet;
use serde_json::Value as Schema;
use std::net::IpAddr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// All problems of shape, in the order of the schema's walk.
pub(crate) fn check(text: &str, root: &Spanned<DeValue<'_>>, schema: &Schema) -> Vec<Problem> {
    let mut walk = Walk {
        text,
        schema,
        problems: Vec::new(),
    };
    walk.value(root, schema, &Place::default());
    walk.problems
}

struct Walk<'a> {
    text: &'a str,
    schema: &'a Schema,
    problems: Vec<Problem>,
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn value(&mut self, value: &Spanned<DeValue<'_>>, schema: &'a Schema, place: &Place) {
        let schema = self.resolve(schema);
        let span = value.span();
        let wanted = wanted_type(schema);
        match (wanted, value.get_ref()) {
            ("object", DeValue::Table(table)) => self.table(table, span, schema, place),
            ("array", DeValue::Array(array)) => {
                for (nth, item) in array.iter().enumerate() {
                    self.value(item, &schema["items"], &place.index(nth));
                }
            }
            ("string", DeValue::String(word)) => self.word(word, span, schema, place),
            ("integer", DeValue::Integer(number)) => {
                if i64::from_str_radix(number.as_str(), number.radix()).is_ok_and(|n| n < 0) {
                    self.problem(&span, format!("`{place}` must not be negative"));
                }
            }
            ("boolean", DeValue::Boolean(_)) => {}
            (wanted, found) => {
                let message = format!(
                    "`{place}` must be {}, not {}",
                    with_article(wanted),
                    with_article(found.type_str())
                );
                self.problem(&span, message);
            }
        }
    }

    fn table(&mut self, table: &DeTable<'_>, span: std::ops::Range<usize>, schema: &'a Schema, place: &Place) {
        let empty = serde_json::Map::new();
        let known = schema["properties"].as_object();
        // A map from free names to values of one shape, e.g. labels.
        let free = schema.get("additionalProperties").filter(|rest| rest.is_object());
        for (key, value) in table.iter() {
            let name: &str = key.get_ref();
            match (known.and_then(|known| known.get(name)), free) {
                (Some(shape), _) | (None, Some(shape)) => self.value(value, shape, &place.key(name)),
                (None, None) => {
                    let names = known.unwrap_or(&empty).keys().map(String::as_str).collect::<Vec<_>>();
                    self.problem(&key.span(), unknown_key(name, &names, place));
                }
            }
        }
        for required in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Schema::as_str)
        {
            if !table.iter().any(|(key, _)| key.get_ref() == required) {
                let about = described(
                    self.resolve(&schema["properties"][required]),
                    &schema["properties"][required],
                );
                self.problem(&span, format!("`{}` is missing{about}", place.key(required)));
            }
        }
    }

    fn word(&mut self, word: &str, span: std::ops::Range<usize>, schema: &'a Schema, place: &Place) {
        let choices = choices(schema);
        if !choices.is_empty() && !choices.contains(&word) {
            let hint = did_you_mean(word, &choices);
            self.problem(
                &span,
                format!(
                    "{word:?} is no value of `{place}`{hint} (known: {})",
                    choices.join(", ")
                ),
            );
        }
        match schema["format"].as_str() {
            Some("ip") if word.parse::<IpAddr>().is_err() => {
                self.problem(
                    &span,
                    format!("`{place}`: {word:?} is no IP address like 10.0.0.1 or fd00::1"),
                );
            }
            Some("cidr") if word.parse::<IpNet>().is_err() => {
                self.problem(
                    &span,
                    format!("`{place}`: {word:?} is no address with a prefix length like 10.0.0.1/24"),
                );
            }
            _ => {}
        }
    }

    fn problem(&mut self, span: &std::ops::Range<usize>, message: String) {
        self.problems.push(Problem::at(self.text, span, message));
    }

    /// Follows `$ref`, and takes the shape out of "this or null".
    fn resolve(&self, schema: &'a Schema) -> &'a Schema {
        if let Some(name) = schema["$ref"]
            .as_str()
            .and_then(|pointer| pointer.strip_prefix("#/$defs/"))
        {
            return self.resolve(&self.schema["$defs"][name]);
        }
        if let Some(shapes) = schema["anyOf"].as_array()
            && let Some(shape) = shapes.iter().find(|shape| shape["type"] != "null")
        {
            return self.resolve(shape);
        }
        schema
    }
}

fn wanted_type(schema: &Schema) -> &str {
    let named = match &schema["type"] {
        Schema::String(name) => Some(name.as_str()),
        Schema::Array(names) => names.iter().filter_map(Schema::as_str).find(|name| *name != "null"),
        _ => None,
    };
    // An enum of words, each with its comment.
    named.unwrap_or("string")
}

/// The words that an enum knows: `enum` where variants have no comment, `oneOf` of `const` where they have.
fn choices(schema: &Schema) -> Vec<&str> {
    let plain = schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Schema::as_str);
    let commented = schema["oneOf"].as_array().into_iter().flatten().flat_map(|one| {
        let listed = one["enum"].as_array().into_iter().flatten().filter_map(Schema::as_str);
        one["const"].as_str().into_iter().chain(listed)
    });
    plain.chain(commented).collect()
}

fn unknown_key(name: &str, known: &[&str], place: &Place) -> String {
    let inside = match place.to_string() {
        top if top.is_empty() => "at the top".to_owned(),
        inside => format!("in `{inside}`"),
    };
    match did_you_mean(name, known) {
        hint if hint.is_empty() => format!("unknown key `{name}` {inside} (known: {})", known.join(", ")),
        hint => format!("unknown key `{name}` {inside}{hint}"),
    }
}

/// `, did you mean …?` where a known name is near enough to be meant.
fn did_you_mean(word: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (distance(word, name), name)).min();
    match nearest {
        Some((steps, name)) if steps <= word.chars().count().max(3) / 2 => format!(", did you mean `{name}`?"),
        Some(_) | None => String::new(),
    }
}

/// Levenshtein's: how many letters must be added, dropped or changed.
fn distance(left: &str, right: &str) -> usize {
    let right = right.chars().collect::<Vec<_>>();
    let mut row = (0..=right.len()).collect::<Vec<_>>();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let changed = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}

fn described(resolved: &Schema, own: &Schema) -> String {
    let text = own["description"].as_str().or(resolved["description"].as_str());
    text.map(|text| format!(": {}", text.lines().next().unwrap_or(text)))
        .unwrap_or_default()
}

fn with_article(kind: &str) -> String {
    let kind = if kind == "object" { "table" } else { kind };
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_proposed_and_far_ones_are_not() {
        let known = ["roles", "name", "labels"];
        for (word, hint) in [
            ("role", ", did you mean `roles`?"),
            ("nmae", ", did you mean `name`?"),
            ("Labels", ", did you mean `labels`?"),
            ("kubernetes-version", ""),
        ] {
            assert_eq!(did_you_mean(word, &known), hint);
        }
    }
}
