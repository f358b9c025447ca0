//! Bodies of requests: read within limits, decoded from JSON, YAML or protobuf.

use crate::protobuf::{self, ProtobufError};
use api::schema;
use api::status::{self, Status};
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use std::fmt;
use std::time::Duration;

/// Upstream's limit of a request body (apiserver pkg/server/config.go `MaxRequestBodyBytes`).
pub const LIMIT: usize = 3 * 1024 * 1024;

/// A client that takes longer for one body is too slow; upstream's request deadline.
const DEADLINE: Duration = Duration::from_secs(60);

/// Media types of objects that this server reads.
const READABLE: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// Those in which custom resources are read.
pub const READABLE_AS_TEXT: &[&str] = &["application/json", "application/yaml"];

/// A body that has not been read yet, or one that never was on a wire.
pub enum Payload {
    /// From a connection.
    Streaming(Incoming),
    /// From this process.
    Whole(Bytes),
}

/// A decoded body.
#[derive(Debug)]
pub struct Decoded {
    /// The object.
    pub value: Value,
    /// Keys that came twice; the last one counted.
    pub duplicates: Duplicates,
}

/// Keys that came twice in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// None did.
    None,
    /// Some did, in JSON.
    InJson,
    /// Some did, in YAML: `line 10: key "paused" already set in map`.
    InYaml(Vec<String>),
}

/// A YAML document.
#[derive(Debug)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Keys that came twice: `line 10: key "paused" already set in map`.
    pub duplicates: Vec<String>,
}

// === impl Payload ===

impl Payload {
    /// All of it.
    pub async fn read(self) -> Result<Bytes, Status> {
        let body = match self {
            Payload::Whole(bytes) if bytes.len() > LIMIT => return Err(status::too_large(LIMIT)),
            Payload::Whole(bytes) => return Ok(bytes),
            Payload::Streaming(body) => body,
        };
        match tokio::time::timeout(DEADLINE, Limited::new(body, LIMIT).collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(cause)) if cause.is::<http_body_util::LengthLimitError>() => Err(status::too_large(LIMIT)),
            Ok(Err(cause)) => Err(status::bad_request(format!("read the request's body: {cause}"))),
            Err(_) => Err(status::timeout("the request's body did not arrive within a minute")),
        }
    }
}

/// The media type of a body, without its parameters; empty where the client named none.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Decodes an object, in the media type that the client named; JSON by default.
pub fn decode(media_type: &str, bytes: &[u8]) -> Result<Decoded, Status> {
    match media_type {
        "" | "application/json" => json(bytes),
        "application/yaml" => yaml(bytes),
        "application/vnd.kubernetes.protobuf" => protobuf(bytes),
        _ => Err(status::unsupported_media_type(READABLE)),
    }
}

/// Decodes JSON; the parser bounds the nesting.
pub fn json(bytes: &[u8]) -> Result<Decoded, Status> {
    let parsed = schema::parse(bytes).map_err(|cause| {
        status::bad_request(format!(
            "the object provided is unrecognized (must be of type JSON): {cause}"
        ))
    })?;
    let duplicates = if parsed.has_duplicates {
        Duplicates::InJson
    } else {
        Duplicates::None
    };
    Ok(Decoded {
        value: parsed.value,
        duplicates,
    })
}

/// Decodes one YAML document.
pub fn yaml(bytes: &[u8]) -> Result<Decoded, Status> {
    let document =
        document(bytes).map_err(|cause| status::bad_request(format!("error converting YAML to JSON: {cause}")))?;
    Ok(Decoded {
        value: document.value,
        duplicates: if document.duplicates.is_empty() {
            Duplicates::None
        } else {
            Duplicates::InYaml(document.duplicates)
        },
    })
}

/// Reads one YAML document; the error is the parser's sentence.
pub fn document(bytes: &[u8]) -> Result<Document, String> {
    let text = std::str::from_utf8(bytes).map_err(|cause| cause.to_string())?;
    let options = serde_saphyr::options! { duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins };
    let mut duplicates = Vec::new();
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        Build(&mut duplicates).deserialize(yaml)
    })
    .map_err(|cause| cause.to_string())?;
    Ok(Document { value, duplicates })
}

/// Builds a value out of YAML, noting keys that come twice.
struct Build<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, yaml: D) -> Result<Value, D::Error> {
        yaml.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has too")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let line = key.referenced.line();
            let value = map.next_value_seed(Build(self.0))?;
            let said = format!("line {line}: key {:?} already set in map", key.value);
            if members.insert(key.value, value).is_some() {
                self.0.push(said);
            }
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Build(self.0))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, yaml: D) -> Result<Value, D::Error> {
        yaml.deserialize_any(self)
    }
}

/// Decodes protobuf.
fn protobuf(bytes: &[u8]) -> Result<Decoded, Status> {
    match protobuf::decode(bytes) {
        Ok(value) if schema::depth(&value) > schema::DEEPEST => Err(status::bad_request("exceeded max depth")),
        Ok(value) => Ok(Decoded {
            value,
            duplicates: Duplicates::None,
        }),
        Err(ProtobufError::UnknownKind { .. }) => Err(status::unsupported_media_type(READABLE)),
        Err(cause) => Err(status::bad_request(cause.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_that_could_not_be_read_again_as_json_is_not_taken() {
        let nested = |levels: usize| format!("a: {}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(document(nested(50).as_bytes()).is_ok());
        assert!(document(nested(schema::DEEPEST).as_bytes()).is_err());
    }

    #[test]
    fn keys_that_come_twice_are_noted() {
        let yaml = document(b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n").unwrap();
        assert_eq!(yaml.value.to_string(), r#"{"a":3,"b":{"c":2}}"#);
        assert_eq!(
            yaml.duplicates,
            [
                "line 4: key \"c\" already set in map",
                "line 5: key \"a\" already set in map"
            ]
        );
        let decoded = json(br#"{"a":1,"b":{"c":[{"d":1,"d":2}]},"a":3}"#).unwrap();
        assert_eq!(decoded.value.to_string(), r#"{"a":3,"b":{"c":[{"d":2}]}}"#);
        assert_eq!(decoded.duplicates, Duplicates::InJson);
    }

    #[test]
    fn what_is_no_object_is_refused_with_a_sentence() {
        let deep = "[".repeat(100_000);
        for bytes in [&b"{"[..], b"{} {}", b"\xff", deep.as_bytes()] {
            assert_eq!(json(bytes).unwrap_err().code, 400);
        }
        assert_eq!(yaml(b"a: [").unwrap_err().code, 400);
        assert_eq!(decode("text/html", b"").unwrap_err().code, 415);
    }

    #[test]
    fn yaml_becomes_json() {
        let decoded = decode("application/yaml", b"a: 1\nb: [x, 'true', true, ~]\n").unwrap();
        assert_eq!(decoded.value.to_string(), r#"{"a":1,"b":["x","true",true,null]}"#);
    }
}
