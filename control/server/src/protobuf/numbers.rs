//! The numbers of fields, out of `numbers.txt`.

use std::collections::HashMap;
use std::sync::OnceLock;

/// A field of a message.
pub(super) struct Numbered {
    pub(super) number: u64,
    /// Its JSON name.
    pub(super) name: &'static str,
    pub(super) form: Form,
}

/// How a field's value is written, where the schema alone does not say it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As the schema says; empty text means that it is not set.
    Plain,
    /// No pointer in Go: zero means that it is not set.
    ZeroIsUnset,
    /// A pointer to text: empty is a choice.
    EmptyCounts,
    /// A time with microseconds.
    MicroTime,
    /// A message whose members stand in the parent's JSON: the name is the message's.
    Inline,
    /// A schema or several (JSONSchemaPropsOrArray).
    SchemaOrArray,
    /// A schema or a boolean (JSONSchemaPropsOrBool).
    SchemaOrBool,
    /// A map of schemas or lists of text (JSONSchemaPropsOrStringArray).
    SchemaOrStrings,
    /// A message without fields.
    Empty,
}

/// A message's fields, by number.
pub(super) type Message = Vec<Numbered>;

/// Beginnings of component names, and what stands for them in the table.
const SHORT: [(&str, &str); 4] = [
    ("io.k8s.apimachinery.pkg.apis.meta.v1.", "meta.v1."),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.",
        "apiextensions.v1.",
    ),
    (
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.",
        "apiregistration.v1.",
    ),
    ("io.k8s.api.", ""),
];

/// The fields of the message with that component name.
pub(super) fn of(component: &str) -> Option<&'static Message> {
    let (long, short) = SHORT.iter().find(|(long, _)| component.starts_with(long))?;
    named(&format!("{short}{}", &component[long.len()..]))
}

/// The fields of the message that stands inline in `component`'s, which is of the same package.
pub(super) fn inline(component: &str, name: &str) -> Option<&'static Message> {
    let package = &component[..=component.rfind('.')?];
    of(&format!("{package}{name}"))
}

fn named(short: &str) -> Option<&'static Message> {
    static TABLE: OnceLock<HashMap<&'static str, Message>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let lines = include_str!("numbers.txt").lines();
        lines
            .filter(|line| !line.starts_with('#'))
            .filter_map(message)
            .collect()
    });
    table.get(short)
}

fn message(line: &'static str) -> Option<(&'static str, Message)> {
    let (name, fields) = line.split_once(' ')?;
    let mut fields: Message = fields.split(' ').filter_map(field).collect();
    fields.sort_by_key(|field| field.number);
    Some((name, fields))
}

fn field(word: &'static str) -> Option<Numbered> {
    let (name, number) = word.rsplit_once('=')?;
    let number = number.parse().ok()?;
    let (name, form) = match name.split_once('^') {
        Some((name, "array")) => (name, Form::SchemaOrArray),
        Some((name, "bool")) => (name, Form::SchemaOrBool),
        Some((name, "strings")) => (name, Form::SchemaOrStrings),
        Some((name, _)) => (name, Form::Empty),
        None => match (name.strip_prefix('+'), name.trim_end_matches(['!', '?', '@'])) {
            (Some(inline), _) => (inline, Form::Inline),
            (None, bare) if name.ends_with('!') => (bare, Form::ZeroIsUnset),
            (None, bare) if name.ends_with('?') => (bare, Form::EmptyCounts),
            (None, bare) if name.ends_with('@') => (bare, Form::MicroTime),
            (None, bare) => (bare, Form::Plain),
        },
    };
    Some(Numbered { number, name, form })
}
