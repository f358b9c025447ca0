//! ObjectMeta: what every write does to it and what may be in it (apimachinery `rest.BeforeCreate`, `validation.ValidateObjectMeta`).

use crate::{custom, duration, field::FieldError, kind::Context, names, read, rules::Rules};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// How long a `generateName` may be so that its suffix fits.
const GENERATE_NAME_MAX: usize = 63 - 5;
/// All keys and values of the annotations together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;
/// Finalizers that upstream knows without a domain.
const PLAIN_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// The object's name, or empty.
pub fn name(object: &Value) -> &str {
    read::text(object, "/metadata/name")
}

/// The object's namespace, or empty.
pub fn namespace(object: &Value) -> &str {
    read::text(object, "/metadata/namespace")
}

/// The object's UID, or empty.
pub fn uid(object: &Value) -> &str {
    read::text(object, "/metadata/uid")
}

/// The object's resourceVersion, or empty.
pub fn resource_version(object: &Value) -> &str {
    read::text(object, "/metadata/resourceVersion")
}

/// Whether its deletion has begun.
pub fn is_deleting(object: &Value) -> bool {
    read::some(object, "/metadata/deletionTimestamp").is_some()
}

/// The time since creation as a table shows it.
pub fn age(object: &Value, now: Timestamp) -> String {
    since(read::text(object, "/metadata/creationTimestamp"), now)
}

