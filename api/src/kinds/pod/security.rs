//! What is wrong with what a pod and its containers may do on their machine (core `validatePodSpecSecurityContext`,
//! `ValidateSecurityContext`).

use super::container::every;
use crate::{at::At, field::FieldError, kinds::volume_source::inside, names};
use serde_json::Value;
use std::collections::HashSet;

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const PROFILE_MAX: usize = 4095;
const SYSCTL: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const SYSCTL_MAX: usize = 253;
/// Members of a pod's and of a container's context that a Windows pod cannot have, in upstream's order.
const NOT_ON_WINDOWS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];

pub(super) fn of_pod(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(context) = spec.some("securityContext") {
        for id in ["fsGroup", "runAsUser", "runAsGroup"] {
            errors.extend(context.judge_number(id, names::user_id));
        }
        for group in context.items("supplementalGroups") {
            errors.extend(group.invalid("", names::user_id(group.value.as_i64().unwrap_or(-1))));
        }
        errors.extend(sysctls(&context, spec));
        errors.extend(context.one_of("fsGroupChangePolicy", &["Always", "OnRootMismatch"]));
        errors.extend(seccomp(&context));
        errors.extend(app_armor(&context));
        errors.extend(context.one_of("supplementalGroupsPolicy", &["Merge", "Strict"]));
        errors.extend(context.one_of("seLinuxChangePolicy", &["MountOption", "Recursive"]));
    }
    if spec.flag("shareProcessNamespace") && spec.flag("hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.extend(spec.invalid("shareProcessNamespace", [why]));
    }
    errors
}

fn sysctls(context: &At<'_>, spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for sysctl in context.items("sysctls") {
        let name = sysctl.text("name");
        if name.is_empty() {
            errors.push(sysctl.required("name", ""));
        } else if !is_sysctl(name) {
            let why = format!("must have at most {SYSCTL_MAX} characters and match regex {SYSCTL}");
            errors.extend(sysctl.invalid("name", [why]));
        } else if seen.contains(name) {
            errors.push(FieldError::duplicate(sysctl.path("name"), name));
        }
        let dotted = name.replace('/', ".");
        let of_network = dotted.starts_with("net.");
        let of_messages = ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|p| dotted.starts_with(p));
        if of_network && spec.flag("hostNetwork") {
            errors.extend(sysctl.invalid("name", ["may not be specified when 'hostNetwork' is true"]));
        } else if (of_messages || dotted == "kernel.sem") && spec.flag("hostIPC") {
            errors.extend(sysctl.invalid("name", ["may not be specified when 'hostIPC' is true"]));
        }
        seen.insert(name);
    }
    errors
}

fn is_sysctl(name: &str) -> bool {
    let part = |p: &str| {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = p.as_bytes();
        bytes.first().is_some_and(|b| known(*b))
            && bytes.last().is_some_and(|b| known(*b))
            && bytes.iter().all(|b| known(*b) || matches!(b, b'-' | b'_'))
    };
    name.len() <= SYSCTL_MAX && name.split(['.', '/']).all(part)
}

pub(super) fn of_container(container: &At<'_>, spec: &At<'_>) -> Vec<FieldError> {
    let Some(context) = container.some("securityContext") else {
        return Vec::new();
    };
    let mut errors = context.judge_number("runAsUser", names::user_id);
    errors.extend(context.judge_number("runAsGroup", names::user_id));
    errors.extend(context.one_of("procMount", &["Default", "Unmasked"]));
    let host_users = spec.value.get("hostUsers").and_then(Value::as_bool).unwrap_or(true);
    if host_users && context.text("procMount") == "Unmasked" {
        errors.extend(context.invalid("procMount", ["`hostUsers` must be false to use `Unmasked`"]));
    }
    errors.extend(seccomp(&context));
    if context.value.get("allowPrivilegeEscalation") == Some(&Value::Bool(false)) {
        if context.flag("privileged") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.extend(context.invalid("", [why]));
        }
        let added = context.child("capabilities");
        if added.list("add").iter().any(|c| c == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.extend(context.invalid("", [why]));
        }
    }
    errors.extend(app_armor(&context));
    errors
}

/// The type of a profile, which must be there.
fn profile_type(profile: &At<'_>, member: &str) -> Option<FieldError> {
    match profile.text("type") {
        "" => Some(profile.required("type", format!("type is required when {member} is set"))),
        _ => profile.one_of("type", PROFILES),
    }
}

fn seccomp(context: &At<'_>) -> Vec<FieldError> {
    let Some(profile) = context.some("seccompProfile") else {
        return Vec::new();
    };
    let mut errors: Vec<FieldError> = profile_type(&profile, "seccompProfile").into_iter().collect();
    match (profile.text("type"), profile.some("localhostProfile")) {
        ("Localhost", None) => {
            let why = "must be set when seccomp type is Localhost";
            errors.push(profile.required("localhostProfile", why));
        }
        ("Localhost", Some(file)) => errors.extend(file.invalid("", inside(file.as_text()))),
        (_, Some(file)) => errors.extend(file.invalid("", ["can only be set when seccomp type is Localhost"])),
        (_, None) => {}
    }
    errors
}

