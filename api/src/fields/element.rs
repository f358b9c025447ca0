//! One step of a field's path: a member's name, or an item of a list by its keys, its value or its place.

use super::go;
use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;

/// One step of a path. Ordered as upstream orders them: names, keys, values, places.
#[derive(Clone, Debug)]
pub enum Element {
    /// A member of an object.
    Field(Box<str>),
    /// The item of a list whose members have these values; sorted by name.
    Key(Box<[(Box<str>, Value)]>),
    /// The item of a set that is this value.
    Item(Value),
    /// The item at this place of an atomic list.
    Index(i64),
}

// === impl Element ===

impl Element {
    /// A member's name.
    pub fn field(name: &str) -> Self {
        Element::Field(name.into())
    }

    /// An item by its keys, in any order.
    pub fn key<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let mut members: Vec<(Box<str>, Value)> =
            members.into_iter().map(|(name, value)| (name.into(), value)).collect();
        members.sort_by(|a, b| a.0.cmp(&b.0));
        Element::Key(members.into())
    }

    fn rank(&self) -> u8 {
        match self {
            Element::Field(_) => 0,
            Element::Key(_) => 1,
            Element::Item(_) => 2,
            Element::Index(_) => 3,
        }
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Element::Field(a), Element::Field(b)) => a.cmp(b),
            (Element::Item(a), Element::Item(b)) => go::compare(a, b),
            (Element::Index(a), Element::Index(b)) => a.cmp(b),
            (Element::Key(a), Element::Key(b)) => {
                for ((name, value), (other_name, other_value)) in a.iter().zip(b.iter()) {
                    let order = name.cmp(other_name).then_with(|| go::compare(value, other_value));
                    if order != Ordering::Equal {
                        return order;
                    }
                }
                a.len().cmp(&b.len())
            }
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Element {}

/// As errors show it: `.name`, `[name="a"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Key(members) => {
                f.write_str("[")?;
                for (at, (name, value)) in members.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{name}={}", go::readable(value))?;
                }
                f.write_str("]")
            }
            Element::Item(value) => write!(f, "[={}]", go::readable(value)),
            Element::Index(place) => write!(f, "[{place}]"),
        }
    }
}