/// The time since `when` (RFC 3339) as a table shows it; `<unknown>` where there is none.
pub fn since(when: &str, now: Timestamp) -> String {
    match when.parse::<Timestamp>() {
        Ok(when) => duration::human(now.as_second() - when.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// What the server decides about a new object's metadata; its status is dropped unless the kind keeps it.
pub(crate) fn before_create(rules: &Rules, object: &mut Value, context: &Context<'_>) {
    object["apiVersion"] = rules.api_version().into();
    object["kind"] = rules.kind.into();
    let Some(metadata) = read::map_mut(object, "metadata") else {
        return;
    };
    for system in [
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "generation",
    ] {
        metadata.shift_remove(system);
    }
    drop_empty(metadata);
    let text = |m: &Map<String, Value>, key: &str| m.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, generate) = (text(metadata, "name"), text(metadata, "generateName"));
    if name.is_empty() && !generate.is_empty() {
        let base: String = generate.chars().take(GENERATE_NAME_MAX).collect();
        metadata.insert("name".to_owned(), format!("{base}{}", context.suffix).into());
    }
    if rules.namespaced {
        metadata.insert("namespace".to_owned(), context.namespace.into());
    } else {
        metadata.shift_remove("namespace");
    }
    metadata.insert("uid".to_owned(), context.uid.into());
    metadata.insert("creationTimestamp".to_owned(), context.now.into());
    if rules.generation {
        metadata.insert("generation".to_owned(), 1.into());
    }
    if rules.has_status() && !rules.status_on_create {
        object["status"] = json!({});
    }
}

/// What a client may not change comes back from `old`; of spec and status only the one that was written to is taken.
pub(crate) fn before_update(rules: &Rules, new: &mut Value, old: &Value, context: &Context<'_>) {
    new["apiVersion"] = rules.api_version().into();
    new["kind"] = rules.kind.into();
    if let Some(metadata) = read::map_mut(new, "metadata") {
        metadata.shift_remove("selfLink");
        drop_empty(metadata);
        for system in [
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "generateName",
        ] {
            restore(metadata, old, system);
        }
        for identity in ["name", "namespace", "uid"] {
            if metadata
                .get(identity)
                .is_none_or(|v| v.is_null() || v.as_str() == Some(""))
            {
                restore(metadata, old, identity);
            }
        }
        if context.subresource == "status" {
            restore(metadata, old, "ownerReferences");
        }
    }
    if context.subresource == "status" {
        keep_only(new, old, &["status"]);
    } else if context.subresource.is_empty() && rules.has_status() {
        restore_member(new, old, "status");
    }
}

/// Takes from `new` its metadata and `members`, everything else from `old`.
pub(crate) fn keep_only(new: &mut Value, old: &Value, members: &[&str]) {
    let mut merged = old.clone();
    for member in ["apiVersion", "kind", "metadata"].iter().chain(members) {
        match new.get_mut(*member) {
            Some(value) => merged[*member] = value.take(),
            None => {
                merged.as_object_mut().map(|m| m.shift_remove(*member));
            }
        }
    }
    *new = merged;
}

/// Makes `new`'s `member` what it is in `old`.
pub(crate) fn restore_member(new: &mut Value, old: &Value, member: &str) {
    if let Some(map) = new.as_object_mut() {
        match old.get(member) {
            Some(value) => map.insert(member.to_owned(), value.clone()),
            None => map.shift_remove(member),
        };
    }
}

/// Makes `new`'s `metadata.key` what it is in `old`.
pub(crate) fn restore_metadata(new: &mut Value, old: &Value, key: &str) {
    if let Some(metadata) = read::map_mut(new, "metadata") {
        restore(metadata, old, key);
    }
}

fn restore(metadata: &mut Map<String, Value>, old: &Value, key: &str) {
    match old.get("metadata").and_then(|m| m.get(key)) {
        Some(value) => metadata.insert(key.to_owned(), value.clone()),
        None => metadata.shift_remove(key),
    };
}

/// Go leaves out empty maps, lists and nulls; so that a no-op write compares equal, so do we.
fn drop_empty(metadata: &mut Map<String, Value>) {
    metadata.retain(|key, value| match value {
        Value::Null => false,
        Value::Object(map) => !(map.is_empty() && (key == "labels" || key == "annotations")),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    });
}

/// Counts the generation when something besides metadata and status changed.
pub(crate) fn count_generation(rules: &Rules, new: &mut Value, old: &Value) {
    if !rules.generation {
        return;
    }
    let desired = |o: &Value| -> Vec<(String, Value)> {
        // Where nothing writes the status apart, it is a part of the object like any other.
        let apart = |key: &str| match key {
            "apiVersion" | "kind" | "metadata" => true,
            "status" => rules.has_status(),
            _ => false,
        };
        let mut members: Vec<_> = o.as_object().into_iter().flatten().filter(|(k, _)| !apart(k)).collect();
        members.sort_by_key(|(k, _)| k.as_str());
        members.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    if desired(new) != desired(old) {
        let generation = read::int(old, "/metadata/generation") + 1;
        if let Some(metadata) = read::map_mut(new, "metadata") {
            metadata.insert("generation".to_owned(), generation.into());
        }
    }
}

/// What is wrong with an object's metadata.
pub(crate) fn validate(rules: &Rules, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let generate = read::text(object, "/metadata/generateName");
    if !generate.is_empty() {
        // Only what comes before the suffix is judged, as if the suffix were there.
        let whole = format!("{}a", generate.trim_end_matches('-'));
        let wrong = if generate.ends_with('-') {
            (rules.check_name)(&whole)
        } else {
            (rules.check_name)(generate)
        };
        errors.extend(
            wrong
                .into_iter()
                .map(|m| FieldError::invalid("metadata.generateName", generate, m)),
        );
    }
    let name = name(object);
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        errors.extend(
            (rules.check_name)(name)
                .into_iter()
                .map(|m| FieldError::invalid("metadata.name", name, m)),
        );
    }
    let namespace = namespace(object);
    if rules.namespaced && namespace.is_empty() {
        errors.push(FieldError::required("metadata.namespace", ""));
    } else if rules.namespaced {
        let wrong = names::dns1123_label(namespace);
        errors.extend(
            wrong
                .into_iter()
                .map(|m| FieldError::invalid("metadata.namespace", namespace, m)),
        );
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
    }
    errors.extend(labels(read::at(object, "/metadata/labels"), "metadata.labels"));
    errors.extend(annotations(
        read::at(object, "/metadata/annotations"),
        "metadata.annotations",
    ));
    errors.extend(owners(object));
    errors.extend(finalizers(rules, object));
    errors
}

/// What is wrong with a map of labels at `path`.
pub(crate) fn labels(map: Option<&Value>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in map.and_then(Value::as_object).into_iter().flatten() {
        errors.extend(
            names::qualified_name(key)
                .into_iter()
                .map(|m| FieldError::invalid(path, key.as_str(), m)),
        );
        let value = value.as_str().unwrap_or_default();
        errors.extend(
            names::label_value(value)
                .into_iter()
                .map(|m| FieldError::invalid(path, value, m)),
        );
    }
    errors
}

/// What is wrong with a map of annotations at `path`.
pub(crate) fn annotations(map: Option<&Value>, path: &str) -> Vec<FieldError> {
    let (mut errors, mut size) = (Vec::new(), 0);
    for (key, value) in map.and_then(Value::as_object).into_iter().flatten() {
        // Upstream judges the key in lower case: annotations are older than the rule.
        let wrong = names::qualified_name(&key.to_lowercase());
        errors.extend(wrong.into_iter().map(|m| FieldError::invalid(path, key.as_str(), m)));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_MAX));
    }
    errors
}

