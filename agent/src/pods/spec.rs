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
    rule(container, code).is_some() || policy(pod, container).restarts(code)
}

/// The rule that a container's end with `code` fits: all of them start something again, itself or all.
fn rule(container: &Container, code: i32) -> Option<&ContainerRestartRule> {
    let fits = |rule: &&ContainerRestartRule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let is_listed = codes.values.iter().flatten().any(|value| *value == code);
            match codes.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                _ => false,
            }
        })
    };
    container.restart_policy_rules.iter().flatten().find(fits)
}

/// The word of rules by which one container's end has all of them start again (KEP-5532).
const RESTARTS_ALL: &str = "RestartAllContainers";

/// Whether a container that ended with `code` has all of its pod's start again.
pub fn restarts_all(container: &Container, code: i32) -> bool {
    rule(container, code).is_some_and(|rule| rule.action == RESTARTS_ALL)
}

/// Whether the pod has any rule of that kind.
pub fn may_restart_all(pod: &Pod) -> bool {
    let mut all = init_containers(pod).iter().chain(containers(pod));
    all.any(|spec| {
        let mut rules = spec.restart_policy_rules.iter().flatten();
        rules.any(|rule| rule.action == RESTARTS_ALL)
    })
}

/// The containers whose end has all of the pod's start again, which has not happened yet.
pub fn restart_sources<'a>(pod: &'a Pod, observed: &'a Observed) -> impl Iterator<Item = &'a Container> {
    let all = init_containers(pod).iter().chain(containers(pod));
    all.filter(|spec| {
        let ended = observed.container(&spec.name).ended();
        ended.is_some_and(|ended| restarts_all(spec, ended.code))
    })
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
