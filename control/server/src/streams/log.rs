//! A container's log: its options checked as upstream checks them, and the node's refusals as Status objects.

use super::node::encode;
use crate::body::Payload;
use crate::call::Call;
use crate::reply;
use api::FieldError;
use api::status::{self, Status};
use client::Body;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

/// Options that are true or false.
const FLAGS: [&str; 3] = ["follow", "previous", "timestamps"];

/// Most of a node's refusal that is passed on; upstream's `maxReadLength`.
const LONGEST_REFUSAL: usize = 50_000;

/// The node's path of it.
pub(super) fn path(call: &Call, container: &str) -> Result<String, Status> {
    let mut options: Vec<String> = FLAGS
        .into_iter()
        .filter(|name| call.query.flag(name).unwrap_or(false))
        .map(|name| format!("{name}=true"))
        .collect();
    let mut numbers = [("sinceSeconds", None), ("tailLines", None), ("limitBytes", None)];
    for (name, number) in &mut numbers {
        *number = whole(call.query.get(name))?;
        options.extend(number.map(|number| format!("{name}={number}")));
    }
    let [since_seconds, tail, limit] = numbers.map(|(_, number)| number);
    let since_time = call.query.get("sinceTime");
    if let Some(text) = since_time {
        text.parse::<jiff::Timestamp>()
            .map_err(|cause| status::bad_request(format!("parsing time {text:?}: {cause}")))?;
        options.push(format!("sinceTime={}", encode(text)));
    }
    let stream = call.query.get("stream");
    options.extend(stream.map(|stream| format!("stream={}", encode(stream))));
    let errors = errors(tail, limit, since_seconds, since_time.is_some(), stream);
    if !errors.is_empty() {
        return Err(invalid(call, &errors));
    }
    let (namespace, pod) = (&call.namespace, &call.name);
    Ok(format!(
        "/containerLogs/{namespace}/{pod}/{container}?{}",
        options.join("&")
    ))
}

fn whole(text: Option<&str>) -> Result<Option<i64>, Status> {
    let Some(text) = text else { return Ok(None) };
    let bad = |_| status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
    text.parse().map(Some).map_err(bad)
}

/// Upstream's `ValidatePodLogOptions` (pkg/apis/core/validation).
fn errors(
    tail: Option<i64>,
    limit: Option<i64>,
    since_seconds: Option<i64>,
    has_since_time: bool,
    stream: Option<&str>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        errors.push(FieldError::invalid(
            "tailLines",
            tail,
            "must be greater than or equal to 0",
        ));
    }
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        errors.push(FieldError::invalid("limitBytes", limit, "must be greater than 0"));
    }
    match since_seconds {
        Some(_) if has_since_time => {
            let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.push(FieldError::forbidden("", why));
        }
        Some(seconds) if seconds < 1 => {
            errors.push(FieldError::invalid("sinceSeconds", seconds, "must be greater than 0"));
        }
        Some(_) | None => {}
    }
    match stream {
        None | Some("All") => {}
        Some("Stdout" | "Stderr") if tail.is_some() => {
            let why = "`tailLines` and specific `stream` are mutually exclusive for now";
            errors.push(FieldError::forbidden("", why));
        }
        Some("Stdout" | "Stderr") => {}
        Some(other) => errors.push(FieldError::not_supported("stream", other, &["All", "Stdout", "Stderr"])),
    }
    errors
}

/// As upstream says it, of the options and not of the pod.
fn invalid(call: &Call, errors: &[FieldError]) -> Status {
    let mut invalid = status::invalid(&call.rules, &call.name, errors);
    if let Some(rest) = invalid.message.strip_prefix("Pod ") {
        invalid.message = format!("PodLogOptions {rest}");
    }
    invalid.details.insert("kind".to_owned(), "PodLogOptions".into());
    invalid
}

/// Of a pod that no node has: nothing, and no error.
pub(super) fn none() -> Response<Body> {
    let mut response = Response::new(reply::whole(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Asks the node, and passes on what it has, or why it has nothing.
pub(super) async fn serve(call: &Call, node: &Value, path: &str, parts: Parts) -> Result<Response<Body>, Status> {
    let trusting = call.query.flag("insecureSkipTLSVerifyBackend").unwrap_or(false);
    let nodes = match trusting {
        true => call.server.nodes.trusting_anybody(),
        false => call.server.nodes.clone(),
    };
    let payload = Payload::Whole(bytes::Bytes::new());
    let response = nodes.forward(node, path, parts, payload).await?;
    let code = response.status();
    if code.is_success() || code == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let body = Limited::new(response.into_body(), LONGEST_REFUSAL).collect().await;
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    Err(refusal(code, &String::from_utf8_lossy(&text), &call.name))
}

/// Upstream's `GenericHttpResponseChecker` (apiserver pkg/registry/generic/rest/response_checker.go).
fn refusal(code: StatusCode, said: &str, pod: &str) -> Status {
    let (reason, message) = match code {
        StatusCode::INTERNAL_SERVER_ERROR => return status::internal(said),
        StatusCode::BAD_REQUEST => return status::bad_request(said),
        StatusCode::NOT_FOUND => (
            "NotFound",
            "the server could not find the requested resource".to_owned(),
        ),
        StatusCode::FORBIDDEN => ("Forbidden", said.to_owned()),
        code if code.is_server_error() => (
            "InternalError",
            format!("an error on the server ({said:?}) has prevented the request from succeeding"),
        ),
        _ => ("", "the server rejected our request for an unknown reason".to_owned()),
    };
    let mut refusal = status::bad_request(format!("{message} ( pods/log {pod})"));
    refusal.code = code.as_u16();
    refusal.reason = reason;
    for (key, value) in [("kind", "pods/log"), ("name", pod)] {
        refusal.details.insert(key.to_owned(), value.into());
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_options_are_named() {
        let said = |tail, limit, since, time, stream| -> Vec<String> {
            let errors = errors(tail, limit, since, time, stream);
            errors
                .iter()
                .map(|error| format!("{}: {}", error.field, error.body()))
                .collect()
        };
        assert!(said(Some(0), Some(1), Some(1), false, Some("All")).is_empty());
        let all = said(Some(-1), Some(0), Some(0), false, Some("Both"));
        assert_eq!(
            all[0],
            "tailLines: Invalid value: -1: must be greater than or equal to 0"
        );
        assert_eq!(all[1], "limitBytes: Invalid value: 0: must be greater than 0");
        assert_eq!(all[2], "sinceSeconds: Invalid value: 0: must be greater than 0");
        assert_eq!(
            all[3],
            "stream: Unsupported value: \"Both\": supported values: \"All\", \"Stdout\", \"Stderr\""
        );
        assert!(said(None, None, Some(1), true, None)[0].contains("at most one of"));
        assert!(said(Some(1), None, None, false, Some("Stdout"))[0].contains("mutually exclusive"));
    }

    #[test]
    fn a_nodes_refusal_is_a_status() {
        let bad = refusal(
            StatusCode::BAD_REQUEST,
            "container \"c\" in pod \"p\" is waiting to start: X",
            "p",
        );
        assert_eq!((bad.code, bad.reason), (400, "BadRequest"));
        assert_eq!(bad.message, "container \"c\" in pod \"p\" is waiting to start: X");
        let missing = refusal(StatusCode::NOT_FOUND, "x", "p");
        assert_eq!((missing.code, missing.reason), (404, "NotFound"));
        assert_eq!(
            missing.message,
            "the server could not find the requested resource ( pods/log p)"
        );
    }
}
