//! One container's status, with upstream's reasons and sentences.

use super::super::observed::{Container, Ended, Hook, Image, Observed, Run, Sandbox};
use super::super::probes;
use super::super::spec;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The scheme of container IDs.
pub const SCHEME: &str = "pintle://";

/// What is said about one container, init container or ephemeral container.
pub fn container_status(
    pod: &Pod,
    spec: &Spec,
    observed: &Observed,
    initialized: bool,
    now: Timestamp,
) -> ContainerStatus {
    let container = observed.container(&spec.name);
    let list = spec::list_of(pod, &spec.name);
    let (state, last) = states(pod, spec, container, observed, initialized || list != "containers", now);
    let running = container.runs();
    let image_id = match &container.image {
        Image::Here { id, named } if container.image_id.is_empty() => image_id(id, named),
        Image::Here { .. } | Image::Unknown | Image::Pulling | Image::Failed { .. } => container.image_id.clone(),
    };
    let (ready, started) = match list {
        "ephemeralContainers" => (false, None),
        // An init container is ready once it has done its work.
        "initContainers" if !spec::is_sidecar(spec) => (container.succeeded(), Some(running)),
        _ => (
            probes::is_ready(spec, container),
            Some(probes::is_started(spec, container)),
        ),
    };
    let resources = container.resources.clone().filter(|_| running);
    let resources = resources.or_else(|| spec.resources.clone()).unwrap_or_default();
    let allocated = container.allocated.clone().or_else(|| spec.resources.clone());
    ContainerStatus {
        name: spec.name.clone(),
        container_id: last_id(pod, container, &spec.name),
        image: spec.image.clone().unwrap_or_default(),
        image_id,
        ready,
        started,
        restart_count: i32::try_from(container.attempt.saturating_sub(1)).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: Some(last),
        allocated_resources: allocated.and_then(|allocated| allocated.requests),
        resources: Some(ResourceRequirements {
            claims: None,
            ..resources
        }),
        user: container.user.clone(),
        volume_mounts: volume_mounts(spec),
        ..ContainerStatus::default()
    }
}

/// What of the machine it sees, as it came to be: `IfPossible` is possible here.
fn volume_mounts(spec: &Spec) -> Option<Vec<VolumeMountStatus>> {
    let mounts = spec.volume_mounts.iter().flatten().map(|mount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only.filter(|read_only| *read_only),
        recursive_read_only: mount.recursive_read_only.as_deref().map(|wanted| match wanted {
            "Disabled" => "Disabled".to_owned(),
            _ => "Enabled".to_owned(),
        }),
        ..VolumeMountStatus::default()
    });
    Some(mounts.collect::<Vec<_>>()).filter(|mounts| !mounts.is_empty())
}

/// Whether ordinary containers may start: all init containers are done, all sidecars have started.
pub fn has_initialized(pod: &Pod, observed: &Observed) -> bool {
    spec::is_initialized(pod, observed) || spec::init_containers(pod).iter().all(|spec| is_done(spec, observed))
}

/// Whether an init container is in nobody's way any more.
pub fn is_done(spec: &Spec, observed: &Observed) -> bool {
    let container = observed.container(&spec.name);
    match spec::is_sidecar(spec) {
        true => probes::is_started(spec, container),
        false => container.succeeded(),
    }
}

/// State and last state.
fn states(
    pod: &Pod,
    spec: &Spec,
    container: &Container,
    observed: &Observed,
    initialized: bool,
    now: Timestamp,
) -> (ContainerState, ContainerState) {
    let before = || {
        container
            .before
            .as_ref()
            .map(|ended| terminated(pod, &spec.name, ended))
            .unwrap_or_default()
    };
    match &container.run {
        // Upstream's node says nothing about a container before the hook after its start is over.
        Run::Running { .. } if container.post_start == Hook::Running && container.stopping.is_none() => {
            (waiting("ContainerCreating", String::new()), before())
        }
        Run::Running { since, .. } => {
            let running = ContainerStateRunning {
                started_at: Some(Time(*since)),
            };
            (
                ContainerState {
                    running: Some(running),
                    ..ContainerState::default()
                },
                before(),
            )
        }
        Run::Ended(ended) => {
            let ending = observed.deleted.is_some() || observed.ended.is_some();
            let again = (container.again || spec::restarts(pod, spec, ended.code)) && !ending;
            let last = terminated(pod, &spec.name, ended);
            if !again {
                return (last, before());
            }
            match waiting_again(pod, spec, container, ended, now) {
                Some((reason, message)) => (waiting(reason, message), last),
                None => (last, before()),
            }
        }
        Run::Never => (first_wait(spec, container, observed, initialized), before()),
    }
}