fn app_armor(context: &At<'_>) -> Vec<FieldError> {
    let Some(profile) = context.some("appArmorProfile") else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    let needed = "must be set when AppArmor type is Localhost";
    match (profile.text("type"), profile.some("localhostProfile")) {
        ("Localhost", None) => errors.push(profile.required("localhostProfile", needed)),
        ("Localhost", Some(name)) => {
            let text = name.as_text();
            if text.trim() != text {
                errors.extend(name.invalid("", ["must not be padded with whitespace"]));
            } else if text.is_empty() {
                errors.push(name.required("", needed));
            }
            if text.len() > PROFILE_MAX {
                errors.push(FieldError::too_long(name.path(""), PROFILE_MAX));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.extend(name.invalid("", ["can only be set when AppArmor type is Localhost"]));
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        _ => errors.extend(profile_type(&profile, "appArmorProfile")),
    }
    errors
}

/// What a pod with users of its own cannot share with the machine (core `validateHostUsers`).
pub(super) fn host_users(spec: &At<'_>) -> Vec<FieldError> {
    if spec.value.get("hostUsers") != Some(&Value::Bool(false)) {
        return Vec::new();
    }
    let why = "when `hostUsers` is false";
    let mut errors = Vec::new();
    // Upstream spells the last two with a capital.
    for (member, named) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if spec.flag(member) {
            errors.push(spec.forbidden(named, why));
        }
    }
    let containers = every(spec).into_iter();
    errors.extend(
        containers
            .filter(|container| !container.list("volumeDevices").is_empty())
            .map(|container| container.forbidden("volumeDevices", why)),
    );
    errors
}

/// The operating system, and what is not for it (core `validateOS`, `validateLinux`, `validateWindows`).
pub(super) fn os(spec: &At<'_>) -> Vec<FieldError> {
    let Some(os) = spec.some("os") else {
        return Vec::new();
    };
    match os.text("name") {
        "" => vec![os.required("name", "")],
        "linux" => linux(spec),
        "windows" => windows(spec),
        other => vec![FieldError::not_supported(os.path(""), other, &["linux", "windows"])],
    }
}

/// The contexts of the pod and of its containers.
fn contexts<'a>(spec: &At<'a>) -> Vec<At<'a>> {
    let all = std::iter::once(spec.clone()).chain(every(spec));
    all.filter_map(|holder| holder.some("securityContext")).collect()
}

fn linux(spec: &At<'_>) -> Vec<FieldError> {
    let with = contexts(spec)
        .into_iter()
        .filter(|context| context.has("windowsOptions"));
    with.map(|context| context.forbidden("windowsOptions", "windows options cannot be set for a linux pod"))
        .collect()
}

fn windows(spec: &At<'_>) -> Vec<FieldError> {
    let why = "cannot be set for a windows pod";
    let mut errors = Vec::new();
    for member in ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"] {
        let is_set = match member {
            "hostPID" | "hostIPC" => spec.flag(member),
            _ => spec.has(member),
        };
        if is_set {
            errors.push(spec.forbidden(member, why));
        }
    }
    for context in contexts(spec) {
        let given = NOT_ON_WINDOWS.iter().filter(|member| context.has(member));
        errors.extend(given.map(|member| context.forbidden(member, why)));
    }
    errors
}

/// Windows containers that are processes of the host: all of them or none (core `validateWindowsHostProcessPod`).
pub(super) fn host_process(spec: &At<'_>) -> Vec<FieldError> {
    let wish = |holder: &At<'_>| {
        let options = holder.child("securityContext");
        options
            .value
            .pointer("/windowsOptions/hostProcess")
            .and_then(Value::as_bool)
    };
    let of_pod = wish(spec);
    let mut errors = Vec::new();
    let containers = every(spec);
    for container in &containers {
        if let (Some(pod), Some(own)) = (of_pod, wish(container))
            && pod != own
        {
            let field = container.path("securityContext.windowsOptions.hostProcess");
            let why = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.push(FieldError::invalid(field, own, why));
        }
    }
    let count = containers
        .iter()
        .filter(|container| wish(container).or(of_pod) == Some(true))
        .count();
    if count > 0 {
        if count != containers.len() {
            let why = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
            errors.push(FieldError::invalid(spec.path(""), "", why));
        }
        if !spec.flag("hostNetwork") {
            let why = "hostNetwork must be true if pod contains any hostProcess containers";
            errors.push(FieldError::invalid(spec.path("hostNetwork"), false, why));
        }
    }
    errors
}
