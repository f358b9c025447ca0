//! Whether this node takes a pod at all: what it would have to break a promise for is refused, for good, in upstream's words.

mod align;
mod fits;
mod preempt;

use super::cpus::Set;
use super::host::Host;
use super::ledger::Ending;
use super::plan::requests;
use super::spec::{Qos, qos};
use crate::node::Pressures;
use api::tolerations::tolerates;
use client::Api;
use fits::Failure;
use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec, Taint};
use std::collections::BTreeMap;
use std::sync::Arc;

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
pub type Rejection = (String, String);

/// What becomes of a pod that is new to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has a place, as soon as these pods have ended, which were told to.
    Taken {
        /// Their UIDs.
        after: Vec<String>,
        /// CPUs that its containers have for themselves.
        cpus: BTreeMap<String, Set>,
    },
    /// It never runs here.
    Rejected(Rejection),
}

impl Verdict {
    fn taken(after: Vec<String>) -> Self {
        Self::Taken {
            after,
            cpus: BTreeMap::new(),
        }
    }
}

/// The lowest priority of the classes that the system's own pods have.
const CRITICAL: i32 = 2_000_000_000;

/// Whether a pod is one that the cluster does not work without (upstream: kubelet/types, IsCriticalPod).
pub fn is_critical(pod: &Pod) -> bool {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority);
    is_static(pod) || priority.is_some_and(|priority| priority >= CRITICAL)
}

/// Whether a pod comes from this machine and not from the API.
pub fn is_static(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    let has = |key: &str| annotations.is_some_and(|all| all.contains_key(key));
    let source = annotations.and_then(|all| all.get("kubernetes.io/config.source"));
    has("kubernetes.io/config.mirror") || source.is_some_and(|source| source != "api")
}

/// Looks at a new pod; pods that must make room for it are told to end.
pub async fn admit(host: &Host, pod: &Arc<Pod>) -> Verdict {
    let Some(spec) = pod.spec.as_ref() else {
        return Verdict::taken(Vec::new());
    };
    let state = host.readiness.borrow().clone();
    let rejection = pressure(pod, spec, &state.pressures).or_else(|| rejection(spec));
    let rejection = rejection.or_else(|| system(pod, spec));
    let rejection = rejection.or_else(|| state.shutting_down.then(shutdown));
    if let Some(rejection) = rejection {
        return Verdict::Rejected(rejection);
    }
    let mut failures = failures(host, pod, spec).await;
    if failures.is_empty() {
        return align::aligned(host, pod, spec, Verdict::taken(Vec::new())).await;
    }
    // Nobody's place helps with anything but resources.
    let others: Vec<Failure> = failures
        .iter()
        .filter(|failure| failure.lacking().is_none())
        .cloned()
        .collect();
    if is_critical(pod) && others.is_empty() {
        let verdict = make_room(host, pod, &failures);
        return align::aligned(host, pod, spec, verdict).await;
    }
    if is_critical(pod) {
        failures = others;
    }
    Verdict::Rejected(failures[0].rejection())
}

async fn failures(host: &Host, pod: &Pod, spec: &PodSpec) -> Vec<Failure> {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let used = host.ledger.used_besides(&uid);
    let mut failures = fits::resources(&requests::requests(spec), &used, &host.machine.amounts());
    let name = &host.machine.node;
    let known = host.node.borrow().clone();
    let mut about_node = fits::node(pod, spec, known.as_deref(), name);
    if about_node.is_some() {
        // Somebody may have labelled the node a moment ago, and bound the pod for that.
        let fresh = Api::<Node>::all(host.transport.clone()).get(name).await;
        about_node = fresh.ok().and_then(|fresh| fits::node(pod, spec, Some(&fresh), name));
    }
    let pods = host.ledger.pods();
    let others = pods.iter().filter(|other| other.metadata.uid != pod.metadata.uid);
    let about_ports = fits::ports(spec, others.filter_map(|other| other.spec.as_ref()));
    failures.extend(about_node);
    failures.extend(about_ports);
    failures
}

fn make_room(host: &Host, pod: &Pod, failures: &[Failure]) -> Verdict {
    let lacking: Vec<(&str, i64)> = failures.iter().filter_map(Failure::lacking).collect();
    let victims = match preempt::victims(pod, &host.ledger.pods(), &lacking) {
        Ok(victims) => victims,
        Err(why) => {
            let message = format!("Unexpected error while attempting to recover from admission failure: {why}");
            return Verdict::Rejected(("UnexpectedAdmissionError".to_owned(), message));
        }
    };
    for victim in &victims {
        host.events
            .warning(victim, "", "Preempting", preempt::MESSAGE.to_owned());
        let ending = Ending {
            reason: "Preempting",
            message: preempt::MESSAGE.to_owned(),
            grace: None,
            disruption: Some(preempt::DISRUPTION.to_owned()),
        };
        host.ledger
            .end(victim.metadata.uid.as_deref().unwrap_or_default(), ending);
    }
    let after = victims.iter().filter_map(|victim| victim.metadata.uid.clone());
    Verdict::taken(after.collect())
}

