//! `/openapi/v2` in protobuf: the JSON document in the messages of github.com/google/gnostic, `openapiv2/OpenAPIv2.proto`.
//!
//! Go's discovery client asks for nothing else. Only what our document holds is in the tables; other words are left out.

use super::wire::{bytes_field, fixed_field, number_field};
use serde_json::{Map, Value};

/// What the answer says it is; clients also ask with an `@` before the version, which is not allowed in an answer.
pub(crate) const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// How a word's value is written; a list is written as a repeated field.
enum Shape {
    Text,
    Truth,
    Whole,
    Float,
    /// Anything, as YAML in a message of its own.
    Any,
    One(&'static Message),
    /// A message whose first field is this.
    Wrapped(&'static Shape),
    /// A message of pairs of a name and this.
    Named(&'static Shape),
    SchemaOrTruth,
    Parameter,
}

/// A word, its field's number, and its shape.
type Field = (&'static str, u64, Shape);

struct Message {
    fields: &'static [Field],
    /// The field of words that begin with `x-`.
    extensions: u64,
    /// The field of all other words, where they are names of something.
    names: Option<(u64, &'static Shape)>,
}

use Shape::{Any, Float, Named, One, SchemaOrTruth, Text, Truth, Whole, Wrapped};

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Text),
        ("info", 2, One(&INFO)),
        ("paths", 8, One(&PATHS)),
        ("definitions", 9, Named(&One(&SCHEMA))),
    ],
    extensions: 16,
    names: None,
};

static INFO: Message = Message {
    fields: &[("title", 1, Text), ("version", 2, Text), ("description", 3, Text)],
    extensions: 7,
    names: None,
};

static PATHS: Message = Message {
    fields: &[],
    extensions: 1,
    names: Some((2, &One(&PATH_ITEM))),
};

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, One(&OPERATION)),
        ("put", 3, One(&OPERATION)),
        ("post", 4, One(&OPERATION)),
        ("delete", 5, One(&OPERATION)),
        ("options", 6, One(&OPERATION)),
        ("head", 7, One(&OPERATION)),
        ("patch", 8, One(&OPERATION)),
        ("parameters", 9, Shape::Parameter),
    ],
    extensions: 10,
    names: None,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Text),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Text),
        ("consumes", 7, Text),
        ("parameters", 8, Shape::Parameter),
        ("responses", 9, One(&RESPONSES)),
        ("schemes", 10, Text),
        ("deprecated", 11, Truth),
    ],
    extensions: 13,
    names: None,
};

static RESPONSES: Message = Message {
    fields: &[],
    extensions: 2,
    names: Some((1, &Wrapped(&One(&RESPONSE)))),
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Text), ("schema", 2, Wrapped(&One(&SCHEMA)))],
    extensions: 5,
    names: None,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Truth),
        ("schema", 5, One(&SCHEMA)),
    ],
    extensions: 6,
    names: None,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Truth),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 6, Text),
        ("format", 7, Text),
        ("uniqueItems", 20, Truth),
    ],
    extensions: 23,
    names: None,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Truth),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("format", 6, Text),
        ("uniqueItems", 19, Truth),
    ],
    extensions: 22,
    names: None,
};

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("title", 3, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("multipleOf", 6, Float),
        ("maximum", 7, Float),
        ("exclusiveMaximum", 8, Truth),
        ("minimum", 9, Float),
        ("exclusiveMinimum", 10, Truth),
        ("maxLength", 11, Whole),
        ("minLength", 12, Whole),
        ("pattern", 13, Text),
        ("maxItems", 14, Whole),
        ("minItems", 15, Whole),
        ("uniqueItems", 16, Truth),
        ("maxProperties", 17, Whole),
        ("minProperties", 18, Whole),
        ("required", 19, Text),
        ("enum", 20, Any),
        ("additionalProperties", 21, SchemaOrTruth),
        ("type", 22, Wrapped(&Text)),
        ("items", 23, Wrapped(&One(&SCHEMA))),
        ("allOf", 24, One(&SCHEMA)),
        ("properties", 25, Named(&One(&SCHEMA))),
        ("readOnly", 27, Truth),
        ("example", 30, Any),
    ],
    extensions: 31,
    names: None,
};

/// The document in protobuf.
pub(crate) fn encode(document: &Value) -> Vec<u8> {
    message(&DOCUMENT, document)
}

