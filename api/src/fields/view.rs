//! A value seen through its kind's shape: what is a leaf, what is taken apart, and what tells a list's items apart.

use super::Element;
use crate::schema::{Field, ListKind, Root, Shape, Type, Types};
use serde_json::Value;
use thiserror::Error;

/// How a place in an object is taken apart. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    types: &'a Types,
    /// The whole object's type; none below it.
    root: Option<&'a Type>,
    shape: &'a Shape,
    list: &'a ListKind,
    atomic: Option<bool>,
}

/// What a value is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Owned as a whole.
    Leaf,
    /// A list whose items are told apart.
    List,
    /// An object or map whose members are owned one by one.
    Map,
}

/// A value that does not fit its kind's shape, with upstream's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0)]
pub struct Misfit(pub String);

// === impl View ===

impl<'a> View<'a> {
    /// A whole object of a kind.
    pub fn of(root: Root<'a>) -> Self {
        Self {
            root: Some(root.kind),
            ..Self::plain(root.types, &Shape::Any)
        }
    }

    fn plain(types: &'a Types, shape: &'a Shape) -> Self {
        Self {
            types,
            root: None,
            shape,
            list: &ListKind::Atomic,
            atomic: None,
        }
    }

    fn of_field(self, field: &'a Field) -> Self {
        Self {
            types: self.types,
            root: None,
            shape: &field.shape,
            list: &field.list,
            atomic: field.atomic,
        }
    }

    /// The type of the object here; none where it has no known fields.
    pub(super) fn kind(self) -> Option<&'a Type> {
        match self.shape {
            Shape::Object(at) => Some(self.types.at(*at)),
            _ => self.root,
        }
    }

    pub(super) fn shape(self) -> &'a Shape {
        self.shape
    }

    pub(super) fn list_kind(self) -> &'a ListKind {
        self.list
    }

    /// Whether `name` is a known field here, and not just some key of a map.
    pub(super) fn declares(self, name: &str) -> bool {
        self.kind().is_some_and(|kind| kind.field(name).is_some())
    }

    /// The view one step down.
    pub(super) fn step(self, element: &Element) -> Self {
        match element {
            Element::Field(name) => self.member(name),
            Element::Key(_) | Element::Item(_) | Element::Index(_) => self.item(),
        }
    }

    /// The view of a member; what is not known may be anything.
    pub(super) fn member(self, name: &str) -> Self {
        match (self.kind(), self.shape) {
            (Some(kind), _) => match kind.field(name) {
                Some(field) => self.of_field(field),
                None => Self::plain(self.types, &Shape::Any),
            },
            (None, Shape::Map(values)) => Self::plain(self.types, values),
            (None, _) => Self::plain(self.types, &Shape::Any),
        }
    }

    /// The view of a list's items.
    pub(super) fn item(self) -> Self {
        match self.shape {
            Shape::List(items) => Self::plain(self.types, items),
            _ => Self::plain(self.types, &Shape::Any),
        }
    }

    /// What `value` is here. Null is whatever the shape says.
    pub(super) fn form(self, value: &Value) -> Form {
        if let Some(kind) = self.kind() {
            return if self.atomic.unwrap_or(kind.atomic) {
                Form::Leaf
            } else {
                Form::Map
            };
        }
        match (self.shape, value) {
            (Shape::List(_), _) if *self.list != ListKind::Atomic => Form::List,
            (Shape::Map(_), _) if self.atomic != Some(true) => Form::Map,
            (Shape::Any, Value::Object(_) | Value::Null) if self.atomic != Some(true) => Form::Map,
            (_, _) => Form::Leaf,
        }
    }

    /// What tells `item` apart from the other items of the list here.
    pub(super) fn element(self, item: &Value) -> Result<Element, &'static str> {
        match self.list {
            ListKind::Atomic => Err("invalid indexing of non-associative list"),
            ListKind::Set => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type"),
                Value::Array(_) => Err("not supported: associative list with lists as elements"),
                Value::Null => Err("associative list without keys has an element that's an explicit null"),
                value => Ok(Element::Item(value.clone())),
            },
            ListKind::Map(keys) => {
                let members = match item {
                    Value::Object(members) => members,
                    Value::Null => return Err("associative list with keys may not have a null element"),
                    _ => return Err("associative list with keys may not have non-map elements"),
                };
                let kind = self.item().kind();
                let mut named = Vec::with_capacity(keys.len());
                for key in keys {
                    let default = || kind.and_then(|k| k.field(key)).and_then(|f| f.default.as_ref());
                    if let Some(value) = members.get(&**key).or_else(default) {
                        named.push((key.clone(), value.clone()));
                    }
                }
                if named.is_empty() {
                    return Err("associative list with keys has an element that omits all key fields");
                }
                named.sort_by(|a, b| a.0.cmp(&b.0));
                Ok(Element::Key(named.into()))
            }
        }
    }
}
