//! The `Status` object that answers a request that failed, with upstream's reasons and sentences (apimachinery `api/errors`).

use crate::{field::FieldError, rules::Rules};
use serde_json::{Map, Value, json};
use std::fmt;

/// A refusal. `code` is the HTTP status, `reason` what programs match on, `message` what people read.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// One word, such as `NotFound`; empty where upstream has none.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// `name`, `group`, `kind`, `uid`, `causes`, `retryAfterSeconds`, as far as known.
    pub details: Map<String, Value>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Map::new(),
        }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                self.details.insert(key.to_owned(), value.into());
            }
        }
        self
    }

    /// Seconds to wait before the next try; the server also sends it as `Retry-After`.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.insert("retryAfterSeconds".to_owned(), seconds.into());
        self
    }

    /// Adds a cause: a reason code, a sentence, and the field it is about (empty for none).
    pub fn cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let mut cause = json!({ "reason": reason, "message": message });
        if !field.is_empty() {
            cause["field"] = field.into();
        }
        if let Some(causes) = self.details.entry("causes").or_insert_with(|| json!([])).as_array_mut() {
            causes.push(cause);
        }
        self
    }

    /// The object on the wire.
    pub fn to_value(&self) -> Value {
        let mut object = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
        });
        if !self.reason.is_empty() {
            object["reason"] = self.reason.into();
        }
        if !self.details.is_empty() {
            object["details"] = Value::Object(self.details.clone());
        }
        object["code"] = self.code.into();
        object
    }
}

/// The answer to a delete that removed the object: `Success`, with the object's name, kind and uid.
pub fn deleted(rules: &Rules, name: &str, uid: &str) -> Value {
    let details = Status::new(200, "", "").about(rules.group, rules.plural, name).details;
    let mut object =
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
    object["details"]["uid"] = uid.into();
    object
}

/// 404 for an object: `pods "x" not found`.
pub fn not_found(rules: &Rules, name: &str) -> Status {
    let message = format!("{} {name:?} not found", rules.resource());
    Status::new(404, "NotFound", message).about(rules.group, rules.plural, name)
}

/// 404 for a path that nothing serves.
pub fn no_such_path() -> Status {
    Status::new(404, "NotFound", "the server could not find the requested resource")
}

/// 409: `pods "x" already exists`.
pub fn already_exists(rules: &Rules, name: &str) -> Status {
    let message = format!("{} {name:?} already exists", rules.resource());
    Status::new(409, "AlreadyExists", message).about(rules.group, rules.plural, name)
}

/// 409 with a reason of the caller's: `Operation cannot be fulfilled on pods "x": …`.
pub fn conflict(rules: &Rules, name: &str, why: &str) -> Status {
    let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", rules.resource());
    Status::new(409, "Conflict", message).about(rules.group, rules.plural, name)
}

/// 409: the resourceVersion that the client read is not the present one.
pub fn modified(rules: &Rules, name: &str) -> Status {
    conflict(
        rules,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )
}

