//! Questions about a pod's spec that several parts ask, answered once; pure.

use super::observed::Observed;
use super::quantity;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

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

/// Whether an init container runs beside the others for the pod's whole life (KEP-753).
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The pod's restart policy.
pub fn restart_policy(pod: &Pod) -> RestartPolicy {
    match pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some(_) | None => RestartPolicy::Always,
    }
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
    let policy = restart_policy(pod);
    let init_failed = init_containers(pod)
        .iter()
        .filter(|spec| !is_sidecar(spec))
        .any(|spec| {
            let failed = observed
                .container(&spec.name)
                .ended()
                .is_some_and(|ended| ended.code != 0);
            failed && policy == RestartPolicy::Never
        });
    let all_ended = containers(pod).iter().all(|spec| {
        observed
            .container(&spec.name)
            .ended()
            .is_some_and(|ended| !policy.restarts(ended.code))
    });
    init_failed || (all_ended && !containers(pod).is_empty())
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

/// Upstream's rules (pkg/apis/core/v1/helper/qos): only CPU and memory count, init containers too.
pub fn qos(spec: &PodSpec) -> Qos {
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let amount = |container: &Container, limits: bool, resource: &str| {
        let resources = container.resources.as_ref()?;
        let list = if limits { &resources.limits } else { &resources.requests };
        list.as_ref()?
            .get(resource)
            .and_then(quantity::milli)
            .filter(|amount| *amount > 0)
    };
    let asks = |container: &Container| {
        ["cpu", "memory"].iter().any(|name| {
            [true, false]
                .iter()
                .any(|limits| amount(container, *limits, name).is_some())
        })
    };
    if !all().any(asks) {
        return Qos::BestEffort;
    }
    let guaranteed = all().all(|container| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = amount(container, true, name);
            limit.is_some() && amount(container, false, name).is_none_or(|request| Some(request) == limit)
        })
    });
    if guaranteed { Qos::Guaranteed } else { Qos::Burstable }
}
