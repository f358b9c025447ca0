//! A container's security context as capabilities, filters and hidden paths.

use super::Refusal;
use k8s_openapi::api::core::v1::{Container, PodSpec, SeccompProfile};
use sandbox::Seccomp;
use std::path::PathBuf;

/// What a container may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Security {
    /// `CAP_…`.
    pub capabilities: Vec<String>,
    /// man 2 prctl, PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Hidden paths.
    pub masked: Vec<PathBuf>,
    /// Read-only paths.
    pub readonly: Vec<PathBuf>,
    /// Everything allowed.
    pub privileged: bool,
}

/// What Docker, containerd and CRI-O give a container that says nothing.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// All capabilities of Linux 6.12, man 7 capabilities.
pub const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Upstream: pkg/securitycontext, DefaultMaskedPaths and DefaultReadonlyPaths.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Decides for one container; `local` is the filter in a file of this node, if it wants one.
pub fn security(spec: &PodSpec, container: &Container, local: Option<&Seccomp>) -> Result<Security, Refusal> {
    let context = container.security_context.as_ref();
    let privileged = context.and_then(|context| context.privileged).unwrap_or(false);
    let unmasked = privileged || context.and_then(|context| context.proc_mount.as_deref()) == Some("Unmasked");
    let paths = |list: &[&str]| {
        if unmasked {
            Vec::new()
        } else {
            list.iter().map(PathBuf::from).collect()
        }
    };
    Ok(Security {
        capabilities: if privileged {
            owned(&ALL)
        } else {
            capabilities(container)
        },
        // Upstream's rule: only what a pod asks for; ping and sudo in images are setuid programs.
        no_new_privs: context.and_then(|context| context.allow_privilege_escalation) == Some(false),
        seccomp: if privileged {
            Seccomp::Unconfined
        } else {
            seccomp(spec, container, local)?
        },
        masked: paths(&MASKED),
        readonly: paths(&READONLY),
        privileged,
    })
}

/// What a container may do that others may not.
pub fn capabilities(container: &Container) -> Vec<String> {
    let wish = container
        .security_context
        .as_ref()
        .and_then(|context| context.capabilities.as_ref());
    let add = wish.and_then(|wish| wish.add.as_deref()).unwrap_or_default();
    let drop = wish.and_then(|wish| wish.drop.as_deref()).unwrap_or_default();
    granted(add, drop)
}

/// As Linux calls them what somebody may have written without `CAP_` or in small letters; `ALL` stays what it is.
pub fn names(list: &[String]) -> Vec<String> {
    let upper = list.iter().map(|name| name.to_ascii_uppercase());
    upper
        .map(|name| {
            if name.starts_with("CAP_") || name == "ALL" {
                name
            } else {
                format!("CAP_{name}")
            }
        })
        .collect()
}

/// The default, less `drop`, plus `add`; names with or without `CAP_`, or `ALL`. What Linux does not have is left out.
pub fn granted(add: &[String], drop: &[String]) -> Vec<String> {
    let (add, drop) = (names(add), names(drop));
    let all = "ALL".to_owned();
    let mut granted = match (add.contains(&all), drop.contains(&all)) {
        (true, _) => owned(&ALL),
        (false, true) => Vec::new(),
        (false, false) => owned(&DEFAULT),
    };
    granted.retain(|name| !drop.contains(name));
    for name in add.into_iter().filter(|name| ALL.contains(&name.as_str())) {
        if !granted.contains(&name) {
            granted.push(name);
        }
    }
    granted
}

/// The container's profile, else the pod's.
fn profile<'a>(spec: &'a PodSpec, container: &'a Container) -> Option<&'a SeccompProfile> {
    let own = container
        .security_context
        .as_ref()
        .and_then(|context| context.seccomp_profile.as_ref());
    let pods = spec
        .security_context
        .as_ref()
        .and_then(|context| context.seccomp_profile.as_ref());
    own.or(pods)
}

