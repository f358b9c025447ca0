//! What is wrong with one field of an object, in upstream's words (apimachinery `field.Error`).

use serde_json::Value;
use std::fmt::{self, Write};

/// The sort of a [`FieldError`]; its [`Reason::code`] is the `reason` of a Status cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A reference that leads nowhere.
    NotFound,
    /// Missing.
    Required,
    /// Twice in a list or map that allows it once.
    Duplicate,
    /// Malformed.
    Invalid,
    /// Not one of the known words.
    NotSupported,
    /// May not be set, or not now.
    Forbidden,
    /// Longer than allowed.
    TooLong,
    /// More than allowed.
    TooMany,
    /// Of the wrong JSON type.
    TypeInvalid,
}

impl Reason {
    /// The word in a Status cause.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::NotFound => "FieldValueNotFound",
            Reason::Required => "FieldValueRequired",
            Reason::Duplicate => "FieldValueDuplicate",
            Reason::Invalid => "FieldValueInvalid",
            Reason::NotSupported => "FieldValueNotSupported",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany => "FieldValueTooMany",
            Reason::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Reason::NotFound => "Not found",
            Reason::Required => "Required value",
            Reason::Duplicate => "Duplicate value",
            Reason::Invalid | Reason::TypeInvalid => "Invalid value",
            Reason::NotSupported => "Unsupported value",
            Reason::Forbidden => "Forbidden",
            Reason::TooLong => "Too long",
            Reason::TooMany => "Too many",
        }
    }
}

/// One field that is wrong; displays as `spec.containers[0].image: Required value`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Where: `spec.containers[0].name`, `data[key]`.
    pub field: String,
    /// What sort.
    pub reason: Reason,
    /// The value as it came, where the message shows it.
    pub value: Option<Value>,
    /// More, or empty.
    pub detail: String,
}

impl FieldError {
    fn new(field: impl Into<String>, reason: Reason, value: Option<Value>, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason,
            value,
            detail: detail.into(),
        }
    }

    /// Missing.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, Reason::Required, None, detail)
    }

    /// Malformed.
    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(field, Reason::Invalid, Some(value.into()), detail)
    }

    /// Of the wrong JSON type, or not of its format.
    pub fn type_invalid(field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(field, Reason::TypeInvalid, Some(value.into()), detail)
    }

    /// There already.
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(field, Reason::Duplicate, Some(value.into()), "")
    }

    /// Leads nowhere.
    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(field, Reason::NotFound, Some(value.into()), "")
    }

    /// May not be set.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, Reason::Forbidden, None, detail)
    }

    /// Longer than `limit` bytes.
    pub fn too_long(field: impl Into<String>, limit: usize) -> Self {
        let unit = if limit == 1 { "byte" } else { "bytes" };
        Self::new(
            field,
            Reason::TooLong,
            None,
            format!("may not be more than {limit} {unit}"),
        )
    }

    /// More than `limit` items.
    pub fn too_many(field: impl Into<String>, count: usize, limit: usize) -> Self {
        let unit = if limit == 1 { "item" } else { "items" };
        Self::new(
            field,
            Reason::TooMany,
            Some(count.into()),
            format!("must have at most {limit} {unit}"),
        )
    }

    /// Not one of `known`.
    pub fn not_supported(field: impl Into<String>, value: impl Into<Value>, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|k| quoted(k)).collect();
        Self::new(
            field,
            Reason::NotSupported,
            Some(value.into()),
            format!("supported values: {}", known.join(", ")),
        )
    }

    /// The message without the field.
    pub fn body(&self) -> String {
        let mut text = self.reason.words().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            match value {
                Value::String(s) => text.push_str(&quoted(s)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    text.push_str(&value.to_string())
                }
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// `text` as Go's `%q` writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
