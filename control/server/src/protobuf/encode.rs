//! JSON to protobuf.

use super::numbers::{self, Form, Message};
use super::type_of;
use super::wire::{bytes_field, number_field};
use api::schema::{self, Shape, Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The schema that a CustomResourceDefinition holds.
pub(super) const JSON_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// The body that stands for an object of a built-in kind, or for a list of them; none for anything else.
pub fn encode(object: &Value) -> Option<Vec<u8>> {
    let text = |member: &str| object.get(member).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let members = object.as_object()?;
    let raw = match (type_of(api_version, kind), kind.strip_suffix("List")) {
        (Some(of), _) => message(numbers::of(&of.name)?, of, members)?,
        (None, Some(item)) => list(members, type_of(api_version, item)?)?,
        (None, None) => return None,
    };
    let mut body = super::parts::head(api_version, kind);
    bytes_field(&mut body, 2, &raw);
    body.extend_from_slice(super::parts::TAIL);
    Some(body)
}

fn list(members: &Map<String, Value>, of: &Type) -> Option<Vec<u8>> {
    let mut out = super::parts::list_meta(members.get("metadata")?)?;
    let numbers = numbers::of(&of.name)?;
    for item in members.get("items")?.as_array()? {
        bytes_field(&mut out, 2, &message(numbers, of, item.as_object()?)?);
    }
    Some(out)
}

/// A message's bytes. None where a value is not of its field's type, which nothing that was validated is.
pub(super) fn message(numbers: &Message, of: &Type, members: &Map<String, Value>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for field in numbers {
        if field.form == Form::Inline {
            let inline = message(numbers::inline(&of.name, field.name)?, of, members)?;
            bytes_field(&mut out, field.number, &inline);
            continue;
        }
        let Some(found) = members.get(field.name).filter(|found| !found.is_null()) else {
            continue;
        };
        match field.form {
            Form::SchemaOrArray => bytes_field(&mut out, field.number, &schema_or_array(found)?),
            Form::SchemaOrBool => bytes_field(&mut out, field.number, &schema_or_bool(found)?),
            Form::SchemaOrStrings => {
                for (key, found) in found.as_object()? {
                    entry(&mut out, field.number, key, |out| {
                        bytes_field(out, 2, &schema_or_strings(found)?);
                        Some(())
                    })?;
                }
            }
            Form::Empty => bytes_field(&mut out, field.number, b""),
            Form::Plain | Form::ZeroIsUnset | Form::EmptyCounts | Form::MicroTime | Form::Inline => {
                // What the schema does not know was pruned, or is of a version that has it no more.
                if let Some(known) = of.field(field.name) {
                    add(&mut out, field.number, &known.shape, found)?;
                }
            }
        }
    }
    Some(out)
}

fn add(out: &mut Vec<u8>, number: u64, shape: &Shape, found: &Value) -> Option<()> {
    match shape {
        Shape::List(item) => found
            .as_array()?
            .iter()
            .try_for_each(|found| add(out, number, item, found)),
        Shape::Map(item) => found.as_object()?.iter().try_for_each(|(key, found)| {
            entry(out, number, key, |out| match &**item {
                // A list as a map's value is a message of its own (`ExtraValue`).
                Shape::List(_) => {
                    let mut list = Vec::new();
                    add(&mut list, 1, item, found)?;
                    bytes_field(out, 2, &list);
                    Some(())
                }
                item => add(out, 2, item, found),
            })
        }),
        Shape::Boolean => {
            number_field(out, number, found.as_bool()?.into());
            Some(())
        }
        Shape::Int32 | Shape::Int64 => {
            number_field(out, number, found.as_i64()?.cast_unsigned());
            Some(())
        }
        Shape::Number => {
            super::wire::fixed_field(out, number, found.as_f64()?);
            Some(())
        }
        shape => {
            bytes_field(out, number, &content(shape, found)?);
            Some(())
        }
    }
}

/// What a field with a length holds.
fn content(shape: &Shape, found: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match shape {
        Shape::Text => out.extend_from_slice(found.as_str()?.as_bytes()),
        Shape::Bytes => out = STANDARD.decode(found.as_str()?).ok()?,
        Shape::Time => {
            let when: Timestamp = found.as_str()?.parse().ok()?;
            number_field(&mut out, 1, when.as_second().cast_unsigned());
            number_field(&mut out, 2, u64::try_from(when.subsec_nanosecond()).unwrap_or_default());
        }
        Shape::Quantity => match found {
            Value::String(text) => bytes_field(&mut out, 1, text.as_bytes()),
            other => bytes_field(&mut out, 1, other.to_string().as_bytes()),
        },
        Shape::IntOrString => match found {
            Value::String(text) => {
                number_field(&mut out, 1, 1);
                bytes_field(&mut out, 3, text.as_bytes());
            }
            other => {
                number_field(&mut out, 1, 0);
                number_field(&mut out, 2, other.as_i64()?.cast_unsigned());
            }
        },
        Shape::Any => bytes_field(&mut out, 1, found.to_string().as_bytes()),
        Shape::Object(at) => {
            let of = schema::types().at(*at);
            out = message(numbers::of(&of.name)?, of, found.as_object()?)?;
        }
        Shape::List(_) | Shape::Map(_) | Shape::Boolean | Shape::Int32 | Shape::Int64 | Shape::Number => return None,
    }
    Some(out)
}

fn entry(out: &mut Vec<u8>, number: u64, key: &str, value: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<()> {
    let mut entry = Vec::new();
    bytes_field(&mut entry, 1, key.as_bytes());
    value(&mut entry)?;
    bytes_field(out, number, &entry);
    Some(())
}

fn json_schema(found: &Value) -> Option<Vec<u8>> {
    let of = schema::types().by_name(JSON_SCHEMA)?;
    message(numbers::of(&of.name)?, of, found.as_object()?)
}

fn schema_or_array(found: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match found {
        Value::Array(list) => list.iter().try_for_each(|found| {
            bytes_field(&mut out, 2, &json_schema(found)?);
            Some(())
        })?,
        one => bytes_field(&mut out, 1, &json_schema(one)?),
    }
    Some(out)
}

fn schema_or_bool(found: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // A schema allows, which upstream writes beside it.
    number_field(&mut out, 1, found.as_bool().unwrap_or(true).into());
    if found.is_object() {
        bytes_field(&mut out, 2, &json_schema(found)?);
    }
    Some(out)
}

fn schema_or_strings(found: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match found {
        Value::Array(list) => list.iter().try_for_each(|text| {
            bytes_field(&mut out, 2, text.as_str()?.as_bytes());
            Some(())
        })?,
        one => bytes_field(&mut out, 1, &json_schema(one)?),
    }
    Some(out)
}
