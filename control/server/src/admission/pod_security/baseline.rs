//! The level `baseline`: no known way from a container to its node (policy/check_*.go of level baseline).

use super::{Check, Violation, containers, named, plural, quote, say, setters};
use api::read;
use serde_json::Value;
use std::collections::BTreeSet;

/// The checks that `restricted` has too, in the order of upstream's names for them; the second list are those that it
/// replaces by stricter ones.
pub(super) const CHECKS: [Check; 9] = [
    (0, app_armor),
    (0, host_namespaces),
    (0, host_ports),
    (34, host_probes),
    (0, privileged),
    (0, proc_mount),
    (0, selinux),
    (0, sysctls),
    (0, windows_host_process),
];
pub(super) const LAX: [Check; 3] = [(0, capabilities), (0, host_path_volumes), (19, seccomp)];

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SELINUX_TYPES: [&str; 5] = [
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// All of the level, in order.
pub(super) fn all() -> Vec<&'static Check> {
    let [
        app_armor,
        host_namespaces,
        host_ports,
        host_probes,
        privileged,
        proc_mount,
        selinux,
        rest @ ..,
    ] = &CHECKS;
    let [capabilities, host_path_volumes, seccomp] = &LAX;
    let mut all = vec![
        app_armor,
        capabilities,
        host_namespaces,
        host_path_volumes,
        host_ports,
        host_probes,
    ];
    all.extend([privileged, proc_mount, selinux, seccomp]);
    all.extend(rest);
    all
}

pub(super) fn found(reason: impl Into<String>, detail: String) -> Option<Violation> {
    Some(Violation {
        reason: reason.into(),
        detail,
    })
}

