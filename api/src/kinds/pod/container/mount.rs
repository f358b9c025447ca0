//! What is wrong with where a container's volumes are mounted (core `validation.ValidateVolumeMounts`, `ValidateVolumeDevices`).

use super::super::volume::Volumes;
use crate::{
    at::At,
    field::FieldError,
    kinds::volume_source::{inside, no_backsteps},
};
use serde_json::Value;
use std::collections::HashSet;

/// The texts of `member` in the list `key`.
fn all<'a>(container: &At<'a>, key: &str, member: &str) -> HashSet<&'a str> {
    let items = container.list(key).iter();
    items
        .map(|item| item.get(member).and_then(Value::as_str).unwrap_or_default())
        .collect()
}

pub(super) fn validate(container: &At<'_>, volumes: &Volumes<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let devices = all(container, "volumeDevices", "name");
    let device_paths = all(container, "volumeDevices", "devicePath");
    let mut seen = HashSet::new();
    for mount in container.items("volumeMounts") {
        let (name, path) = (mount.text("name"), mount.text("mountPath"));
        errors.extend(mount.need("name"));
        if !volumes.contains_key(name) {
            errors.push(FieldError::not_found(mount.path("name"), name));
        }
        errors.extend(mount.need("mountPath"));
        if !seen.insert(path) {
            errors.extend(mount.invalid_text("mountPath", ["must be unique"]));
        }
        if devices.contains(name) {
            errors.extend(mount.invalid_text("name", ["must not already exist in volumeDevices"]));
        }
        if device_paths.contains(path) {
            let why = "must not already exist as a path in volumeDevices";
            errors.extend(mount.invalid_text("mountPath", [why]));
        }
        errors.extend(below(&mount, container));
        errors.extend(propagation(&mount, container));
        errors.extend(recursive(&mount, container));
    }
    errors
}

/// The part of a volume that is mounted; upstream names the list and not the entry when it is a bad path.
fn below(mount: &At<'_>, container: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for member in ["subPath", "subPathExpr"] {
        let path = mount.text(member);
        if member == "subPathExpr" && !path.is_empty() && !mount.text("subPath").is_empty() {
            errors.extend(mount.invalid(member, ["subPathExpr and subPath are mutually exclusive"]));
        }
        let field = format!("{}.{member}", container.path("volumeMounts"));
        let wrong = inside(path).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(&field, path, why)));
    }
    errors
}

fn propagation(mount: &At<'_>, container: &At<'_>) -> Vec<FieldError> {
    let Some(mode) = mount.some("mountPropagation") else {
        return Vec::new();
    };
    let list = container.child("volumeMounts");
    let known = ["Bidirectional", "HostToContainer", "None"];
    let mut errors = Vec::new();
    if !known.contains(&mode.as_text()) {
        errors.push(FieldError::not_supported(
            list.path("mountPropagation"),
            mode.value.clone(),
            &known,
        ));
    }
    if mode.as_text() == "Bidirectional" && !container.child("securityContext").flag("privileged") {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(list.forbidden("mountPropagation", why));
    }
    errors
}

fn recursive(mount: &At<'_>, container: &At<'_>) -> Vec<FieldError> {
    let list = container.child("volumeMounts");
    let field = list.path("recursiveReadOnly");
    let mut errors = Vec::new();
    match mount.some("recursiveReadOnly").map(|mode| mode.as_text()) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !mount.flag("readOnly") {
                errors.push(FieldError::forbidden(
                    &field,
                    "may only be specified when readOnly is true",
                ));
            }
            if mount.has("mountPropagation") && mount.text("mountPropagation") != "None" {
                let why = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(&field, why));
            }
        }
        Some(other) => {
            let known = ["Disabled", "Enabled", "IfPossible"];
            errors.push(FieldError::not_supported(field, other, &known));
        }
    }
    errors
}

pub(super) fn validate_devices(container: &At<'_>, volumes: &Volumes<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mounts = all(container, "volumeMounts", "name");
    let mount_paths = all(container, "volumeMounts", "mountPath");
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for device in container.items("volumeDevices") {
        let (name, path) = (device.text("name"), device.text("devicePath"));
        errors.extend(device.need("name"));
        if names.contains(name) {
            errors.extend(device.invalid("name", ["must be unique"]));
        }
        let has = |volume: &Value, source: &str| volume.get(source).is_some_and(|s| !s.is_null());
        match volumes.get(name) {
            Some(volume) if has(volume, "persistentVolumeClaim") || has(volume, "ephemeral") => {}
            Some(_) => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.extend(device.invalid("name", [why]));
            }
            None => errors.push(FieldError::not_found(device.path("name"), name)),
        }
        errors.extend(device.need("devicePath"));
        if paths.contains(path) {
            errors.extend(device.invalid_text("devicePath", ["must be unique"]));
        }
        if no_backsteps(path).is_empty() {
            paths.insert(path);
        } else {
            errors.extend(device.invalid("devicePath", ["can not contain backsteps ('..')"]));
        }
        if mounts.contains(name) {
            errors.extend(device.invalid_text("name", ["must not already exist in volumeMounts"]));
        }
        if mount_paths.contains(path) {
            let why = "must not already exist as a path in volumeMounts";
            errors.extend(device.invalid_text("devicePath", [why]));
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
    errors
}
