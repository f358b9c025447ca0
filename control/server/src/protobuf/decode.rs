//! Protobuf to JSON.

use super::numbers::{self, Form, Message, Numbered};
use super::wire::{Payload, Wire};
use super::{DEPTH, MAGIC, ProtobufError, type_of};
use api::schema::{self, Shape, Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

type Result<T> = std::result::Result<T, ProtobufError>;

/// The JSON that a body stands for.
pub fn decode(bytes: &[u8]) -> Result<Value> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Wire(envelope) {
        match field? {
            (1, Payload::Bytes(type_meta)) => {
                for field in Wire(type_meta) {
                    match field? {
                        (1, Payload::Bytes(bytes)) => api_version = text(bytes),
                        (2, Payload::Bytes(bytes)) => kind = text(bytes),
                        _ => {}
                    }
                }
            }
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let mut object = Map::new();
    let item = kind.strip_suffix("List").and_then(|item| type_of(&api_version, item));
    match (type_of(&api_version, &kind), item) {
        (Some(of), _) => members(numbers_of(of)?, of, raw, &mut object, 0)?,
        (None, Some(item)) => list(item, raw, &mut object)?,
        (None, None) => return Err(ProtobufError::UnknownKind { kind }),
    }
    object.insert("kind".to_owned(), kind.into());
    object.insert("apiVersion".to_owned(), api_version.into());
    Ok(Value::Object(object))
}

/// A list's members; its items say no kind of their own.
fn list(of: &Type, bytes: &[u8], into: &mut Map<String, Value>) -> Result<()> {
    let meta = schema::types()
        .by_name(super::parts::LIST_META)
        .ok_or(ProtobufError::Malformed)?;
    let mut items = Vec::new();
    for field in Wire(bytes) {
        let mut object = Map::new();
        match field? {
            (1, payload) => {
                members(numbers_of(meta)?, meta, payload.bytes()?, &mut object, 0)?;
                into.insert("metadata".to_owned(), object.into());
            }
            (2, payload) => {
                members(numbers_of(of)?, of, payload.bytes()?, &mut object, 0)?;
                items.push(Value::Object(object));
            }
            _ => {}
        }
    }
    into.insert("items".to_owned(), items.into());
    Ok(())
}

fn numbers_of(of: &Type) -> Result<&'static Message> {
    numbers::of(&of.name).ok_or(ProtobufError::Malformed)
}

/// Adds the members of a message to `into`.
fn members(numbers: &Message, of: &Type, bytes: &[u8], into: &mut Map<String, Value>, depth: usize) -> Result<()> {
    if depth > DEPTH {
        return Err(ProtobufError::Malformed);
    }
    for item in Wire(bytes) {
        let (number, payload) = item?;
        let Ok(at) = numbers.binary_search_by_key(&number, |field| field.number) else {
            continue;
        };
        let field = &numbers[at];
        if field.form == Form::Inline {
            let inline = numbers::inline(&of.name, field.name).ok_or(ProtobufError::Malformed)?;
            members(inline, of, payload.bytes()?, into, depth + 1)?;
            continue;
        }
        // A field that this version's schema does not have any more is skipped like one with an unknown number.
        let Some(known) = of.field(field.name) else { continue };
        member(field, &known.shape, &payload, into, depth)?;
    }
    Ok(())
}

fn member(
    field: &Numbered,
    shape: &Shape,
    payload: &Payload<'_>,
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<()> {
    let malformed = ProtobufError::Malformed;
    match (field.form, shape) {
        (Form::SchemaOrStrings, _) => {
            let (key, found) = entry(payload.bytes()?, Value::Null, |payload| {
                schema_or(Form::SchemaOrStrings, payload, depth)
            })?;
            let map = into.entry(field.name).or_insert_with(|| json!({}));
            map.as_object_mut().ok_or(malformed)?.insert(key, found);
        }
        (Form::SchemaOrArray | Form::SchemaOrBool, _) => {
            into.insert(field.name.to_owned(), schema_or(field.form, payload, depth)?);
        }
        (Form::Empty, _) => {
            into.insert(field.name.to_owned(), json!({}));
        }
        (_, Shape::List(item)) => {
            let list = into.entry(field.name).or_insert_with(|| json!([]));
            list.as_array_mut()
                .ok_or(malformed)?
                .push(value(item, Form::EmptyCounts, payload, depth)?);
        }
        (_, Shape::Map(item)) => {
            let (key, found) = entry(payload.bytes()?, absent(item), |payload| {
                entry_value(item, payload, depth)
            })?;
            let map = into.entry(field.name).or_insert_with(|| json!({}));
            map.as_object_mut().ok_or(malformed)?.insert(key, found);
        }
        (form, shape) => {
            let found = value(shape, form, payload, depth)?;
            if is_set(form, &found) {
                into.insert(field.name.to_owned(), found);
            }
        }
    }
    Ok(())
}

fn is_set(form: Form, found: &Value) -> bool {
    match found {
        Value::Null => false,
        Value::String(text) => !text.is_empty() || form == Form::EmptyCounts,
        Value::Bool(set) => *set || form != Form::ZeroIsUnset,
        Value::Number(number) => number.as_i64() != Some(0) || form != Form::ZeroIsUnset,
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// A map's entry. An absent key is the empty text.
fn entry<'a>(bytes: &'a [u8], absent: Value, read: impl Fn(&Payload<'a>) -> Result<Value>) -> Result<(String, Value)> {
    let (mut key, mut found) = (String::new(), absent);
    for item in Wire(bytes) {
        match item? {
            (1, Payload::Bytes(bytes)) => key = text(bytes),
            (2, payload) => found = read(&payload)?,
            _ => {}
        }
    }
    Ok((key, found))
}

/// What a map has under a key whose value is not written.
fn absent(shape: &Shape) -> Value {
    match shape {
        Shape::Text | Shape::Bytes | Shape::Quantity => json!(""),
        Shape::Boolean => json!(false),
        Shape::Int32 | Shape::Int64 | Shape::Number | Shape::IntOrString => json!(0),
        Shape::Time | Shape::Any => Value::Null,
        Shape::Object(_) | Shape::Map(_) => json!({}),
        Shape::List(_) => json!([]),
    }
}

/// A list as a map's value is a message of its own (`ExtraValue`).
fn entry_value(shape: &Shape, payload: &Payload<'_>, depth: usize) -> Result<Value> {
    let Shape::List(item) = shape else {
        return value(shape, Form::EmptyCounts, payload, depth);
    };
    let mut list = Vec::new();
    for field in Wire(payload.bytes()?) {
        if let (1, payload) = field? {
            list.push(value(item, Form::EmptyCounts, &payload, depth)?);
        }
    }
    Ok(list.into())
}

fn value(shape: &Shape, form: Form, payload: &Payload<'_>, depth: usize) -> Result<Value> {
    Ok(match shape {
        Shape::Text => text(payload.bytes()?).into(),
        Shape::Bytes => STANDARD.encode(payload.bytes()?).into(),
        Shape::Boolean => (payload.number()? != 0).into(),
        // Negative numbers of both widths are written as 64 bits in two's complement.
        Shape::Int32 | Shape::Int64 => payload.number()?.cast_signed().into(),
        Shape::Number => number(f64::from_bits(payload.number()?)),
        Shape::Time => time(payload.bytes()?, form == Form::MicroTime)?,
        Shape::Quantity => Parts::of(payload.bytes()?)?.text(1).into(),
        Shape::IntOrString => {
            let parts = Parts::of(payload.bytes()?)?;
            match parts.numbers[1] {
                0 => parts.numbers[2].into(),
                _ => parts.text(3).into(),
            }
        }
        Shape::Any => raw(payload.bytes()?)?,
        Shape::Object(at) => {
            let of = schema::types().at(*at);
            let mut object = Map::new();
            members(numbers_of(of)?, of, payload.bytes()?, &mut object, depth + 1)?;
            Value::Object(object)
        }
        Shape::List(_) | Shape::Map(_) => return Err(ProtobufError::Malformed),
    })
}

/// Whole numbers as JSON writes them: Go's encoder leaves out `.0` too.
fn number(found: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if found.fract() == 0.0 && found.abs() < EXACT {
        return json!(found as i64);
    }
    json!(found)
}

/// Text that is JSON (`RawExtension`, `JSON`, `FieldsV1`).
fn raw(bytes: &[u8]) -> Result<Value> {
    match Parts::of(bytes)?.texts[1] {
        [] => Ok(Value::Null),
        json => serde_json::from_slice(json).map_err(|_| ProtobufError::Malformed),
    }
}

fn time(bytes: &[u8], micro: bool) -> Result<Value> {
    let parts = Parts::of(bytes)?;
    // Go's zero time.
    if parts.numbers[1] == 0 {
        return Ok(Value::Null);
    }
    let nanoseconds = i32::try_from(parts.numbers[2]).map_err(|_| ProtobufError::Malformed)?;
    let when = Timestamp::new(parts.numbers[1], nanoseconds).map_err(|_| ProtobufError::Malformed)?;
    let format = if micro {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    Ok(when.strftime(format).to_string().into())
}

/// A schema, or what may stand instead of one.
fn schema_or(form: Form, payload: &Payload<'_>, depth: usize) -> Result<Value> {
    let mut found = Value::Null;
    for field in Wire(payload.bytes()?) {
        match (form, field?) {
            (Form::SchemaOrArray, (2, payload)) => match &mut found {
                Value::Array(list) => list.push(json_schema(&payload, depth)?),
                _ => found = json!([json_schema(&payload, depth)?]),
            },
            (Form::SchemaOrBool, (1, Payload::Number(allows))) if found.is_null() => found = (allows != 0).into(),
            (Form::SchemaOrStrings, (2, Payload::Bytes(bytes))) => match &mut found {
                Value::Array(list) => list.push(text(bytes).into()),
                _ => found = json!([text(bytes)]),
            },
            (Form::SchemaOrArray | Form::SchemaOrStrings, (1, payload)) | (Form::SchemaOrBool, (2, payload)) => {
                found = json_schema(&payload, depth)?;
            }
            _ => {}
        }
    }
    Ok(found)
}

fn json_schema(payload: &Payload<'_>, depth: usize) -> Result<Value> {
    let of = schema::types()
        .by_name(super::encode::JSON_SCHEMA)
        .ok_or(ProtobufError::Malformed)?;
    let mut object = Map::new();
    members(numbers_of(of)?, of, payload.bytes()?, &mut object, depth + 1)?;
    Ok(Value::Object(object))
}

/// The first fields of a small message.
struct Parts<'a> {
    numbers: [i64; 4],
    texts: [&'a [u8]; 4],
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self> {
        let mut parts = Parts {
            numbers: [0; 4],
            texts: [&[]; 4],
        };
        for item in Wire(bytes) {
            match item? {
                (number @ 1..=3, Payload::Number(value)) => parts.numbers[number as usize] = value.cast_signed(),
                (number @ 1..=3, Payload::Bytes(text)) => parts.texts[number as usize] = text,
                _ => {}
            }
        }
        Ok(parts)
    }

    fn text(&self, at: usize) -> String {
        text(self.texts[at])
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
