//! Replies: heads and bodies as clients expect them.

use crate::negotiate::{Encoding, PROTOBUF};
use crate::protobuf;
use api::status::Status;
use bytes::Bytes;
use client::Body;
use futures_util::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;
use std::io;

/// What people read when they did not ask for a text to be printed; upstream answers so on /healthz.
const TEXT: &str = "text/plain; charset=utf-8";

/// A body of these bytes.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body that is made as it is read.
pub fn streaming(frames: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Body {
    use futures_util::StreamExt;
    BodyExt::boxed(StreamBody::new(
        frames.map(|bytes| Ok::<_, io::Error>(Frame::data(bytes))),
    ))
}

/// The same, whose making may fail: the client then sees that the body was cut off.
pub fn breakable(frames: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) -> Body {
    use futures_util::StreamExt;
    BodyExt::boxed(StreamBody::new(frames.map(|bytes| bytes.map(Frame::data))))
}

/// A reply with a body of one media type.
pub fn of(code: u16, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// JSON text that was encoded before.
pub fn json_bytes(code: u16, bytes: Bytes) -> Response<Body> {
    of(code, "application/json", whole(bytes))
}

/// An object.
pub fn object(code: u16, encoding: Encoding, object: &Value) -> Response<Body> {
    match encoding {
        Encoding::Json => json_bytes(code, object.to_string().into()),
        Encoding::Yaml => match serde_saphyr::to_string(object) {
            Ok(text) => of(code, "application/yaml", whole(text)),
            Err(_) => json_bytes(code, object.to_string().into()),
        },
        Encoding::Protobuf => match protobuf::encode(object) {
            Some(bytes) => of(code, PROTOBUF, whole(bytes)),
            // Such as an answer of a version that has no protobuf form; the Content-Type says what it is.
            None => json_bytes(code, object.to_string().into()),
        },
    }
}

/// Plain text.
pub fn text(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = of(code, TEXT, whole(text));
    response
        .headers_mut()
        .insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// A refusal, as a Status object; with Retry-After where it says when to come again.
pub fn refusal(encoding: Encoding, status: &Status) -> Response<Body> {
    let mut response = object(status.code, encoding, &status.to_value());
    if let Some(seconds) = status.details.get("retryAfterSeconds").and_then(Value::as_u64) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// All warnings of a reply together are cut off here, in bytes, so that its head stays small (apiserver filters/warning.go).
const MAX_WARNINGS: usize = 4 * 1024;

/// Adds a `Warning: 299` header for each sentence, once (RFC 7234 §5.5; kubectl prints them).
pub fn warn(response: &mut Response<Body>, sentences: &[String]) {
    let mut total = 0;
    for (at, sentence) in sentences.iter().enumerate() {
        total += sentence.len();
        if total > MAX_WARNINGS {
            return;
        }
        if sentences[..at].contains(sentence) {
            continue;
        }
        let quoted: String = sentence.chars().filter(|c| !c.is_control()).flat_map(escape).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

fn escape(c: char) -> impl Iterator<Item = char> {
    matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c])
}