fn message(kind: &Message, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (word, value) in value.as_object().into_iter().flatten() {
        if let Some((_, number, shape)) = kind.fields.iter().find(|(name, ..)| name == word) {
            field(&mut out, *number, shape, value);
        } else if word.starts_with("x-") {
            named(&mut out, kind.extensions, word, &Any, value);
        } else if let Some((number, shape)) = kind.names {
            named(&mut out, number, word, shape, value);
        }
    }
    out
}

fn field(out: &mut Vec<u8>, number: u64, shape: &Shape, value: &Value) {
    match (shape, value) {
        // A default is one thing, also when it is a list; an enum's and an `items`' list is repeated.
        (Any, Value::Array(list)) if number == 20 => list.iter().for_each(|value| single(out, number, shape, value)),
        (Any | Wrapped(_), _) => single(out, number, shape, value),
        (_, Value::Array(list)) => list.iter().for_each(|value| single(out, number, shape, value)),
        _ => single(out, number, shape, value),
    }
}

fn single(out: &mut Vec<u8>, number: u64, shape: &Shape, value: &Value) {
    match shape {
        Text => bytes_field(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Truth => number_field(out, number, value.as_bool().unwrap_or_default().into()),
        // Negative numbers are ten bytes in two's complement.
        Whole => number_field(out, number, value.as_i64().unwrap_or_default().cast_unsigned()),
        Float => fixed_field(out, number, value.as_f64().unwrap_or_default()),
        Any => bytes_field(out, number, &any(value)),
        One(kind) => bytes_field(out, number, &message(kind, value)),
        Wrapped(shape) => {
            let mut inner = Vec::new();
            field(&mut inner, 1, shape, value);
            bytes_field(out, number, &inner);
        }
        Named(shape) => bytes_field(out, number, &pairs(value.as_object(), shape)),
        SchemaOrTruth => {
            let mut inner = Vec::new();
            match value {
                Value::Bool(truth) => number_field(&mut inner, 2, (*truth).into()),
                schema => bytes_field(&mut inner, 1, &message(&SCHEMA, schema)),
            }
            bytes_field(out, number, &inner);
        }
        Shape::Parameter => bytes_field(out, number, &parameter(value)),
    }
}

fn pairs(map: Option<&Map<String, Value>>, shape: &Shape) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in map.into_iter().flatten() {
        named(&mut out, 1, name, shape, value);
    }
    out
}

fn named(out: &mut Vec<u8>, number: u64, name: &str, shape: &Shape, value: &Value) {
    let mut pair = Vec::new();
    bytes_field(&mut pair, 1, name.as_bytes());
    single(&mut pair, 2, shape, value);
    bytes_field(out, number, &pair);
}

/// JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes_field(&mut out, 2, value.to_string().as_bytes());
    out
}

/// Four messages around each other, by where the parameter stands.
fn parameter(value: &Value) -> Vec<u8> {
    let wrap = |number: u64, inner: &[u8]| {
        let mut out = Vec::new();
        bytes_field(&mut out, number, inner);
        out
    };
    let inner = match value["in"].as_str() {
        Some("body") => wrap(1, &message(&BODY_PARAMETER, value)),
        Some("query") => wrap(2, &wrap(3, &message(&QUERY_PARAMETER, value))),
        Some("header") => wrap(2, &wrap(1, &message(&PATH_PARAMETER, value))),
        _ => wrap(2, &wrap(4, &message(&PATH_PARAMETER, value))),
    };
    wrap(1, &inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_become_the_fields_of_gnostic() {
        for (schema, fields) in [
            (json!({ "type": "object" }), &b"\xb2\x01\x08\x0a\x06object"[..]),
            (json!({ "additionalProperties": true }), b"\xaa\x01\x02\x10\x01"),
            (
                json!({ "x-k": ["b"] }),
                b"\xfa\x01\x0e\x0a\x03x-k\x12\x07\x12\x05[\"b\"]",
            ),
            (json!({ "enum": [1, 2] }), b"\xa2\x01\x03\x12\x011\xa2\x01\x03\x12\x012"),
            (json!({ "oneOf": [{}] }), b""),
        ] {
            assert_eq!(message(&SCHEMA, &schema), fields, "{schema}");
        }
        let named = encode(&json!({ "definitions": { "a": { "title": "b" } } }));
        assert_eq!(named, b"\x4a\x0a\x0a\x08\x0a\x01a\x12\x03\x1a\x01b");
    }
}
