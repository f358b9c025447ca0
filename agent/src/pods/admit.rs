//! Whether this node takes a pod at all: what it would have to break a promise for is refused, for good, in upstream's words.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// Sysctls that stay in the pod's own namespaces and harm nobody else (upstream: pkg/kubelet/sysctl/safe_sysctls.go).
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// A reason and a sentence for the pod's status.
pub type Rejection = (&'static str, String);

/// Why the pod is rejected, if it is.
pub fn rejection(spec: &PodSpec) -> Option<Rejection> {
    sysctls(spec).or_else(|| app_armor(spec))
}

fn sysctls(spec: &PodSpec) -> Option<Rejection> {
    let context = spec.security_context.as_ref()?;
    let mut names = context.sysctls.iter().flatten().map(|sysctl| sysctl.name.as_str());
    let why = names.find_map(|name| forbidden(spec, name))?;
    Some(("SysctlForbidden", format!("forbidden sysctl: {why}")))
}

fn forbidden(spec: &PodSpec, name: &str) -> Option<String> {
    // `kernel/shm_rmid_forced` is as good.
    let dotted = name.replace('/', ".");
    let (host, namespace) = if dotted.starts_with("net.") {
        (spec.host_network, "Net")
    } else {
        (spec.host_ipc, "IPC")
    };
    if !SAFE.contains(&dotted.as_str()) {
        return Some(format!("{dotted:?} not allowlisted"));
    }
    (host == Some(true)).then(|| format!("{dotted:?} not allowed with host {namespace} enabled"))
}

/// This kernel has no AppArmor, so no profile can be promised.
fn app_armor(spec: &PodSpec) -> Option<Rejection> {
    let of_pod = spec
        .security_context
        .as_ref()
        .and_then(|context| context.app_armor_profile.as_ref());
    let of = |container: &Container| container.security_context.as_ref()?.app_armor_profile.clone();
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let all = containers.filter_map(of).chain(of_pod.cloned());
    let asks = all.into_iter().any(|profile| profile.type_ != "Unconfined");
    let why = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
    asks.then(|| ("AppArmor", why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn judge(context: Value) -> Option<Rejection> {
        let mut spec = json!({"containers": [{"name": "a"}]});
        for (key, value) in context.as_object().unwrap() {
            spec[key] = value.clone();
        }
        rejection(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn safe_sysctls_are_taken_and_all_others_refused_in_upstreams_words() {
        let sysctl = |name: &str, host: bool| {
            let context = json!({"sysctls": [{"name": name, "value": "1"}]});
            judge(json!({"securityContext": context, "hostNetwork": host, "hostIPC": host}))
        };
        for name in ["kernel.shm_rmid_forced", "net/ipv4/tcp_syncookies"] {
            assert_eq!(sysctl(name, false), None, "{name}");
        }
        let cases = [
            (
                "kernel.msgmax",
                false,
                "forbidden sysctl: \"kernel.msgmax\" not allowlisted",
            ),
            (
                "net.ipv4.tcp_syncookies",
                true,
                "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled",
            ),
            (
                "kernel.shm_rmid_forced",
                true,
                "forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host IPC enabled",
            ),
        ];
        for (name, host, sentence) in cases {
            assert_eq!(sysctl(name, host), Some(("SysctlForbidden", sentence.to_owned())));
        }
    }

    #[test]
    fn profiles_that_cannot_be_enforced_are_not_promised() {
        let profile = |kind: &str| json!({"securityContext": {"appArmorProfile": {"type": kind}}});
        assert_eq!(judge(profile("Unconfined")), None);
        assert_eq!(judge(profile("RuntimeDefault")).unwrap().0, "AppArmor");
        assert_eq!(judge(json!({})), None);
    }
}
