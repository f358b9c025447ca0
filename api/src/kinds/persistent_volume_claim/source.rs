//! Where a claim's first data come from: `dataSource`, and `dataSourceRef`, which came later and reaches further (core
//! `validateDataSource`, `validateDataSourceRef`).

use crate::{at::At, field::FieldError, names};

/// Judges both, and that they say the same.
pub(super) fn validate(spec: &At<'_>) -> Vec<FieldError> {
    let (old, new) = (spec.some("dataSource"), spec.some("dataSourceRef"));
    let mut errors = Vec::new();
    for source in [&old, &new].into_iter().flatten() {
        one(source, &mut errors);
    }
    let (Some(old), Some(new)) = (old, new) else {
        return errors;
    };
    let same = |member: &str| old.value.get(member) == new.value.get(member);
    let why = match new.text("namespace") {
        "" if ["apiGroup", "kind", "name"].into_iter().all(same) => return errors,
        "" => "must match dataSourceRef",
        _ => "may not be specified when dataSourceRef.namespace is specified",
    };
    errors.push(FieldError::invalid(spec.path(""), spec.path("dataSource"), why));
    errors
}

fn one(source: &At<'_>, errors: &mut Vec<FieldError>) {
    let (group, kind) = (source.text("apiGroup"), source.text("kind"));
    for member in ["name", "kind"] {
        if source.text(member).is_empty() {
            errors.push(source.required(member, ""));
        }
    }
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(source.path(""), kind, why));
    }
    if !group.is_empty() {
        errors.extend(source.invalid("apiGroup", names::dns1123_subdomain(group)));
    }
    let namespace = source.text("namespace");
    if !namespace.is_empty() {
        errors.extend(source.invalid("namespace", names::dns1123_label(namespace)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn sources_are_judged_as_upstream() {
        let snapshot = json!({ "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s" });
        let abroad = json!({ "kind": "PersistentVolumeClaim", "name": "c", "namespace": "n" });
        for (spec, expected) in [
            (json!({ "dataSource": snapshot, "dataSourceRef": snapshot }), &[][..]),
            (json!({ "dataSourceRef": abroad }), &[]),
            (
                json!({ "dataSource": { "kind": "Pod" } }),
                &[
                    "spec.dataSource.name: Required value",
                    "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                ],
            ),
            (
                json!({ "dataSource": snapshot, "dataSourceRef": { "kind": "PersistentVolumeClaim", "name": "c" } }),
                &["spec: Invalid value: \"spec.dataSource\": must match dataSourceRef"],
            ),
            (
                json!({ "dataSource": snapshot, "dataSourceRef": abroad }),
                &[
                    "spec: Invalid value: \"spec.dataSource\": may not be specified when dataSourceRef.namespace is specified",
                ],
            ),
        ] {
            let said: Vec<String> = validate(&At::new(&spec, "spec"))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(said, expected, "{}", Value::clone(&spec));
        }
    }
}