fn owners(object: &Value) -> Vec<FieldError> {
    let (mut errors, mut controller) = (Vec::new(), None);
    for (index, owner) in read::list(object, "/metadata/ownerReferences").iter().enumerate() {
        let path = format!("metadata.ownerReferences[{index}]");
        for (member, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if read::text(owner, &format!("/{member}")).is_empty() {
                errors.push(FieldError::invalid(format!("{path}.{member}"), "", why));
            }
        }
        if read::flag(owner, "/controller") {
            let this = format!("{}/{}", read::text(owner, "/kind"), read::text(owner, "/name"));
            if let Some(first) = &controller {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                errors.push(FieldError::invalid("metadata.ownerReferences", owner.clone(), why));
            } else {
                controller = Some(this);
            }
        }
    }
    errors
}

fn finalizers(rules: &Rules, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    // Only the kinds that upstream's core validates know which finalizers may be without a domain.
    let takes_plain = rules.is_custom() || rules.group == custom::GROUP;
    for finalizer in read::list(object, "/metadata/finalizers")
        .iter()
        .filter_map(Value::as_str)
    {
        let wrong = names::qualified_name(finalizer);
        if wrong.is_empty() && !takes_plain && !finalizer.contains('/') && !PLAIN_FINALIZERS.contains(&finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, why));
        }
        errors.extend(
            wrong
                .into_iter()
                .map(|m| FieldError::invalid("metadata.finalizers", finalizer, m)),
        );
    }
    errors
}