fn app_armor(metadata: &Value, spec: &Value) -> Option<Violation> {
    let bad = |holder: &Value| match read::text(holder, "/securityContext/appArmorProfile/type") {
        "" | "RuntimeDefault" | "Localhost" => None,
        other => Some(other.to_owned()),
    };
    let bad_containers = named(spec, |container| bad(container).is_some());
    let values: BTreeSet<String> = containers(spec).chain([spec]).filter_map(bad).collect();
    let annotations: BTreeSet<String> = read::entries(metadata, "/annotations")
        .filter(|(key, _)| key.starts_with(APP_ARMOR))
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(_, value)| !(value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/")))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let mut all = vec![setters(bad(spec).is_some(), &bad_containers)];
    if !annotations.is_empty() {
        all.push(plural(annotations.len(), "annotation", "annotations").to_owned());
    }
    all.retain(|setter| !setter.is_empty());
    let values: Vec<String> = values.into_iter().chain(annotations).collect();
    if all.is_empty() {
        return None;
    }
    let reason = plural(
        values.len(),
        "forbidden AppArmor profile",
        "forbidden AppArmor profiles",
    );
    found(
        reason,
        format!(
            "{} must not set AppArmor profile type to {}",
            all.join(" and "),
            quote(values)
        ),
    )
}

fn capabilities(_: &Value, spec: &Value) -> Option<Violation> {
    let bad = |container: &Value| {
        let added = read::list(container, "/securityContext/capabilities/add")
            .iter()
            .filter_map(Value::as_str);
        added
            .filter(|name| !CAPABILITIES.contains(name))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let names = named(spec, |container| !bad(container).is_empty());
    let all: BTreeSet<String> = containers(spec).flat_map(bad).collect();
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        say(&names),
        quote(all)
    );
    found("non-default capabilities", detail)
}

fn host_namespaces(_: &Value, spec: &Value) -> Option<Violation> {
    let set = ["hostIPC", "hostNetwork", "hostPID"]
        .into_iter()
        .filter(|name| read::flag(spec, &format!("/{name}")));
    let set: Vec<String> = set.map(|name| format!("{name}=true")).collect();
    if set.is_empty() {
        None
    } else {
        found("host namespaces", set.join(", "))
    }
}

fn host_path_volumes(_: &Value, spec: &Value) -> Option<Violation> {
    let volumes = read::list(spec, "/volumes")
        .iter()
        .filter(|volume| read::some(volume, "/hostPath").is_some());
    let names: Vec<&str> = volumes.map(|volume| read::text(volume, "/name")).collect();
    if names.is_empty() {
        return None;
    }
    found(
        "hostPath volumes",
        format!("{} {}", plural(names.len(), "volume", "volumes"), quote(names)),
    )
}

fn host_ports(_: &Value, spec: &Value) -> Option<Violation> {
    let ports = |container: &Value| {
        let ports = read::list(container, "/ports")
            .iter()
            .map(|port| read::int(port, "/hostPort"));
        ports
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect::<BTreeSet<_>>()
    };
    let names = named(spec, |container| !ports(container).is_empty());
    let all: BTreeSet<String> = containers(spec).flat_map(ports).collect();
    if names.is_empty() {
        return None;
    }
    let use_ = plural(names.len(), "uses", "use");
    let what = plural(all.len(), "hostPort", "hostPorts");
    let all: Vec<String> = all.into_iter().collect();
    found("hostPort", format!("{} {use_} {what} {}", say(&names), all.join(", ")))
}

fn host_probes(_: &Value, spec: &Value) -> Option<Violation> {
    let hosts = |container: &Value| {
        let handlers = [
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle/postStart",
            "lifecycle/preStop",
        ];
        let places = handlers
            .iter()
            .flat_map(|handler| ["httpGet", "tcpSocket"].map(|how| format!("/{handler}/{how}/host")));
        let hosts = places.map(|place| read::text(container, &place).to_owned());
        hosts.filter(|host| !host.is_empty()).collect::<BTreeSet<_>>()
    };
    let mut names = named(spec, |container| !hosts(container).is_empty());
    names.sort_unstable();
    let all: BTreeSet<String> = containers(spec).flat_map(hosts).collect();
    if names.is_empty() {
        return None;
    }
    let use_ = plural(names.len(), "uses", "use");
    let what = plural(all.len(), "probe or lifecycle host", "probe or lifecycle hosts");
    found(
        "probe or lifecycle host",
        format!("{} {use_} {what} {}", say(&names), quote(all)),
    )
}

fn privileged(_: &Value, spec: &Value) -> Option<Violation> {
    let names = named(spec, |container| read::flag(container, "/securityContext/privileged"));
    if names.is_empty() {
        return None;
    }
    found(
        "privileged",
        format!("{} must not set securityContext.privileged=true", say(&names)),
    )
}

fn proc_mount(_: &Value, spec: &Value) -> Option<Violation> {
    if has_own_users(spec) {
        return None;
    }
    let bad = |container: &Value| match read::text(container, "/securityContext/procMount") {
        "" | "Default" => None,
        other => Some(other.to_owned()),
    };
    let names = named(spec, |container| bad(container).is_some());
    let all: BTreeSet<String> = containers(spec).filter_map(bad).collect();
    if names.is_empty() {
        return None;
    }
    found(
        "procMount",
        format!(
            "{} must not set securityContext.procMount to {}",
            say(&names),
            quote(all)
        ),
    )
}

fn selinux(_: &Value, spec: &Value) -> Option<Violation> {
    let option =
        |holder: &Value, name: &str| read::text(holder, &format!("/securityContext/seLinuxOptions/{name}")).to_owned();
    let bad = |holder: &Value| {
        !SELINUX_TYPES.contains(&option(holder, "type").as_str())
            || !option(holder, "user").is_empty()
            || !option(holder, "role").is_empty()
    };
    let names = named(spec, bad);
    if names.is_empty() && !bad(spec) {
        return None;
    }
    let all: Vec<&Value> = containers(spec).chain([spec]).collect();
    let types: BTreeSet<String> = all.iter().map(|holder| option(holder, "type")).collect();
    let types: Vec<String> = types
        .into_iter()
        .filter(|kind| !SELINUX_TYPES.contains(&kind.as_str()))
        .collect();
    let mut parts = Vec::new();
    if !types.is_empty() {
        parts.push(format!("{} {}", plural(types.len(), "type", "types"), quote(types)));
    }
    for name in ["user", "role"] {
        if all.iter().any(|holder| !option(holder, name).is_empty()) {
            parts.push(format!("{name} may not be set"));
        }
    }
    let setters = setters(bad(spec), &names);
    found(
        "seLinuxOptions",
        format!(
            "{setters} set forbidden securityContext.seLinuxOptions: {}",
            parts.join("; ")
        ),
    )
}

fn seccomp(_: &Value, spec: &Value) -> Option<Violation> {
    bad_seccomp(spec)
}

/// Profiles that nobody may name.
pub(super) fn bad_seccomp(spec: &Value) -> Option<Violation> {
    let bad = |holder: &Value| match read::text(holder, "/securityContext/seccompProfile/type") {
        "" | "RuntimeDefault" | "Localhost" => None,
        other => Some(other.to_owned()),
    };
    let names = named(spec, |container| bad(container).is_some());
    let values: BTreeSet<String> = containers(spec).chain([spec]).filter_map(bad).collect();
    if values.is_empty() {
        return None;
    }
    let setters = setters(bad(spec).is_some(), &names);
    found(
        "seccompProfile",
        format!(
            "{setters} must not set securityContext.seccompProfile.type to {}",
            quote(values)
        ),
    )
}

fn sysctls(_: &Value, spec: &Value) -> Option<Violation> {
    let names = read::list(spec, "/securityContext/sysctls")
        .iter()
        .map(|sysctl| read::text(sysctl, "/name"));
    let bad: Vec<&str> = names.filter(|name| !SYSCTLS.contains(name)).collect();
    if bad.is_empty() {
        None
    } else {
        found("forbidden sysctls", bad.join(", "))
    }
}

fn windows_host_process(_: &Value, spec: &Value) -> Option<Violation> {
    let bad = |holder: &Value| read::flag(holder, "/securityContext/windowsOptions/hostProcess");
    let names = named(spec, bad);
    if names.is_empty() && !bad(spec) {
        return None;
    }
    let setters = setters(bad(spec), &names);
    found(
        "hostProcess",
        format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}

/// A pod whose root is nobody outside it.
pub(super) fn has_own_users(spec: &Value) -> bool {
    read::some(spec, "/hostUsers") == Some(&Value::Bool(false))
}
