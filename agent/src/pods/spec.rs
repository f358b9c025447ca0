//! Questions about a pod's spec that several parts ask, answered once; pure.

use super::observed::{Container as ObservedContainer, Observed, Run};
use super::quantity;
use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, EphemeralContainer, Pod, PodSpec, ResourceRequirements,
};
use std::borrow::Cow;

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever it exits with.
    Always,
    /// When it exits with anything but 0.
    OnFailure,
    /// Not.
    Never,
}

impl From<&str> for RestartPolicy {
    fn from(word: &str) -> Self {
        match word {
            "Never" => Self::Never,
            "OnFailure" => Self::OnFailure,
            _ => Self::Always,
        }
    }
}

impl RestartPolicy {
    /// Whether a container that exited with `code` runs again.
    pub fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// Quality of service: decides about cgroups and who dies first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Every container has limits for CPU and memory, and asks for just that.
    Guaranteed,
    /// Some container asks for something.
    Burstable,
    /// None does.
    BestEffort,
}

impl Qos {
    /// Upstream's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The pod's containers.
pub fn containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().map_or(&[], |spec| &spec.containers)
}

/// The pod's init containers, in order.
pub fn init_containers(pod: &Pod) -> &[Container] {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.init_containers.as_deref())
        .unwrap_or_default()
}

/// The pod's ephemeral containers, in order.
pub fn ephemeral_containers(pod: &Pod) -> &[EphemeralContainer] {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.ephemeral_containers.as_deref())
        .unwrap_or_default()
}

/// An ephemeral container as what it has in common with all others.
pub fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let ephemeral = ephemeral.clone();
    Container {
        args: ephemeral.args,
        command: ephemeral.command,
        env: ephemeral.env,
        env_from: ephemeral.env_from,
        image: ephemeral.image,
        image_pull_policy: ephemeral.image_pull_policy,
        name: ephemeral.name,
        resources: ephemeral.resources,
        security_context: ephemeral.security_context,
        stdin: ephemeral.stdin,
        stdin_once: ephemeral.stdin_once,
        termination_message_path: ephemeral.termination_message_path,
        termination_message_policy: ephemeral.termination_message_policy,
        tty: ephemeral.tty,
        volume_devices: ephemeral.volume_devices,
        volume_mounts: ephemeral.volume_mounts,
        working_dir: ephemeral.working_dir,
        ..Container::default()
    }
}

/// The container or init container of that name.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    containers(pod)
        .iter()
        .chain(init_containers(pod))
        .find(|container| container.name == name)
}

/// Volumes that are images: the volume, the image, when to pull it.
pub fn volume_images(pod: &Pod) -> impl Iterator<Item = (&str, &str, &str)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| {
        let image = volume.image.as_ref()?;
        Some((
            volume.name.as_str(),
            image.reference.as_deref().unwrap_or_default(),
            image.pull_policy.as_deref().unwrap_or_default(),
        ))
    })
}

/// The container, init container or ephemeral container of that name.
pub fn any_container<'a>(pod: &'a Pod, name: &str) -> Option<Cow<'a, Container>> {
    let mut ephemeral = ephemeral_containers(pod).iter();
    container(pod, name).map(Cow::Borrowed).or_else(|| {
        let found = ephemeral.find(|ephemeral| ephemeral.name == name)?;
        Some(Cow::Owned(as_container(found)))
    })
}

/// Whether an init container runs beside the others for the pod's whole life (KEP-753).
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The pod's restart policy.
pub fn restart_policy(pod: &Pod) -> RestartPolicy {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    policy.map_or(RestartPolicy::Always, RestartPolicy::from)
}

/// A container's restart policy: its own, else the pod's. An init container that is no sidecar runs until it succeeds once, an
/// ephemeral container runs once.
pub fn policy(pod: &Pod, container: &Container) -> RestartPolicy {
    let is_named = |name: &String| *name == container.name;
    if ephemeral_containers(pod)
        .iter()
        .any(|ephemeral| is_named(&ephemeral.name))
    {
        return RestartPolicy::Never;
    }
    let own = container.restart_policy.as_deref().map(RestartPolicy::from);
    match own.unwrap_or_else(|| restart_policy(pod)) {
        RestartPolicy::Always if own.is_none() && init_containers(pod).iter().any(|init| is_named(&init.name)) => {
            RestartPolicy::OnFailure
        }
        policy => policy,
    }
}