/// What may not change in metadata.
pub(crate) fn validate_update(rules: &Rules, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for member in ["name", "namespace", "uid", "creationTimestamp"] {
        let pointer = format!("/metadata/{member}");
        if member == "namespace" && !rules.namespaced {
            continue;
        }
        let (now, before) = (read::text(new, &pointer), read::text(old, &pointer));
        if now != before {
            errors.push(FieldError::invalid(
                format!("metadata.{member}"),
                now,
                "field is immutable",
            ));
        }
    }
    if is_deleting(old) {
        let before = read::list(old, "/metadata/finalizers");
        let added: Vec<&Value> = read::list(new, "/metadata/finalizers")
            .iter()
            .filter(|f| !before.contains(f))
            .collect();
        if !added.is_empty() {
            let added: Vec<String> = added.iter().map(ToString::to_string).collect();
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", why));
        }
    }
    let meta = validate(rules, new);
    errors.extend(meta.into_iter().filter(|e| {
        !matches!(
            e.field.as_str(),
            "metadata.name" | "metadata.namespace" | "metadata.generateName"
        )
    }));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    fn context(subresource: &'static str) -> Context<'static> {
        Context {
            now: "2026-01-01T00:00:00Z",
            uid: "u-1",
            suffix: "bcdfg",
            namespace: "n",
            subresource,
        }
    }

    fn rules(plural: &str) -> &'static Rules {
        find("", "v1", plural).expect("the kind is served")
    }

    #[test]
    fn a_create_decides_what_is_the_systems() {
        let mut pod = json!({
            "metadata": {
                "generateName": "web-", "uid": "mine", "creationTimestamp": null, "generation": 7, "labels": {},
                "deletionTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/x", "finalizers": [],
            },
            "spec": {}, "status": { "phase": "Running" },
        });
        before_create(rules("pods"), &mut pod, &context(""));
        let expected = json!({
            "generateName": "web-", "name": "web-bcdfg", "namespace": "n", "uid": "u-1",
            "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1,
        });
        assert_eq!(pod["metadata"], expected);
        assert_eq!(
            (&pod["apiVersion"], &pod["kind"], &pod["status"]),
            (&json!("v1"), &json!("Pod"), &json!({}))
        );
    }

    #[test]
    fn a_long_generated_name_is_cut_so_that_its_suffix_fits() {
        let mut pod = json!({ "metadata": { "generateName": "a".repeat(80) } });
        before_create(rules("pods"), &mut pod, &context(""));
        assert_eq!(name(&pod), format!("{}bcdfg", "a".repeat(58)));
    }

    #[test]
    fn nodes_bring_their_status_and_have_no_namespace() {
        let mut node =
            json!({ "metadata": { "name": "a", "namespace": "x" }, "status": { "capacity": { "cpu": "1" } } });
        before_create(rules("nodes"), &mut node, &context(""));
        assert_eq!(namespace(&node), "");
        assert_eq!(node["status"]["capacity"]["cpu"], "1");
    }

    #[test]
    fn spec_and_status_are_written_apart_and_only_the_spec_counts() {
        let old = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "a", "namespace": "n", "uid": "u", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "nodeName": "x" }, "status": { "phase": "Pending", "qosClass": "Burstable" },
        });
        for (subresource, node, phase, generation) in [("", "y", "Pending", 4), ("status", "x", "Running", 3)] {
            let mut new = old.clone();
            new["spec"]["nodeName"] = "y".into();
            new["status"]["phase"] = "Running".into();
            new["metadata"]["generation"] = 99.into();
            new["metadata"]["labels"] = json!({ "a": "b" });
            rules("pods").before_update(&mut new, &old, &context(subresource));
            let seen = (
                read::text(&new, "/spec/nodeName"),
                read::text(&new, "/status/phase"),
                read::int(&new, "/metadata/generation"),
            );
            assert_eq!(seen, (node, phase, generation), "{subresource}");
            assert_eq!(new["metadata"]["labels"]["a"], "b");
        }
    }

    #[test]
    fn a_write_of_the_same_changes_nothing() {
        let old = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "b" },
            "metadata": { "name": "a", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z" },
        });
        let mut new = json!({ "data": { "a": "b" }, "metadata": { "name": "a", "labels": {}, "annotations": null } });
        rules("configmaps").before_update(&mut new, &old, &context(""));
        assert_eq!(new, old);
    }

    #[test]
    fn metadata_is_judged_as_upstream() {
        let subdomain = names::dns1123_subdomain("A").remove(0);
        for (metadata, message) in [
            (json!({ "namespace": "n" }), "metadata.name: Required value: name or generateName is required".to_owned()),
            (json!({ "name": "A", "namespace": "n" }), format!("metadata.name: Invalid value: \"A\": {subdomain}")),
            (json!({ "name": "a" }), "metadata.namespace: Required value".to_owned()),
            (
                json!({ "name": "a", "namespace": "n", "labels": { "a": "b c" } }),
                format!("metadata.labels: Invalid value: \"b c\": {}", names::label_value("b c")[0]),
            ),
            (
                json!({ "name": "a", "namespace": "n", "annotations": { "a": "x".repeat(ANNOTATIONS_MAX) } }),
                "metadata.annotations: Too long: may not be more than 262144 bytes".to_owned(),
            ),
            (
                json!({ "name": "a", "namespace": "n", "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "p" }] }),
                "metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty".to_owned(),
            ),
            (
                json!({ "name": "a", "namespace": "n", "finalizers": ["mine"] }),
                "metadata.finalizers: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified".to_owned(),
            ),
        ] {
            let errors = validate(rules("configmaps"), &json!({ "metadata": metadata }));
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [message]);
        }
        let errors = validate(
            rules("nodes"),
            &json!({ "metadata": { "name": "a", "namespace": "n" } }),
        );
        assert_eq!(
            errors[0].to_string(),
            "metadata.namespace: Forbidden: not allowed on this type"
        );
    }

    #[test]
    fn what_is_immutable_in_metadata_stays() {
        let meta = |change: Value| {
            let mut metadata = json!({ "name": "a", "namespace": "n", "uid": "u" });
            for (key, value) in change.as_object().into_iter().flatten() {
                metadata[key] = value.clone();
            }
            json!({ "metadata": metadata })
        };
        let errors = validate_update(rules("configmaps"), &meta(json!({ "uid": "v" })), &meta(json!({})));
        assert_eq!(
            errors[0].to_string(),
            "metadata.uid: Invalid value: \"v\": field is immutable"
        );
        let old = meta(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }));
        let new = meta(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a.b/c"] }));
        let errors = validate_update(rules("configmaps"), &new, &old);
        let why =
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.b/c\"}";
        assert_eq!(errors[0].to_string(), format!("metadata.finalizers: Forbidden: {why}"));
    }
}