/// The file of this node, below upstream's folder of profiles, that holds the container's filter.
pub fn local_profile<'a>(spec: &'a PodSpec, container: &'a Container) -> Option<&'a str> {
    let context = container.security_context.as_ref();
    let privileged = context.and_then(|context| context.privileged).unwrap_or(false);
    let profile = profile(spec, container).filter(|profile| !privileged && profile.type_ == "Localhost")?;
    Some(profile.localhost_profile.as_deref().unwrap_or_default())
}

/// What the profile says, else the runtime's default: upstream leaves that last one off.
fn seccomp(spec: &PodSpec, container: &Container, local: Option<&Seccomp>) -> Result<Seccomp, Refusal> {
    let Some(profile) = profile(spec, container) else {
        return Ok(Seccomp::RuntimeDefault);
    };
    match profile.type_.as_str() {
        "Unconfined" => Ok(Seccomp::Unconfined),
        "Localhost" => local.cloned().ok_or_else(|| {
            let name = profile.localhost_profile.as_deref().unwrap_or_default();
            Refusal(format!("cannot load seccomp profile {name:?}"))
        }),
        _ => Ok(Seccomp::RuntimeDefault),
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn decide(context: Value) -> Security {
        let spec: PodSpec =
            serde_json::from_value(json!({"containers": [{"name": "a", "securityContext": context}]})).unwrap();
        security(&spec, &spec.containers[0], None).unwrap()
    }

    #[test]
    fn a_filter_in_a_file_is_named_and_never_replaced_by_another() {
        let context = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "strict.json"}});
        let spec = json!({"containers": [{"name": "a"}, {"name": "b", "securityContext": {"privileged": true}}],
            "securityContext": context});
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let (one, privileged) = (&spec.containers[0], &spec.containers[1]);
        assert_eq!(local_profile(&spec, one), Some("strict.json"));
        let refused = security(&spec, one, None).err().unwrap().0;
        assert!(refused.contains("\"strict.json\""), "{refused}");
        let own = Seccomp::Program(Vec::new());
        assert_eq!(security(&spec, one, Some(&own)).unwrap().seccomp, own);
        assert_eq!(local_profile(&spec, privileged), None);
        assert_eq!(security(&spec, privileged, None).unwrap().seccomp, Seccomp::Unconfined);
    }

    #[test]
    fn capabilities_are_the_default_less_dropped_plus_added() {
        assert_eq!(decide(json!({})).capabilities.len(), 14);
        let one = decide(json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}));
        assert_eq!(one.capabilities, ["CAP_NET_BIND_SERVICE"]);
        let less = decide(json!({"capabilities": {"drop": ["CAP_NET_RAW"], "add": ["sys_time", "NONSENSE"]}}));
        assert_eq!(less.capabilities.len(), 14);
        assert!(less.capabilities.contains(&"CAP_SYS_TIME".to_owned()));
        assert_eq!(
            decide(json!({"capabilities": {"add": ["ALL"], "drop": ["KILL"]}}))
                .capabilities
                .len(),
            40
        );
    }

    #[test]
    fn privileged_hides_and_filters_nothing() {
        let security = decide(json!({"privileged": true}));
        assert_eq!(
            (security.capabilities.len(), security.seccomp),
            (41, Seccomp::Unconfined)
        );
        assert!(security.masked.is_empty() && security.readonly.is_empty() && security.privileged);
    }

    #[test]
    fn filter_is_on_and_setuid_allowed_unless_said_otherwise() {
        let plain = decide(json!({}));
        assert_eq!((plain.seccomp, plain.no_new_privs), (Seccomp::RuntimeDefault, false));
        assert_eq!(
            decide(json!({"seccompProfile": {"type": "Unconfined"}})).seccomp,
            Seccomp::Unconfined
        );
        assert!(decide(json!({"allowPrivilegeEscalation": false})).no_new_privs);
    }
}