/// Whether a container that ended with `code` runs again: its first rule that fits decides (KEP-5307), else its policy.
pub fn restarts(pod: &Pod, container: &Container, code: i32) -> bool {
    let fits = |rule: &ContainerRestartRule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let is_listed = codes.values.iter().flatten().any(|value| *value == code);
            match codes.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                _ => false,
            }
        })
    };
    let mut rules = container.restart_policy_rules.iter().flatten();
    rules.any(fits) || policy(pod, container).restarts(code)
}

/// The spec with the requests and limits that its containers were given, which may be others than those wanted by now.
pub fn as_allocated(pod: &Pod, observed: &Observed) -> Option<PodSpec> {
    let mut spec = pod.spec.clone()?;
    let containers = spec.containers.iter_mut();
    for container in containers.chain(spec.init_containers.iter_mut().flatten()) {
        if let Some(allocated) = &observed.container(&container.name).allocated {
            container.resources = Some(allocated.clone());
        }
    }
    Some(spec)
}

/// Seconds between the stop signal and SIGKILL.
pub fn grace(pod: &Pod) -> i64 {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.termination_grace_period_seconds)
        .unwrap_or(30)
}

/// Whether the pod uses the machine's network.
pub fn host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

/// Whether nothing of it will ever run again: upstream's getPhase (pkg/kubelet/kubelet_pods.go) says Succeeded or Failed.
pub fn has_ended(pod: &Pod, observed: &Observed) -> bool {
    let is_over = |spec: &Container| {
        let container = observed.container(&spec.name);
        let ended = container.ended();
        ended.is_some_and(|ended| !container.again && !restarts(pod, spec, ended.code))
    };
    let mut inits = init_containers(pod).iter().filter(|spec| !is_sidecar(spec));
    let init_failed = inits.any(|spec| is_over(spec) && !observed.container(&spec.name).succeeded());
    let all_ended = !containers(pod).is_empty() && containers(pod).iter().all(is_over);
    init_failed || all_ended
}

/// Whether a container that ended stays so in a new sandbox: an ephemeral one, and an ordinary one that is not to run again.
pub fn stays_ended(pod: &Pod, name: &str, known: &ObservedContainer) -> bool {
    let ordinary = containers(pod).iter().find(|container| container.name == name);
    let is_done = |spec: &Container| known.ended().is_some_and(|ended| !restarts(pod, spec, ended.code));
    ordinary.map_or_else(|| list_of(pod, name) == "ephemeralContainers", is_done)
}

/// Whether any ordinary container was ever started, which is why init containers do not run again.
pub fn is_initialized(pod: &Pod, observed: &Observed) -> bool {
    let mut all = containers(pod).iter();
    all.any(|spec| !matches!(observed.container(&spec.name).run, Run::Never))
}

/// The list of the spec in which a container stands, as events point to it.
pub fn list_of(pod: &Pod, container: &str) -> &'static str {
    if init_containers(pod).iter().any(|init| init.name == container) {
        "initContainers"
    } else if ephemeral_containers(pod)
        .iter()
        .any(|ephemeral| ephemeral.name == container)
    {
        "ephemeralContainers"
    } else {
        "containers"
    }
}

/// `name_namespace(uid)`: how upstream's messages name a pod.
pub fn full_name(pod: &Pod) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let meta = &pod.metadata;
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}

/// The pod's host name: its `hostname`, else its name, cut to what the kernel takes.
pub fn hostname(pod: &Pod) -> String {
    let wanted = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.hostname.clone())
        .filter(|name| !name.is_empty());
    let mut name = wanted.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.truncate(63);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// The domain that the pod's name is in: empty for a pod without a `subdomain`.