/// Why a container that ended does not run yet.
fn waiting_again(
    pod: &Pod,
    spec: &Spec,
    container: &Container,
    ended: &Ended,
    now: Timestamp,
) -> Option<(&'static str, String)> {
    if let Some(refused) = &container.refused {
        return Some((refused.reason, refused.message.clone()));
    }
    if let Image::Failed { .. } = container.image {
        return image_wait(spec, &container.image);
    }
    container.pause(ended, now)?;
    let pause = go_duration(container.backoff.pause().as_secs());
    let message = format!(
        "back-off {pause} restarting failed container={} pod={}",
        spec.name,
        spec::full_name(pod)
    );
    Some(("CrashLoopBackOff", message))
}

/// Why a container that never ran does not run yet.
fn first_wait(spec: &Spec, container: &Container, observed: &Observed, initialized: bool) -> ContainerState {
    if let Some(refused) = &container.refused {
        return waiting(refused.reason, refused.message.clone());
    }
    if let Some((reason, message)) = image_wait(spec, &container.image) {
        return waiting(reason, message);
    }
    // Upstream tells a container that waits for its pod's init containers from one that is being made.
    let reason = if initialized || observed.sandbox != Sandbox::Up {
        "ContainerCreating"
    } else {
        "PodInitializing"
    };
    waiting(reason, String::new())
}

fn image_wait(spec: &Spec, image: &Image) -> Option<(&'static str, String)> {
    let Image::Failed {
        reason,
        message,
        backoff,
        at,
    } = image
    else {
        return None;
    };
    let name = spec.image.as_deref().unwrap_or_default();
    // The first moments show the cause alone, later ones that the node waits before it asks again.
    let waits = *reason == "ErrImagePull" && backoff.until(*at, *at).is_some() && backoff.pause().as_secs() > 10;
    Some(if waits {
        (
            "ImagePullBackOff",
            format!("Back-off pulling image {name:?}: ErrImagePull: {message}"),
        )
    } else {
        (*reason, message.clone())
    })
}

fn waiting(reason: &str, message: String) -> ContainerState {
    let message = Some(message).filter(|message| !message.is_empty());
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message,
    };
    ContainerState {
        waiting: Some(waiting),
        ..ContainerState::default()
    }
}

fn terminated(pod: &Pod, name: &str, ended: &Ended) -> ContainerState {
    let terminated = ContainerStateTerminated {
        container_id: Some(id(pod, name, ended.attempt)),
        exit_code: ended.code,
        reason: Some(ended.reason.to_owned()),
        message: Some(ended.message.clone()).filter(|message| !message.is_empty()),
        started_at: ended.started.map(Time),
        finished_at: Some(Time(ended.finished)),
        signal: None,
    };
    ContainerState {
        terminated: Some(terminated),
        ..ContainerState::default()
    }
}

fn last_id(pod: &Pod, container: &Container, name: &str) -> Option<String> {
    match &container.run {
        Run::Never => None,
        Run::Running { attempt, .. } => Some(id(pod, name, *attempt)),
        Run::Ended(ended) => Some(id(pod, name, ended.attempt)),
    }
}

/// A container's ID: 64 hex digits like everybody's, made from what names it on this node.
fn id(pod: &Pod, name: &str, attempt: u32) -> String {
    use sha2::Digest;
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let digest = sha2::Sha256::digest(format!("{uid}/{name}/{attempt}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{SCHEME}{hex}")
}

fn image_id(id: &str, named: &str) -> String {
    if named.is_empty() {
        id.to_owned()
    } else {
        named.to_owned()
    }
}

/// As Go prints durations of whole seconds.
fn go_duration(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