/// Pods of another system than this one (upstream: pkg/kubelet/lifecycle/predicate.go).
fn system(pod: &Pod, spec: &PodSpec) -> Option<Rejection> {
    let labelled = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("kubernetes.io/os"));
    if labelled.is_some_and(|system| system != "linux") {
        let message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Some(("PodOSSelectorNodeLabelDoesNotMatch".to_owned(), message.to_owned()));
    }
    let asked = spec.os.as_ref().map(|system| system.name.as_str());
    asked.filter(|system| *system != "linux").map(|_| {
        let message = "Failed to admit pod as the OS field doesn't match node OS";
        ("PodOSNotSupported".to_owned(), message.to_owned())
    })
}

/// Upstream: nodeshutdown's Admit.
fn shutdown() -> Rejection {
    let message = "Pod was rejected as the node is shutting down.";
    ("NodeShutdown".to_owned(), message.to_owned())
}

/// A node that is short of something takes no more of what makes it worse (upstream: the eviction manager's Admit).
fn pressure(pod: &Pod, spec: &PodSpec, pressures: &Pressures) -> Option<Rejection> {
    let conditions = pressures.conditions();
    if conditions.is_empty() || is_critical(pod) {
        return None;
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let taint = Taint {
        key: "node.kubernetes.io/memory-pressure".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    let is_patient = || tolerations.iter().any(|toleration| tolerates(toleration, &taint));
    if conditions == ["MemoryPressure"] && (qos(spec) != Qos::BestEffort || is_patient()) {
        return None;
    }
    let message = format!("The node had condition: [{}]. ", conditions.join(" "));
    Some(("Evicted".to_owned(), message))
}

/// Why the pod is rejected wherever it is, if it is.
fn rejection(spec: &PodSpec) -> Option<Rejection> {
    sysctls(spec).or_else(|| app_armor(spec))
}

fn sysctls(spec: &PodSpec) -> Option<Rejection> {
    let context = spec.security_context.as_ref()?;
    let mut names = context.sysctls.iter().flatten().map(|sysctl| sysctl.name.as_str());
    let why = names.find_map(|name| forbidden(spec, name))?;
    Some(("SysctlForbidden".to_owned(), format!("forbidden sysctl: {why}")))
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
    asks.then(|| ("AppArmor".to_owned(), why.to_owned()))
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
            assert_eq!(
                sysctl(name, host),
                Some(("SysctlForbidden".to_owned(), sentence.to_owned()))
            );
        }
    }

    #[test]
    fn profiles_that_cannot_be_enforced_are_not_promised() {
        let profile = |kind: &str| json!({"securityContext": {"appArmorProfile": {"type": kind}}});
        assert_eq!(judge(profile("Unconfined")), None);
        assert_eq!(judge(profile("RuntimeDefault")).unwrap().0, "AppArmor");
        assert_eq!(judge(json!({})), None);
    }

    #[test]
    fn pods_of_another_system_are_refused() {
        let reason = |label: &str, name: &str| {
            let pod = json!({"metadata": {"labels": {"kubernetes.io/os": label}}});
            let spec = json!({"containers": [], "os": {"name": name}});
            let refused = system(
                &serde_json::from_value(pod).unwrap(),
                &serde_json::from_value(spec).unwrap(),
            );
            refused.map(|(reason, _)| reason)
        };
        assert_eq!(reason("linux", "linux"), None);
        assert_eq!(reason("linux", "windows").as_deref(), Some("PodOSNotSupported"));
        assert_eq!(
            reason("windows", "linux").as_deref(),
            Some("PodOSSelectorNodeLabelDoesNotMatch")
        );
        assert_eq!(system(&Pod::default(), &PodSpec::default()), None);
    }

    #[test]
    fn a_node_that_is_short_of_memory_takes_those_that_asked_for_some() {
        let pod = |context: Value| -> (Pod, PodSpec) {
            let mut spec = json!({"containers": [{"name": "a"}]});
            for (key, value) in context.as_object().unwrap() {
                spec[key] = value.clone();
            }
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            let spec = pod.spec.clone().unwrap();
            (pod, spec)
        };
        let memory = Pressures {
            memory: true,
            ..Pressures::default()
        };
        let both = Pressures { disk: true, ..memory };
        let burstable = json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]});
        let tolerant = json!({"tolerations": [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]});
        let said = "The node had condition: [MemoryPressure DiskPressure]. ";
        let cases = [
            (json!({}), Pressures::default(), None),
            (json!({}), memory, Some("The node had condition: [MemoryPressure]. ")),
            (burstable.clone(), memory, None),
            (tolerant.clone(), memory, None),
            (burstable, both, Some(said)),
            (tolerant, both, Some(said)),
            (json!({"priority": 2_000_000_000}), both, None),
        ];
        for (context, pressures, expected) in cases {
            let (pod, spec) = pod(context.clone());
            let expected = expected.map(|message| ("Evicted".to_owned(), message.to_owned()));
            assert_eq!(pressure(&pod, &spec, &pressures), expected, "{context}");
        }
    }
}