pub fn domain(pod: &Pod, dns_domain: &str) -> String {
    let subdomain = pod.spec.as_ref().and_then(|spec| spec.subdomain.as_deref());
    match (subdomain, &pod.metadata.namespace) {
        (Some(subdomain), Some(namespace)) if !subdomain.is_empty() => {
            format!("{subdomain}.{namespace}.svc.{dns_domain}")
        }
        (_, _) => String::new(),
    }
}

/// Longest name that Linux gives a machine: man 2 sethostname, HOST_NAME_MAX.
const LONGEST_KERNEL_NAME: usize = 64;

/// What the kernel calls the pod: its host name, with its domain if it sets `setHostnameAsFQDN` and has one; an error is
/// upstream's sentence about a name that is too long.
pub fn kernel_hostname(pod: &Pod, dns_domain: &str) -> Result<String, String> {
    let (hostname, domain) = (hostname(pod), domain(pod, dns_domain));
    let as_fqdn = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    if !as_fqdn || domain.is_empty() {
        return Ok(hostname);
    }
    let fqdn = format!("{hostname}.{domain}");
    match fqdn.len() {
        0..=LONGEST_KERNEL_NAME => Ok(fqdn),
        length => Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long \
             ({LONGEST_KERNEL_NAME} characters is the max, {length} characters requested)"
        )),
    }
}

/// Upstream's rules (pkg/apis/core/v1/helper/qos): only CPU and memory count, init containers too; what the pod says for all
/// of them counts instead (KEP-2837).
pub fn qos(spec: &PodSpec) -> Qos {
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let all: Vec<Option<&ResourceRequirements>> = match &spec.resources {
        Some(resources) if resources.requests.is_some() || resources.limits.is_some() => vec![Some(resources)],
        Some(_) | None => containers().map(|container| container.resources.as_ref()).collect(),
    };
    let amount = |resources: Option<&ResourceRequirements>, limits: bool, resource: &str| {
        let resources = resources?;
        let list = if limits { &resources.limits } else { &resources.requests };
        list.as_ref()?
            .get(resource)
            .and_then(quantity::milli)
            .filter(|amount| *amount > 0)
    };
    let asks = |resources: &Option<&ResourceRequirements>| {
        ["cpu", "memory"].iter().any(|name| {
            [true, false]
                .iter()
                .any(|limits| amount(*resources, *limits, name).is_some())
        })
    };
    if !all.iter().any(asks) {
        return Qos::BestEffort;
    }
    let guaranteed = all.iter().all(|resources| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = amount(*resources, true, name);
            limit.is_some() && amount(*resources, false, name).is_none_or(|request| Some(request) == limit)
        })
    });
    if guaranteed { Qos::Guaranteed } else { Qos::Burstable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn named(spec: Value) -> Result<String, String> {
        let pod = json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec});
        kernel_hostname(&serde_json::from_value(pod).unwrap(), "cluster.local")
    }

    #[test]
    fn the_kernel_knows_a_pods_domain_when_the_pod_wants_it() {
        let full = json!({"containers": [], "subdomain": "sub", "setHostnameAsFQDN": true});
        assert_eq!(named(full).unwrap(), "web.sub.ns.svc.cluster.local");
        let own = json!({"containers": [], "hostname": "h", "subdomain": "sub", "setHostnameAsFQDN": true});
        assert_eq!(named(own).unwrap(), "h.sub.ns.svc.cluster.local");
        for short in [
            json!({"containers": [], "subdomain": "sub"}),
            json!({"containers": [], "setHostnameAsFQDN": true}),
        ] {
            assert_eq!(named(short).unwrap(), "web");
        }
    }

    #[test]
    fn a_name_longer_than_the_kernels_is_refused_in_upstreams_words() {
        // `web.` and `.ns.svc.cluster.local` around the subdomain are 25 characters.
        let of = |length: usize| {
            named(json!({"containers": [], "subdomain": "s".repeat(length), "setHostnameAsFQDN": true}))
        };
        assert_eq!(of(39).unwrap().len(), 64);
        let refused = of(40).unwrap_err();
        assert!(refused.starts_with("failed to construct FQDN from pod hostname and cluster domain, FQDN web.s"));
        assert!(refused.ends_with("is too long (64 characters is the max, 65 characters requested)"));
    }
}
