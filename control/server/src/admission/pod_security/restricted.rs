//! The level `restricted`: as little as a well-behaved program needs (policy/check_*.go of level restricted).

use super::baseline::{bad_seccomp, found, has_own_users};
use super::{Check, Violation, containers, named, plural, quote, say, setters};
use api::read;
use serde_json::Value;
use std::collections::BTreeSet;

/// In the order of upstream's names for them.
pub(super) const CHECKS: [Check; 6] = [
    (8, allow_privilege_escalation),
    (22, capabilities),
    (0, volumes),
    (0, run_as_non_root),
    (23, run_as_user),
    (19, seccomp),
];

const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn is_windows(spec: &Value) -> bool {
    read::text(spec, "/os/name") == "windows"
}

fn allow_privilege_escalation(_: &Value, spec: &Value) -> Option<Violation> {
    if is_windows(spec) {
        return None;
    }
    let allowed = |container: &Value| {
        read::some(container, "/securityContext/allowPrivilegeEscalation") != Some(&Value::Bool(false))
    };
    let names = named(spec, allowed);
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must set securityContext.allowPrivilegeEscalation=false",
        say(&names)
    );
    found("allowPrivilegeEscalation != false", detail)
}

fn capabilities(_: &Value, spec: &Value) -> Option<Violation> {
    if is_windows(spec) {
        return None;
    }
    let list = |container: &Value, which: &str| {
        let names = read::list(container, &format!("/securityContext/capabilities/{which}")).iter();
        names
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let bad = |container: &Value| {
        let mut added = list(container, "add");
        added.remove("NET_BIND_SERVICE");
        added
    };
    let keeping = named(spec, |container| !list(container, "drop").contains("ALL"));
    let adding = named(spec, |container| !bad(container).is_empty());
    let mut parts = Vec::new();
    if !keeping.is_empty() {
        parts.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            say(&keeping)
        ));
    }
    if !adding.is_empty() {
        let all: BTreeSet<String> = containers(spec).flat_map(bad).collect();
        parts.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            say(&adding),
            quote(all)
        ));
    }
    if parts.is_empty() {
        None
    } else {
        found("unrestricted capabilities", parts.join("; "))
    }
}

fn volumes(_: &Value, spec: &Value) -> Option<Violation> {
    let kind = |volume: &Value| {
        let members = volume.as_object().into_iter().flatten();
        let mut kinds = members
            .filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key.clone());
        kinds.next().unwrap_or_else(|| "unknown".to_owned())
    };
    let bad: Vec<&Value> = read::list(spec, "/volumes")
        .iter()
        .filter(|volume| !VOLUMES.contains(&kind(volume).as_str()))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let names: Vec<&str> = bad.iter().map(|volume| read::text(volume, "/name")).collect();
    let kinds: BTreeSet<String> = bad.iter().map(|volume| kind(volume)).collect();
    let (count, volume) = (kinds.len(), plural(names.len(), "volume", "volumes"));
    let (use_, what) = (
        plural(names.len(), "uses", "use"),
        plural(count, "restricted volume type", "restricted volume types"),
    );
    found(
        "restricted volume types",
        format!("{volume} {} {use_} {what} {}", quote(names), quote(kinds)),
    )
}

fn run_as_non_root(_: &Value, spec: &Value) -> Option<Violation> {
    if has_own_users(spec) {
        return None;
    }
    let said = |holder: &Value| read::some(holder, "/securityContext/runAsNonRoot").and_then(Value::as_bool);
    let refusing = named(spec, |container| said(container) == Some(false));
    let pod_refuses = said(spec) == Some(false);
    let reason = "runAsNonRoot != true";
    if pod_refuses || !refusing.is_empty() {
        let setters = setters(pod_refuses, &refusing);
        return found(
            reason,
            format!("{setters} must not set securityContext.runAsNonRoot=false"),
        );
    }
    let silent = named(spec, |container| said(container).is_none());
    if said(spec) == Some(true) || silent.is_empty() {
        return None;
    }
    found(
        reason,
        format!("pod or {} must set securityContext.runAsNonRoot=true", say(&silent)),
    )
}

fn run_as_user(_: &Value, spec: &Value) -> Option<Violation> {
    if has_own_users(spec) {
        return None;
    }
    let is_root = |holder: &Value| read::some(holder, "/securityContext/runAsUser").and_then(Value::as_i64) == Some(0);
    let names = named(spec, is_root);
    if names.is_empty() && !is_root(spec) {
        return None;
    }
    found(
        "runAsUser=0",
        format!("{} must not set runAsUser=0", setters(is_root(spec), &names)),
    )
}

fn seccomp(_: &Value, spec: &Value) -> Option<Violation> {
    if is_windows(spec) {
        return None;
    }
    let explicit = bad_seccomp(spec);
    if explicit.is_some() {
        return explicit;
    }
    let says = |holder: &Value| !read::text(holder, "/securityContext/seccompProfile/type").is_empty();
    let silent = named(spec, |container| !says(container));
    if says(spec) || silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        say(&silent)
    );
    found("seccompProfile", detail)
}
