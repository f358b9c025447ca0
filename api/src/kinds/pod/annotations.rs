//! Annotations that mean something for a pod: mirror pods, and profiles from before they had fields (core
//! `ValidatePodSpecificAnnotations`).

use super::container::every;
use crate::{at::At, field::FieldError, kinds::volume_source::inside, read};
use serde_json::Value;

pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_WORDS: &[&str] = &["runtime/default", "docker/default", "unconfined"];

/// The annotations in `metadata`, each with its key.
fn all(metadata: &Value) -> impl Iterator<Item = (&str, &str)> {
    read::entries(metadata, "/annotations").map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

/// Judges those of `metadata`, which errors call `path`, for a pod with that spec.
pub(in crate::kinds) fn validate(metadata: &Value, path: &str, spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let containers = every(spec);
    for (key, value) in all(metadata) {
        let field = format!("{path}[{key}]");
        if key == MIRROR && spec.text("nodeName").is_empty() {
            let why = "must set spec.nodeName if mirror pod annotation is set";
            errors.push(FieldError::invalid(&field, value, why));
        }
        if key == DELETION_COST && !is_cost(value) {
            errors.push(FieldError::invalid(&field, value, "must be a 32bit integer"));
        }
        if key == SECCOMP_POD || key.starts_with(SECCOMP) {
            errors.extend(seccomp(value, &format!("{path}.{key}")));
        }
        if let Some(name) = key.strip_prefix(APP_ARMOR) {
            if !containers.iter().any(|container| container.text("name") == name) {
                errors.push(FieldError::invalid(&field, name, "container not found"));
            }
            let is_known = ["", "runtime/default", "unconfined"].contains(&value) || value.starts_with("localhost/");
            if !is_known {
                let why = format!("invalid AppArmor profile name: {value:?}");
                errors.push(FieldError::invalid(&field, value, why));
            }
        }
    }
    errors
}

/// A number as it is written in one way only.
fn is_cost(text: &str) -> bool {
    let first = text.bytes().next();
    let plain = text == "0" || first.is_some_and(|b| b == b'-' || (b'1'..=b'9').contains(&b));
    plain && text.parse::<i32>().is_ok()
}

fn seccomp(value: &str, field: &str) -> Vec<FieldError> {
    if SECCOMP_WORDS.contains(&value) {
        return Vec::new();
    }
    match value.strip_prefix("localhost/") {
        Some(file) => {
            let wrong = inside(file).into_iter();
            wrong.map(|why| FieldError::invalid(field, file, why)).collect()
        }
        None => vec![FieldError::invalid(field, value, "must be a valid seccomp profile")],
    }
}

/// What may not come, go or change.
pub(super) fn validate_update(new: &Value, old: &Value, spec: &At<'_>) -> Vec<FieldError> {
    let path = "metadata.annotations";
    let nothing = Value::Null;
    let (new, old) = (
        new.get("metadata").unwrap_or(&nothing),
        old.get("metadata").unwrap_or(&nothing),
    );
    let value = |metadata: &Value, key: &str| all(metadata).find(|(k, _)| *k == key).map(|(_, v)| v.to_owned());
    let mut errors = Vec::new();
    let mut refuse = |key: &str, what: &str| {
        let word = match key {
            MIRROR => "mirror pod annotation",
            key if key.starts_with(APP_ARMOR) => "AppArmor annotations",
            _ => return,
        };
        errors.push(FieldError::forbidden(
            format!("{path}[{key}]"),
            format!("may not {what} {word}"),
        ));
    };
    for (key, before) in all(old) {
        if value(new, key).as_deref() != Some(before) {
            refuse(key, "remove or update");
        }
    }
    for (key, _) in all(new) {
        if value(old, key).is_none() {
            refuse(key, "add");
        }
    }
    errors.extend(validate(new, path, spec));
    errors
}

/// That annotations and fields say the same of profiles (core `validateSeccompAnnotationsAndFields`,
/// `validateAppArmorAnnotationsAndFieldsMatchOnCreate`).
pub(in crate::kinds) fn match_fields(metadata: &Value, spec: &At<'_>) -> Vec<FieldError> {
    let annotation = |key: String| all(metadata).find(|(k, _)| *k == key).map(|(_, value)| value);
    let profile = |holder: &At<'_>, kind: &str| {
        let at = At::new(
            holder.value.get("securityContext").unwrap_or(&Value::Null),
            holder.path("securityContext"),
        );
        at.some(kind).map(|p| (p.value.clone(), p.path("")))
    };
    let mut errors = Vec::new();
    if let (Some((field, path)), Some(said)) = (profile(spec, "seccompProfile"), annotation(SECCOMP_POD.to_owned())) {
        errors.extend(same("seccomp", &At::new(&field, path), said));
    }
    let of_pod = profile(spec, "appArmorProfile").map(|(value, _)| value);
    for container in every(spec) {
        let name = container.text("name");
        if let (Some((field, path)), Some(said)) = (
            profile(&container, "seccompProfile"),
            annotation(format!("{SECCOMP}{name}")),
        ) {
            errors.extend(same("seccomp", &At::new(&field, path), said));
        }
        let own = profile(&container, "appArmorProfile").map(|(value, _)| value);
        let field = own.or_else(|| of_pod.clone());
        if let (Some(field), Some(said)) = (field, annotation(format!("{APP_ARMOR}{name}")))
            && spec.child("os").text("name") != "windows"
        {
            let path = container.path("securityContext.appArmorProfile");
            errors.extend(same("apparmor", &At::new(&field, path), said));
        }
    }
    errors
}

fn same(of: &str, field: &At<'_>, said: &str) -> Option<FieldError> {
    let other_type = Some(field.forbidden("type", format!("{of} type in annotation and field must match")));
    match field.text("type") {
        "Unconfined" if said != "unconfined" => other_type,
        "RuntimeDefault" if said == "docker/default" && of == "seccomp" => None,
        "RuntimeDefault" if said != "runtime/default" => other_type,
        "Localhost" => match said.strip_prefix("localhost/") {
            None => other_type,
            Some(file) if file != field.text("localhostProfile") => {
                let why = format!("{of} profile in annotation and field must match");
                Some(field.forbidden("localhostProfile", why))
            }
            Some(_) => None,
        },
        _ => None,
    }
}
