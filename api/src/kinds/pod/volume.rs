//! What is wrong with a pod's volumes (core `validation.ValidateVolumes`).

use super::{
    container::{field_ref, inside},
    validate::judge,
};
use crate::{
    field::FieldError,
    names,
    quantity::Quantity,
    read::{entries, list, text},
};
use serde_json::Value;
use std::collections::HashSet;

const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
/// What a downward-API file may show.
const FILE_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Judges them; answers with their names, for mounts to refer to.
pub(super) fn validate<'a>(spec: &'a Value, path: &str, errors: &mut Vec<FieldError>) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for (index, volume) in list(spec, "/volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        match text(volume, "/name") {
            "" => errors.push(FieldError::required(format!("{path}.name"), "")),
            name => {
                judge(
                    errors,
                    &format!("{path}.name"),
                    &name.into(),
                    names::dns1123_label(name),
                );
                if !seen.insert(name) {
                    errors.push(FieldError::duplicate(format!("{path}.name"), name));
                }
            }
        }
        let sources: Vec<(&str, &Value)> = entries(volume, "")
            .filter(|(kind, s)| *kind != "name" && !s.is_null())
            .collect();
        if sources.is_empty() {
            errors.push(FieldError::required(&path, "must specify a volume type"));
        }
        for (number, (kind, source)) in sources.into_iter().enumerate() {
            let path = format!("{path}.{kind}");
            if number > 0 {
                errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type"));
            } else {
                one(kind, source, &path, errors);
            }
        }
    }
    seen
}

fn one(kind: &str, source: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let required = |member: &str, errors: &mut Vec<FieldError>| {
        if text(source, &format!("/{member}")).is_empty() {
            errors.push(FieldError::required(format!("{path}.{member}"), ""));
        }
    };
    match kind {
        "hostPath" => host_path(source, path, errors),
        "emptyDir"
            if source
                .get("sizeLimit")
                .and_then(Quantity::of)
                .is_some_and(Quantity::is_negative) =>
        {
            let why = "SizeLimit field must be a valid resource quantity";
            errors.push(FieldError::forbidden(format!("{path}.sizeLimit"), why));
        }
        "secret" => {
            required("secretName", errors);
            mode(source, path, "defaultMode", errors);
            items(source, path, errors);
        }
        "configMap" => {
            required("name", errors);
            mode(source, path, "defaultMode", errors);
            items(source, path, errors);
        }
        "downwardAPI" => {
            mode(source, path, "defaultMode", errors);
            downward(source, path, errors);
        }
        "projected" => projected(source, path, errors),
        "persistentVolumeClaim" => required("claimName", errors),
        "nfs" => {
            required("server", errors);
            required("path", errors);
        }
        "csi" => required("driver", errors),
        _ => {}
    }
}

fn host_path(source: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match text(source, "/path") {
        "" => errors.push(FieldError::required(format!("{path}.path"), "")),
        at if at.split('/').any(|part| part == "..") => {
            errors.push(FieldError::invalid(format!("{path}.path"), at, "must not contain '..'"));
        }
        _ => {}
    }
    let kind = text(source, "/type");
    if !HOST_PATH_TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(format!("{path}.type"), kind, HOST_PATH_TYPES));
    }
}

fn mode(source: &Value, path: &str, member: &str, errors: &mut Vec<FieldError>) {
    let Some(mode) = source.get(member).and_then(Value::as_i64) else {
        return;
    };
    if !(0..=0o777).contains(&mode) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(format!("{path}.{member}"), mode, why));
    }
}

fn items(source: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, item) in list(source, "/items").iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        if text(item, "/key").is_empty() {
            errors.push(FieldError::required(format!("{path}.key"), ""));
        }
        file(item, &path, errors);
    }
}

fn file(item: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match text(item, "/path") {
        "" => errors.push(FieldError::required(format!("{path}.path"), "")),
        at if at.starts_with("..") => errors.push(FieldError::invalid(
            format!("{path}.path"),
            at,
            "must not start with '..'",
        )),
        at => judge(errors, &format!("{path}.path"), &at.into(), inside(at)),
    }
    mode(item, path, "mode", errors);
}

fn downward(source: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, item) in list(source, "/items").iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        file(item, &path, errors);
        match (
            item.get("fieldRef").filter(|f| !f.is_null()),
            item.get("resourceFieldRef").filter(|f| !f.is_null()),
        ) {
            (Some(_), Some(_)) => {
                errors.push(FieldError::invalid(
                    &path,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                ));
            }
            (Some(field), None) => field_ref(field, &format!("{path}.fieldRef"), FILE_FIELDS, errors),
            (None, Some(_)) => {}
            (None, None) => errors.push(FieldError::required(
                &path,
                "one of fieldRef and resourceFieldRef is required",
            )),
        }
    }
}

fn projected(source: &Value, path: &str, errors: &mut Vec<FieldError>) {
    mode(source, path, "defaultMode", errors);
    for (index, part) in list(source, "/sources").iter().enumerate() {
        let path = format!("{path}.sources[{index}]");
        let kinds: Vec<(&str, &Value)> = entries(part, "").filter(|(_, s)| !s.is_null()).collect();
        if kinds.len() > 1 {
            errors.push(FieldError::forbidden(
                &path,
                "may not specify more than 1 volume type per source",
            ));
        }
        for (kind, source) in kinds {
            let path = format!("{path}.{kind}");
            match kind {
                "secret" | "configMap" => {
                    if text(source, "/name").is_empty() {
                        errors.push(FieldError::required(format!("{path}.name"), ""));
                    }
                    items(source, &path, errors);
                }
                "downwardAPI" => downward(source, &path, errors),
                "serviceAccountToken" => {
                    let seconds = source.get("expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
                    if seconds < 600 {
                        let why = "may not specify a duration less than 10 minutes";
                        errors.push(FieldError::invalid(format!("{path}.expirationSeconds"), seconds, why));
                    }
                    if text(source, "/path").is_empty() {
                        errors.push(FieldError::required(format!("{path}.path"), ""));
                    }
                }
                _ => {}
            }
        }
    }
}
