//! Namespace: where names live; ends only after everything in it has ended (`spec.finalizers`).

use crate::{
    field::FieldError,
    kind::{Column, Context, Kind, SelectableField, Subresource, Verb},
    metadata, names,
    read::{self, list, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Every namespace carries its name as this label, so that selectors can name namespaces.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Who empties a namespace before it goes.
const FINALIZER: &str = "kubernetes";

/// `v1` Namespace.
pub struct Namespace;

impl Kind for Namespace {
    const KIND: &'static str = "Namespace";
    const PLURAL: &'static str = "namespaces";
    const SINGULAR: &'static str = "namespace";
    const SHORT_NAMES: &'static [&'static str] = &["ns"];
    const NAMESPACED: bool = false;
    const VERBS: &'static [Verb] = &[
        Verb::Create,
        Verb::Delete,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource {
            name: "finalize",
            group: "",
            version: "v1",
            kind: "Namespace",
            verbs: &[Verb::Update],
        },
        Subresource::status("", "v1", "Namespace"),
    ];
    const KEY: &'static str = "namespaces";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Status", "string", "Active, or Terminating."),
        Column::AGE,
    ];
    const FIELDS: &'static [SelectableField] = &[
        SelectableField {
            label: "status.phase",
            read: |namespace| text(namespace, "/status/phase").to_owned(),
        },
        SelectableField {
            label: "name",
            read: |namespace| metadata::name(namespace).to_owned(),
        },
    ];
    type Object = k8s_openapi::api::core::v1::Namespace;

    fn check_name(name: &str) -> Vec<String> {
        names::dns1123_label(name)
    }

    fn default(namespace: &mut Value) {
        let name = metadata::name(namespace).to_owned();
        if !name.is_empty()
            && let Some(metadata) = namespace.get_mut("metadata")
            && let Some(labels) = read::map_mut(metadata, "labels")
        {
            labels.insert(NAME_LABEL.to_owned(), name.into());
        }
    }

    fn before_create(namespace: &mut Value, _context: &Context<'_>) {
        // A generated name is known only now.
        Self::default(namespace);
        let mut finalizers = list(namespace, "/spec/finalizers").to_vec();
        if !finalizers.contains(&FINALIZER.into()) {
            finalizers.push(FINALIZER.into());
        }
        namespace["spec"] = json!({ "finalizers": finalizers });
        namespace["status"] = json!({ "phase": "Active" });
    }

    fn before_update(new: &mut Value, old: &Value, context: &Context<'_>) {
        match context.subresource {
            "finalize" => metadata::keep_only(new, old, &["spec"]),
            _ => metadata::restore_member(new, old, "spec"),
        }
    }

    fn validate(namespace: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for finalizer in list(namespace, "/spec/finalizers").iter().filter_map(Value::as_str) {
            let wrong = names::qualified_name(finalizer);
            if wrong.is_empty() && !finalizer.contains('/') && finalizer != FINALIZER {
                let why = "name is neither a standard finalizer name nor is it fully qualified";
                errors.push(FieldError::invalid("spec.finalizers", finalizer, why));
            }
            errors.extend(
                wrong
                    .into_iter()
                    .map(|m| FieldError::invalid("spec.finalizers", finalizer, m)),
            );
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, subresource: &str) -> Vec<FieldError> {
        let phase = text(new, "/status/phase");
        let wrong = match (metadata::is_deleting(new), phase) {
            (false, "" | "Active") | (true, "Terminating") => None,
            (false, _) => Some("may only be 'Active' if `deletionTimestamp` is empty"),
            (true, _) => Some("may only be 'Terminating' if `deletionTimestamp` is not empty"),
        };
        let mut errors = Self::validate(new);
        if subresource == "status" {
            errors.extend(wrong.map(|why| FieldError::invalid("status.Phase", phase, why)));
        }
        errors
    }

    fn row(namespace: &Value, now: Timestamp) -> Vec<Value> {
        let phase = text(namespace, "/status/phase");
        vec![
            metadata::name(namespace).into(),
            phase.into(),
            metadata::age(namespace, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    fn context(subresource: &'static str) -> Context<'static> {
        Context {
            now: "2026-01-01T00:00:00Z",
            uid: "u",
            suffix: "bcdfg",
            namespace: "",
            subresource,
        }
    }

    fn made(body: Value) -> Value {
        let rules = find("", "v1", "namespaces").expect("namespaces are served");
        let mut object = body;
        rules.default(&mut object);
        rules.before_create(&mut object, &context(""));
        assert_eq!(rules.validate(&object), []);
        object
    }

    #[test]
    fn a_namespace_begins_active_with_its_label_and_finalizer() {
        let namespace = made(json!({ "metadata": { "generateName": "a-" }, "status": { "phase": "Terminating" } }));
        assert_eq!(metadata::name(&namespace), "a-bcdfg");
        assert_eq!(namespace["metadata"]["labels"][NAME_LABEL], "a-bcdfg");
        assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
        assert_eq!(namespace["status"]["phase"], "Active");
    }

    #[test]
    fn finalizers_go_only_through_finalize() {
        let rules = find("", "v1", "namespaces").expect("namespaces are served");
        let old = made(json!({ "metadata": { "name": "a" } }));
        for (subresource, left) in [("", 1), ("status", 1), ("finalize", 0)] {
            let mut new = old.clone();
            new["spec"] = json!({ "finalizers": [] });
            rules.before_update(&mut new, &old, &context(subresource));
            assert_eq!(list(&new, "/spec/finalizers").len(), left, "{subresource}");
        }
    }
}
