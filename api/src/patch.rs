//! PATCH bodies: JSON patch, JSON merge patch, strategic merge patch.

mod strategic;

use crate::fields::go;
use crate::rules::Rules;
use crate::status::{self, Status};
use serde_json::{Map, Value};

/// A JSON patch with more operations is refused (upstream's limit).
const MAX_OPERATIONS: usize = 10_000;

/// The forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own: lists are merged by keys.
    Strategic,
}

impl PatchKind {
    /// The media types, in the order in which an error lists them.
    pub const MEDIA_TYPES: &[&str] = &[
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];

    /// Those that a kind takes: a custom resource has no merge keys for the strategic one.
    pub fn media_types(rules: &Rules) -> &'static [&'static str] {
        if rules.is_custom() {
            &Self::MEDIA_TYPES[..2]
        } else {
            Self::MEDIA_TYPES
        }
    }

    /// Which form a `Content-Type` (without parameters) means.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "application/json-patch+json" => Some(PatchKind::Json),
            "application/merge-patch+json" => Some(PatchKind::Merge),
            "application/strategic-merge-patch+json" => Some(PatchKind::Strategic),
            _ => None,
        }
    }

    /// What `object`, whose schema component is `schema`, becomes. 400 for a patch that cannot be read, 422 for one that
    /// does not fit; `object` is not touched.
    pub fn apply(self, object: &Value, patch: &Value, schema: &str) -> Result<Value, Status> {
        let mut patched = object.clone();
        match self {
            PatchKind::Json => json(&mut patched, patch)?,
            PatchKind::Merge if !patch.is_object() => return Err(not_an_object(patch)),
            PatchKind::Merge => merge(&mut patched, patch),
            PatchKind::Strategic => strategic::apply(&mut patched, patch, schema)?,
        }
        Ok(patched)
    }

    /// How an error shows the patched object: of a strategic merge patch, the patch.
    pub fn shown(self, patch: &Value, patched: &Value) -> String {
        match self {
            PatchKind::Strategic => go::verbose(patch),
            PatchKind::Json | PatchKind::Merge => {
                let mut text = String::new();
                go::write_json(&mut text, patched);
                text
            }
        }
    }
}

/// 400: a patch that must be an object is something else.
fn not_an_object(patch: &Value) -> Status {
    let got = match patch {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null | Value::Object(_) => "null",
    };
    status::bad_request(format!(
        "error decoding patch: json: cannot unmarshal {got} into Go value of type map[string]interface {{}}"
    ))
}

fn json(object: &mut Value, patch: &Value) -> Result<(), Status> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        );
        return Err(Status {
            message,
            ..status::too_large(0)
        });
    }
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|e| status::bad_request(format!("error decoding patch: {e}")))?;
    // Upstream says no more than this, whatever did not fit.
    json_patch::patch(object, &patch)
        .map_err(|_| status::unprocessable("the server rejected our request due to an error in our request"))
}

/// RFC 7386, keeping the order of members.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.shift_remove(key);
            } else {
                merge(target.entry(key.as_str()).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_merge_patches_apply() {
        let object = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": [1, 2] });
        for (kind, patch, result) in [
            (
                PatchKind::Merge,
                json!({ "a": null }),
                json!({ "b": { "c": 2, "d": 3 }, "e": [1, 2] }),
            ),
            (
                PatchKind::Merge,
                json!({ "b": { "c": null, "x": {"y": null} } }),
                json!({ "a": 1, "b": { "d": 3, "x": {} }, "e": [1, 2] }),
            ),
            (
                PatchKind::Merge,
                json!({ "e": [3] }),
                json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": [3] }),
            ),
            (
                PatchKind::Json,
                json!([{ "op": "replace", "path": "/a", "value": 9 }]),
                json!({ "a": 9, "b": { "c": 2, "d": 3 }, "e": [1, 2] }),
            ),
            (
                PatchKind::Json,
                json!([{ "op": "add", "path": "/e/-", "value": 9 }, { "op": "remove", "path": "/b" }]),
                json!({ "a": 1, "e": [1, 2, 9] }),
            ),
        ] {
            assert_eq!(kind.apply(&object, &patch, ""), Ok(result), "{patch}");
        }
    }

    #[test]
    fn patches_that_do_not_fit_are_refused_whole() {
        let object = json!({ "a": 1 });
        for (kind, patch, code) in [
            (
                PatchKind::Json,
                json!([{ "op": "test", "path": "/a", "value": 2 }]),
                422,
            ),
            (PatchKind::Json, json!([{ "op": "remove", "path": "/b" }]), 422),
            (PatchKind::Json, json!({ "op": "test" }), 400),
            (PatchKind::Merge, json!([1]), 400),
        ] {
            assert_eq!(
                kind.apply(&object, &patch, "").map_err(|e| e.code),
                Err(code),
                "{patch}"
            );
        }
    }
}
