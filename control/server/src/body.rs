//! Bodies of requests: read within limits, decoded from JSON, YAML or protobuf.

use crate::protobuf::{self, ProtobufError};
use api::schema;
use api::status::{self, Status};
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;
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
    /// Keys that came twice, in upstream's words; the last one counted.
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
    let value = serde_json::from_slice(bytes).map_err(|cause| {
        status::bad_request(format!(
            "the object provided is unrecognized (must be of type JSON): {cause}"
        ))
    })?;
    Ok(Decoded {
        value,
        duplicates: schema::duplicate_fields(bytes),
    })
}

/// Decodes one YAML document.
pub fn yaml(bytes: &[u8]) -> Result<Decoded, Status> {
    let bad = |cause: &dyn fmt::Display| status::bad_request(format!("error converting YAML to JSON: {cause}"));
    let text = std::str::from_utf8(bytes).map_err(|cause| bad(&cause))?;
    let value: Value = serde_saphyr::from_str(text).map_err(|cause| bad(&cause))?;
    Ok(Decoded {
        value,
        duplicates: Vec::new(),
    })
}

/// Decodes protobuf.
fn protobuf(bytes: &[u8]) -> Result<Decoded, Status> {
    match protobuf::decode(bytes) {
        Ok(value) => Ok(Decoded {
            value,
            duplicates: Vec::new(),
        }),
        Err(ProtobufError::UnknownKind { .. }) => Err(status::unsupported_media_type(READABLE)),
        Err(cause) => Err(status::bad_request(cause.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_come_twice_are_noted() {
        let decoded = json(br#"{"a":1,"b":{"c":[{"d":1,"d":2}]},"a":3}"#).unwrap();
        assert_eq!(decoded.value.to_string(), r#"{"a":3,"b":{"c":[{"d":2}]}}"#);
        assert_eq!(decoded.duplicates.len(), 2, "{:?}", decoded.duplicates);
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
