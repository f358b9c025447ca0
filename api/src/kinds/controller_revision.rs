//! ControllerRevision: a past state of a controller's wish, kept so that it can be gone back to. Its data never changes.

use super::amount::{immutable, not_negative};
use crate::{
    field::FieldError,
    kind::{Column, Kind},
    metadata,
    read::{self, flag, int, list, text},
};
use jiff::Timestamp;
use serde_json::Value;

/// `apps/v1` ControllerRevision.
pub struct ControllerRevision;

impl Kind for ControllerRevision {
    const GROUP: &'static str = "apps";
    const KIND: &'static str = "ControllerRevision";
    const PLURAL: &'static str = "controllerrevisions";
    const SINGULAR: &'static str = "controllerrevision";
    const KEY: &'static str = "controllerrevisions";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Controller", "string", "Whose state it is."),
        Column::narrow("Revision", "string", "Its number."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::apps::v1::ControllerRevision;

    fn default(revision: &mut Value) {
        read::set_default(revision, "revision", 0);
    }

    fn validate(revision: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if read::some(revision, "/data").is_none() {
            errors.push(FieldError::required("data", "data is mandatory"));
        }
        let wrong = not_negative(revision, "", &["revision"]);
        errors.extend(wrong.into_iter().map(|e| FieldError {
            field: "revision".to_owned(),
            ..e
        }));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let mut errors = Self::validate(new);
        errors.extend(immutable(new, old, "data"));
        errors
    }

    fn row(revision: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(revision).into(),
            controller(revision).into(),
            int(revision, "/revision").into(),
            metadata::age(revision, now).into(),
        ]
    }
}

/// `statefulset.apps/db`, or `<none>`.
fn controller(object: &Value) -> String {
    let owners = list(object, "/metadata/ownerReferences");
    let Some(owner) = owners.iter().find(|o| flag(o, "/controller")) else {
        return "<none>".to_owned();
    };
    let (kind, name) = (text(owner, "/kind").to_lowercase(), text(owner, "/name"));
    match text(owner, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_revision_stays_as_it_was_made() {
        let revision = |data: Value| {
            let mut object = json!({ "metadata": { "name": "r" }, "data": data });
            ControllerRevision::default(&mut object);
            object
        };
        let errors =
            ControllerRevision::validate_update(&revision(json!({ "a": 2 })), &revision(json!({ "a": 1 })), "");
        assert_eq!(
            errors[0].to_string(),
            "data: Invalid value: {\"a\":2}: field is immutable"
        );
        assert_eq!(
            ControllerRevision::validate(&revision(Value::Null))[0].to_string(),
            "data: Required value: data is mandatory"
        );
        let mut owned = revision(json!({}));
        owned["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": true }]);
        let row = ControllerRevision::row(&owned, Timestamp::UNIX_EPOCH);
        assert_eq!(Value::from(row), json!(["r", "statefulset.apps/db", 0, "<unknown>"]));
    }
}
