//! What is wrong with a container's environment, and with references to fields of the pod (core `validation.ValidateEnv`).

use super::every;
use crate::{at::At, field::FieldError, kinds::volume_source::no_backsteps, names, quantity::Quantity};

/// What a variable may show, besides one label or annotation.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What a file may show.
pub(in crate::kinds::pod) const FILE_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Fields that pods have at all, for references (`ConvertDownwardAPIFieldLabel`).
const FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "spec.host",
];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTES: &[&str] = &[
    "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
];

pub(super) fn validate(container: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for variable in container.items("env") {
        errors.extend(variable.need_judged("name", names::env_name));
        if let Some(from) = variable.some("valueFrom") {
            errors.extend(value_from(&from, variable.text("value")));
        }
    }
    errors
}

fn value_from(from: &At<'_>, value: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut count = 0;
    for kind in [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
        "fileKeyRef",
    ] {
        let Some(source) = from.some(kind) else { continue };
        count += 1;
        errors.extend(match kind {
            "fieldRef" => field_ref(&source, ENV_FIELDS),
            "resourceFieldRef" => resource_ref(&source, false),
            "fileKeyRef" => file_key(&source),
            _ => key_ref(&source),
        });
    }
    let why = if count == 0 {
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
    } else if !value.is_empty() {
        "may not be specified when `value` is not empty"
    } else if count > 1 {
        "may not have more than one field specified at a time"
    } else {
        return errors;
    };
    errors.push(FieldError::invalid(from.path(""), "", why));
    errors
}

fn key_ref(source: &At<'_>) -> Vec<FieldError> {
    let mut errors = source.invalid_text("name", names::dns1123_subdomain(source.text("name")));
    errors.extend(source.need_judged("key", names::config_key));
    errors
}

fn file_key(source: &At<'_>) -> Vec<FieldError> {
    let mut errors = source.need_judged("key", names::env_name);
    errors.extend(source.need_judged("volumeName", names::dns1123_label));
    errors.extend(source.need_judged("path", no_backsteps));
    errors
}

/// A field and the label or annotation of it that is meant: `metadata.labels['a']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (field, key) = path.strip_suffix("']")?.split_once("['")?;
    (!field.is_empty()).then_some((field, key))
}

/// Judges a `fieldRef`, which may read `known` or one label or annotation.
pub(in crate::kinds::pod) fn field_ref(source: &At<'_>, known: &[&str]) -> Vec<FieldError> {
    for member in ["apiVersion", "fieldPath"] {
        if let Some(missing) = source.need(member) {
            return vec![missing];
        }
    }
    let (version, path) = (source.text("apiVersion"), source.text("fieldPath"));
    let wrong = |why: String| source.invalid("fieldPath", [format!("error converting fieldPath: {why}")]);
    if version != "v1" {
        return wrong(format!("unsupported pod version: {version}"));
    }
    match subscript(path) {
        Some(("metadata.annotations", key)) => qualified(source, &key.to_lowercase()),
        Some(("metadata.labels", key)) => qualified(source, key),
        Some(_) => wrong(format!("field label does not support subscript: {path}")),
        None if !FIELDS.contains(&path) => wrong(format!("field label not supported: {path}")),
        None => {
            let path = if path == "spec.host" { "spec.nodeName" } else { path };
            if known.contains(&path) {
                return Vec::new();
            }
            vec![FieldError::not_supported(source.path("fieldPath"), path, known)]
        }
    }
}

fn qualified(source: &At<'_>, key: &str) -> Vec<FieldError> {
    let wrong = names::qualified_name(key).into_iter();
    wrong
        .map(|why| FieldError::invalid(source.path(""), key, why))
        .collect()
}

/// Judges a `resourceFieldRef`; in a volume it must say whose resource it means.
pub(in crate::kinds::pod) fn resource_ref(source: &At<'_>, in_volume: bool) -> Vec<FieldError> {
    let resource = source.text("resource");
    let is_huge = resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    let mut errors = Vec::new();
    if in_volume && source.text("containerName").is_empty() {
        errors.push(source.required("containerName", ""));
    } else if resource.is_empty() {
        errors.push(source.required("resource", ""));
    } else if !RESOURCES.contains(&resource) && !is_huge {
        errors.push(FieldError::not_supported(source.path("resource"), resource, RESOURCES));
    }
    let divisor = source.value.get("divisor").and_then(Quantity::of);
    let Some(divisor) = divisor.filter(|d| !d.is_zero()).map(|d| d.to_string()) else {
        return errors;
    };
    let (known, of) = match resource {
        "limits.cpu" | "requests.cpu" => (&["1m", "1"][..], "cpu"),
        "limits.memory" | "requests.memory" => (BYTES, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (BYTES, "local ephemeral storage"),
        _ if is_huge => (BYTES, "hugepages"),
        _ => return errors,
    };
    if !known.contains(&divisor.as_str()) {
        let values = if of == "cpu" {
            "1m and 1".to_owned()
        } else {
            BYTES.join(", ")
        };
        let why = format!("only divisor's values {values} are supported with the {of} resource");
        errors.push(FieldError::invalid(source.path("divisor"), resource, why));
    }
    errors
}

pub(super) fn validate_from(container: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for source in container.items("envFrom") {
        errors.extend(source.judge("prefix", names::env_name));
        let refs: Vec<At<'_>> = ["configMapRef", "secretRef"]
            .iter()
            .filter_map(|kind| source.some(kind))
            .collect();
        for reference in &refs {
            errors.extend(reference.need_judged("name", names::dns1123_subdomain));
        }
        let why = match refs.len() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        // Upstream names the list, not the entry.
        errors.push(FieldError::invalid(container.path("envFrom"), "", why));
    }
    errors
}

/// Files with variables must lie in `emptyDir` volumes (core `validateFileKeyRefVolumes`).
pub(in crate::kinds::pod) fn file_volumes(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for variable in every(spec).iter().flat_map(|container| container.items("env")) {
        let Some(file) = variable.child("valueFrom").some("fileKeyRef") else {
            continue;
        };
        let name = file.text("volumeName");
        let volume = spec.items("volumes").into_iter().find(|v| v.text("name") == name);
        match volume {
            None => errors.push(FieldError::not_found(file.path("volumeName"), name)),
            Some(volume) if !volume.has("emptyDir") => {
                errors.extend(file.invalid("volumeName", ["referenced volume must be of type emptyDir"]));
            }
            Some(_) => {}
        }
    }
    errors
}
