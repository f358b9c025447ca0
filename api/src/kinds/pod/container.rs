//! What is wrong with a pod's containers (core `validation.validateContainers`, `validateInitContainers`).

mod env;
mod mount;
mod resources;
mod restart;

use super::{is_sidecar, probe, security, volume::Volumes};
use crate::{at::At, field::FieldError, names};
use std::collections::HashSet;

pub(super) use env::{FILE_FIELDS, field_ref, file_volumes, resource_ref};
pub(in crate::kinds) use resources::{
    amount as resource_amount, name_for_container as container_resource_name, overcommits, resource_name,
};
pub(super) use resources::{of_pod, overhead};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
pub(super) const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];

/// What a container is judged by besides itself.
pub(super) struct Around<'a> {
    /// The pod's spec.
    pub(super) spec: &'a At<'a>,
    /// Its good volumes.
    pub(super) volumes: &'a Volumes<'a>,
}

/// Every container of a spec, with its place.
pub(super) fn every<'a>(spec: &At<'a>) -> Vec<At<'a>> {
    let kinds = ["initContainers", "containers", "ephemeralContainers"];
    kinds.iter().flat_map(|kind| spec.items(kind)).collect()
}

/// Judges containers, then init containers: their names are one set.
pub(super) fn validate_all(around: &Around<'_>, errors: &mut Vec<FieldError>) {
    let containers = around.spec.items("containers");
    if containers.is_empty() {
        errors.push(around.spec.required("containers", ""));
    }
    let mut names = HashSet::new();
    for container in &containers {
        errors.extend(common(container, around));
        let name = container.text("name");
        if !names.insert(name) {
            errors.push(FieldError::duplicate(container.path("name"), name));
        }
        probe::validate(container, around.spec, errors);
        errors.extend(restart::validate(container));
    }
    host_port_conflicts(&containers, errors);
    for container in around.spec.items("initContainers") {
        init(&container, around, &mut names, errors);
    }
}

fn init<'a>(container: &At<'a>, around: &Around<'_>, names: &mut HashSet<&'a str>, errors: &mut Vec<FieldError>) {
    errors.extend(common(container, around));
    errors.extend(restart::validate(container));
    let name = container.text("name");
    if !name.is_empty() && !names.insert(name) {
        errors.push(FieldError::duplicate(container.path("name"), name));
    }
    host_port_conflicts(std::slice::from_ref(container), errors);
    if is_sidecar(container.value) {
        probe::validate(container, around.spec, errors);
        return;
    }
    for member in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if container.has(member) {
            let why = "may not be set for init containers without restartPolicy=Always";
            errors.push(container.forbidden(member, why));
        }
    }
    for policy in container.items("resizePolicy") {
        if policy.text("restartPolicy") == "RestartContainer" {
            let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.extend(policy.invalid("restartPolicy", [why]));
        }
    }
}

/// What all sorts of containers have in common (core `validateContainerCommon`).
pub(super) fn common(container: &At<'_>, around: &Around<'_>) -> Vec<FieldError> {
    let mut errors = container.need_judged("name", names::dns1123_label);
    errors.extend(container.need("image"));
    errors.extend(container.must_be_one_of("terminationMessagePolicy", &["File", "FallbackToLogsOnError"]));
    errors.extend(ports(container));
    errors.extend(env::validate(container));
    errors.extend(env::validate_from(container));
    errors.extend(mount::validate(container, around.volumes));
    errors.extend(mount::validate_devices(container, around.volumes));
    errors.extend(container.must_be_one_of("imagePullPolicy", PULL_POLICIES));
    errors.extend(resources::of_container(container, around.spec));
    errors.extend(restart::resize_policy(container, around.spec.text("restartPolicy")));
    errors.extend(security::of_container(container, around.spec));
    errors
}

/// What is asked of a pod's images and not of a template's.
pub(super) fn image_of_pod(container: &At<'_>) -> Vec<FieldError> {
    let image = container.text("image");
    if image.trim() == image {
        return Vec::new();
    }
    container.invalid("image", ["must not have leading or trailing whitespace"])
}

fn ports(container: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for port in container.items("ports") {
        let name = port.text("name");
        let wrong = port.judge("name", names::port_name);
        if wrong.is_empty() && !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(port.path("name"), name));
        }
        errors.extend(wrong);
        match port.int("containerPort") {
            0 => errors.push(port.required("containerPort", "")),
            number => errors.extend(port.invalid("containerPort", names::port(number))),
        }
        if port.int("hostPort") != 0 {
            errors.extend(port.judge_number("hostPort", names::port));
        }
        errors.extend(port.must_be_one_of("protocol", PROTOCOLS));
    }
    errors
}

fn host_port_conflicts(containers: &[At<'_>], errors: &mut Vec<FieldError>) {
    let mut taken = HashSet::new();
    for port in containers.iter().flat_map(|container| container.items("ports")) {
        let host = port.int("hostPort");
        let key = format!("{}/{}/{host}", port.text("protocol"), port.text("hostIP"));
        if host != 0 && !taken.insert(key.clone()) {
            errors.push(FieldError::duplicate(port.path("hostPort"), key));
        }
    }
}
