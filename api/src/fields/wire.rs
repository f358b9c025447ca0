//! FieldsV1: a set of fields as JSON, `{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}}}}`.

use super::{Element, Set, go};
use serde_json::{Map, Value};
use thiserror::Error;

/// Why a FieldsV1 cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FieldsError {
    /// It is not a tree of objects.
    #[error("fieldsV1 must be made of objects, found {0}")]
    NoObject(String),
    /// A key that begins with no `f:`, `k:`, `v:` or `i:`.
    #[error("missing colon: {0}")]
    NoColon(String),
    /// A key too short to say what it is.
    #[error("key must be 2 characters long: {0:?}")]
    Short(String),
    /// What follows the colon cannot be read.
    #[error("parsing key as path element {0:?}")]
    Element(String),
}

/// Writes a set.
pub fn to_fields(set: &Set) -> Value {
    Value::Object(write(set, false))
}

fn write(set: &Set, is_member: bool) -> Map<String, Value> {
    let mut map = Map::new();
    if is_member {
        map.insert(".".to_owned(), Value::Object(Map::new()));
    }
    let (mut members, mut children) = (set.members.iter().peekable(), set.children.iter().peekable());
    loop {
        let order = match (members.peek(), children.peek()) {
            (None, None) => return map,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(member), Some((element, _))) => (*member).cmp(element),
        };
        let member = if order.is_le() { members.next() } else { None };
        let child = if order.is_ge() { children.next() } else { None };
        match (member, child) {
            (Some(element), None) => map.insert(key(element), Value::Object(Map::new())),
            (member, Some((element, child))) => {
                let below = if child.members.is_empty() && child.children.is_empty() {
                    Map::new()
                } else {
                    write(child, member.is_some())
                };
                map.insert(key(element), Value::Object(below))
            }
            (None, None) => return map,
        };
    }
}

fn key(element: &Element) -> String {
    match element {
        Element::Field(name) => ["f:", name].concat(),
        Element::Key(members) => {
            let mut out = String::from("k:{");
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                go::write_text(&mut out, name);
                out.push(':');
                go::write_json(&mut out, value);
            }
            out.push('}');
            out
        }
        Element::Item(value) => {
            let mut out = String::from("v:");
            go::write_json(&mut out, value);
            out
        }
        Element::Index(place) => format!("i:{place}"),
    }
}

/// Reads a set. Elements of a kind that only a future version knows are left out.
pub fn from_fields(fields: &Value) -> Result<Set, FieldsError> {
    match fields {
        Value::Null => Ok(Set::default()),
        fields => Ok(read(fields)?.0.unwrap_or_default()),
    }
}

/// What lies below, and whether the element itself is in the set.
fn read(fields: &Value) -> Result<(Option<Set>, bool), FieldsError> {
    let map = fields
        .as_object()
        .ok_or_else(|| FieldsError::NoObject(fields.to_string()))?;
    let (mut set, mut is_member): (Option<Set>, bool) = (None, false);
    for (key, value) in map {
        if key == "." {
            is_member = true;
            continue;
        }
        let Some(element) = parse(key)? else { continue };
        let (below, in_set) = read(value)?;
        let set = set.get_or_insert_default();
        if in_set {
            set.insert_member(element.clone());
        }
        if let Some(below) = below {
            match set.children.binary_search_by(|(e, _)| e.cmp(&element)) {
                Ok(at) => set.children[at].1 = below,
                Err(at) => set.children.insert(at, (element, below)),
            }
        }
    }
    let is_member = is_member || set.is_none();
    Ok((set, is_member))
}

fn parse(key: &str) -> Result<Option<Element>, FieldsError> {
    let unreadable = || FieldsError::Element(key.to_owned());
    if key.len() < 2 {
        return Err(FieldsError::Short(key.to_owned()));
    }
    if key.as_bytes()[1] != b':' {
        return Err(FieldsError::NoColon(key.to_owned()));
    }
    let text = &key[2..];
    Ok(Some(match key.as_bytes()[0] {
        b'f' => Element::field(text),
        b'v' => Element::Item(serde_json::from_str(text).map_err(|_| unreadable())?),
        b'i' => Element::Index(text.parse().map_err(|_| unreadable())?),
        b'k' => {
            let members: Map<String, Value> = serde_json::from_str(text).map_err(|_| unreadable())?;
            Element::key(members.iter().map(|(name, value)| (name.as_str(), value.clone())))
        }
        _ => return Ok(None),
    }))
}