/// 422 with a cause for each error: `Pod "x" is invalid: spec.containers: Required value`.
pub fn invalid(rules: &Rules, name: &str, errors: &[FieldError]) -> Status {
    let mut sentences: Vec<String> = Vec::new();
    for sentence in errors.iter().map(ToString::to_string) {
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    let all = if sentences.len() == 1 {
        sentences.remove(0)
    } else {
        format!("[{}]", sentences.join(", "))
    };
    let kind = if rules.group.is_empty() {
        rules.kind.to_owned()
    } else {
        format!("{}.{}", rules.kind, rules.group)
    };
    let status =
        Status::new(422, "Invalid", format!("{kind} {name:?} is invalid: {all}")).about(rules.group, rules.kind, name);
    errors
        .iter()
        .fold(status, |status, e| status.cause(e.reason.code(), &e.body(), &e.field))
}

/// 422 for a patch whose result the kind cannot hold: ` "" is invalid: patch: Invalid value: "…": why`.
pub fn invalid_patch(shown: &str, why: &str) -> Status {
    let error = FieldError::invalid("patch", shown, why);
    Status::new(422, "Invalid", format!(" \"\" is invalid: {error}")).cause(error.reason.code(), &error.body(), "patch")
}

/// 409 for an apply that would take fields of others: a cause for each.
pub fn apply_conflict(message: String, causes: impl IntoIterator<Item = (String, String)>) -> Status {
    causes
        .into_iter()
        .fold(Status::new(409, "Conflict", message), |status, (manager, field)| {
            status.cause("FieldManagerConflict", &format!("conflict with {manager}"), &field)
        })
}

/// 500 with no reason: what upstream answers for errors that it has no status for.
pub fn unexplained() -> Status {
    Status::new(500, "", "")
}

/// 422 without an object, such as a JSON patch whose `test` failed.
pub fn unprocessable(message: impl Into<String>) -> Status {
    Status::new(422, "Invalid", message)
}

/// 400.
pub fn bad_request(message: impl Into<String>) -> Status {
    Status::new(400, "BadRequest", message)
}

/// 400 for a field selector that the kind does not have.
pub fn unsupported_field_label(rules: &Rules, label: &str) -> Status {
    let message = if !rules.has_fields() {
        format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {label}")
    };
    bad_request(message)
}

/// 401.
pub fn unauthorized() -> Status {
    Status::new(401, "Unauthorized", "Unauthorized")
}

/// 403: `pods "x" is forbidden: why`; `name` may be empty.
pub fn forbidden(rules: &Rules, name: &str, why: &str) -> Status {
    let resource = rules.resource();
    let message = if name.is_empty() {
        format!("{resource} is forbidden: {why}")
    } else {
        format!("{resource} {name:?} is forbidden: {why}")
    };
    Status::new(403, "Forbidden", message).about(rules.group, rules.plural, name)
}

/// 403 for a path that is no resource: `forbidden: User "u" cannot get path "/metrics"`.
pub fn forbidden_path(user: &str, verb: &str, path: &str) -> Status {
    Status::new(
        403,
        "Forbidden",
        format!("forbidden: User {user:?} cannot {verb} path {path:?}"),
    )
}

/// 405 for a verb that the kind does not have: `delete is not supported on resources of kind "bindings"`.
pub fn method_not_supported(rules: &Rules, verb: &str) -> Status {
    let message = format!("{verb} is not supported on resources of kind {:?}", rules.resource());
    Status::new(405, "MethodNotAllowed", message).about(rules.group, rules.plural, "")
}

/// 405 for an HTTP method that the path does not have.
pub fn method_not_allowed() -> Status {
    Status::new(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )
}

/// 406: `only the following media types are accepted: …`.
pub fn not_acceptable(accepted: &[&str]) -> Status {
    Status::new(
        406,
        "NotAcceptable",
        format!("only the following media types are accepted: {}", accepted.join(", ")),
    )
}

/// 410 `Expired`: the revision asked for is compacted away.
pub fn expired(message: impl Into<String>) -> Status {
    Status::new(410, "Expired", message)
}

/// 410 `Gone`.
pub fn gone(message: impl Into<String>) -> Status {
    Status::new(410, "Gone", message)
}

/// 413 for a body past `limit` bytes.
pub fn too_large(limit: usize) -> Status {
    Status::new(
        413,
        "RequestEntityTooLarge",
        format!("Request entity too large: limit is {limit}"),
    )
}

/// 415: `the body of the request was in an unknown format - accepted media types include: …`.
pub fn unsupported_media_type(accepted: &[&str]) -> Status {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    Status::new(415, "UnsupportedMediaType", message)
}

/// 429, with the seconds to wait.
pub fn too_many_requests(message: impl Into<String>, seconds: u32) -> Status {
    Status::new(429, "TooManyRequests", message).retry_after(seconds)
}

/// 500: `Internal error occurred: …`.
pub fn internal(why: impl fmt::Display) -> Status {
    let why = why.to_string();
    Status::new(500, "InternalError", format!("Internal error occurred: {why}")).cause("", &why, "")
}

/// 503.
pub fn unavailable(message: impl Into<String>) -> Status {
    Status::new(503, "ServiceUnavailable", message)
}

/// 504: `Timeout: …`.
pub fn timeout(why: &str) -> Status {
    Status::new(504, "Timeout", format!("Timeout: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    #[test]
    fn refusals_read_as_upstream_says_them() {
        let pods = find("", "v1", "pods").expect("pods are served");
        let leases = find("coordination.k8s.io", "v1", "leases").expect("leases are served");
        let required = FieldError::required("spec.containers", "");
        let bad = FieldError::invalid("metadata.name", "A", "no");
        for (status, code, reason, message) in [
            (not_found(pods, "x"), 404, "NotFound", "pods \"x\" not found"),
            (
                not_found(leases, "x"),
                404,
                "NotFound",
                "leases.coordination.k8s.io \"x\" not found",
            ),
            (
                already_exists(pods, "x"),
                409,
                "AlreadyExists",
                "pods \"x\" already exists",
            ),
            (
                modified(pods, "x"),
                409,
                "Conflict",
                "Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your changes to the latest version and try again",
            ),
            (
                invalid(pods, "x", std::slice::from_ref(&required)),
                422,
                "Invalid",
                "Pod \"x\" is invalid: spec.containers: Required value",
            ),
            (
                invalid(leases, "x", &[required.clone(), bad, required]),
                422,
                "Invalid",
                "Lease.coordination.k8s.io \"x\" is invalid: [spec.containers: Required value, metadata.name: Invalid value: \"A\": no]",
            ),
            (forbidden(pods, "", "no"), 403, "Forbidden", "pods is forbidden: no"),
            (
                forbidden(pods, "x", "no"),
                403,
                "Forbidden",
                "pods \"x\" is forbidden: no",
            ),
            (
                method_not_supported(pods, "watch"),
                405,
                "MethodNotAllowed",
                "watch is not supported on resources of kind \"pods\"",
            ),
            (timeout("late"), 504, "Timeout", "Timeout: late"),
            (internal("oh"), 500, "InternalError", "Internal error occurred: oh"),
            (
                too_large(9),
                413,
                "RequestEntityTooLarge",
                "Request entity too large: limit is 9",
            ),
        ] {
            assert_eq!(
                (status.code, status.reason, status.message.as_str()),
                (code, reason, message)
            );
        }
    }

    #[test]
    fn the_object_on_the_wire_has_details_and_causes() {
        let pods = find("", "v1", "pods").expect("pods are served");
        let status = invalid(pods, "x", &[FieldError::required("spec.containers", "")]);
        let expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
            "message": "Pod \"x\" is invalid: spec.containers: Required value",
            "details": {
                "name": "x", "kind": "Pod",
                "causes": [{ "reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers" }],
            },
        });
        assert_eq!(status.to_value(), expected);
        let gone = deleted(pods, "x", "u");
        assert_eq!(
            (&gone["status"], &gone["details"]),
            (&json!("Success"), &json!({ "name": "x", "kind": "pods", "uid": "u" }))
        );
    }
}
