//! PATCH bodies: JSON patch, JSON merge patch, strategic merge patch.

mod strategic;

use crate::fields::go;
use crate::rules::Rules;
use crate::schema;
use crate::status::{self, Status};
use serde_json::{Map, Value};

/// A JSON patch with more operations is refused (upstream's limit).
const MAX_OPERATIONS: usize = 10_000;

/// All copies of one JSON patch together may have so many bytes, the limit of a request's body: each could double the object
/// (upstream's `AccumulatedCopySizeLimit`).
const MAX_COPIED: usize = 3 * 1024 * 1024;

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
    let (mut copied, mut depth) = (0, schema::depth(object));
    for operation in &patch.0 {
        copied += copied_by(operation, object);
        // What failed half-way is thrown away, so that nothing has to be undone.
        let done = copied <= MAX_COPIED
            && json_patch::patch_unsafe(object, std::slice::from_ref(operation)).is_ok()
            && is_readable(operation, object, &mut depth);
        if !done {
            // Upstream says no more than this, whatever did not fit.
            let why = "the server rejected our request due to an error in our request";
            return Err(status::unprocessable(why));
        }
    }
    Ok(())
}

/// Whether the object is no deeper than what can be read again. `depth` is never less than its depth, which is measured only
/// where operations could have made it too much.
fn is_readable(operation: &json_patch::PatchOperation, object: &Value, depth: &mut usize) -> bool {
    let (path, put) = match operation {
        json_patch::PatchOperation::Add(add) => (&add.path, schema::depth(&add.value)),
        json_patch::PatchOperation::Replace(replace) => (&replace.path, schema::depth(&replace.value)),
        json_patch::PatchOperation::Move(from) => (&from.path, *depth),
        json_patch::PatchOperation::Copy(from) => (&from.path, *depth),
        json_patch::PatchOperation::Remove(_) | json_patch::PatchOperation::Test(_) => return true,
    };
    *depth = (*depth).max(path.count() + put);
    if *depth > schema::DEEPEST {
        *depth = schema::depth(object);
    }
    *depth <= schema::DEEPEST
}

/// Bytes that an operation doubles.
fn copied_by(operation: &json_patch::PatchOperation, object: &Value) -> usize {
    let json_patch::PatchOperation::Copy(copy) = operation else {
        return 0;
    };
    object
        .pointer(copy.from.as_str())
        .map_or(0, |copied| copied.to_string().len())
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
    fn a_json_patch_fails_whole_and_grows_nothing_beyond_bounds() {
        let object = json!({ "data": { "k": "v" }, "metadata": { "name": "a" } });
        let fails = json!([
            { "op": "remove", "path": "/data/k" }, { "op": "move", "from": "/data", "path": "/spec" },
            { "op": "replace", "path": "", "value": {} }, { "op": "test", "path": "/metadata/name", "value": "a" },
        ]);
        let doubles: Vec<Value> = (0..40)
            .map(|n| json!({ "op": "copy", "from": "/data", "path": format!("/data/{n}") }))
            .collect();
        let nests: Vec<Value> = (0..5000)
            .flat_map(|n| {
                let (from, path) = (format!("/{}", n - 1), format!("/{n}"));
                let around = json!({ "op": "add", "path": path, "value": {} });
                [
                    around,
                    json!({ "op": "move", "from": if n == 0 { "/data" } else { &from }, "path": format!("{path}/x") }),
                ]
            })
            .collect();
        for patch in [fails, doubles.into(), nests.into()] {
            let refused = PatchKind::Json
                .apply(&object, &patch, "")
                .map_err(|refusal| refusal.code);
            assert_eq!(refused.err(), Some(422), "{}", patch[0]);
        }
        let few = json!([{ "op": "copy", "from": "/data/k", "path": "/data/l" }]);
        let expected = json!({ "data": { "k": "v", "l": "v" }, "metadata": { "name": "a" } });
        assert_eq!(PatchKind::Json.apply(&object, &few, "").ok(), Some(expected));
    }

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
