//! One container's status, with upstream's reasons and sentences.

use super::super::observed::{Container, Ended, Hook, Image, Observed, RESTARTED, RESTARTED_MESSAGE, Run};
use super::super::probes;
use super::super::spec;
use super::phase;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The scheme of container IDs.
pub const SCHEME: &str = "pintle://";

/// What is said about one container, init container or ephemeral container.
pub fn container_status(pod: &Pod, spec: &Spec, observed: &Observed, now: Timestamp) -> ContainerStatus {
    let container = observed.container(&spec.name);
    let list = spec::list_of(pod, &spec.name);
    let (state, last) = states(pod, spec, container, observed, now);
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
        restart_count: restart_count(container),
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

/// How often it was started again; whoever begins anew with all of its pod's counts as started already.
fn restart_count(container: &Container) -> i32 {
    let restarts = match container.is_restarting() {
        true => container.attempt,
        false => container.attempt.saturating_sub(1),
    };
    i32::try_from(restarts).unwrap_or(i32::MAX)
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

/// Whether ordinary containers may start: all init containers are done, all sidecars have started. Upstream takes that back from
/// nobody, not even from pods whose containers all begin anew.
pub fn has_initialized(pod: &Pod, observed: &Observed) -> bool {
    let mut ordinary = spec::containers(pod).iter();
    let begins_anew = ordinary.any(|spec| observed.container(&spec.name).is_restarting());
    begins_anew
        || spec::is_initialized(pod, observed)
        || spec::init_containers(pod).iter().all(|spec| is_done(spec, observed))
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
            (waiting(being_made(pod), String::new()), before())
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
        Run::Never if is_lost(pod, spec, observed) => (lost(), before()),
        Run::Never => (first_wait(pod, spec, container), before()),
    }
}

/// Whether a container never ran, had its turn, and its pod is gone (upstream: TerminatePod in pkg/kubelet/status).
fn is_lost(pod: &Pod, spec: &Spec, observed: &Observed) -> bool {
    let began = |spec: &Spec| !matches!(observed.container(&spec.name).run, Run::Never);
    let had_turn = match spec::list_of(pod, &spec.name) {
        "containers" => has_initialized(pod, observed),
        "initContainers" => {
            let later = spec::init_containers(pod).iter().rev();
            later.take_while(|init| init.name != spec.name).any(began)
        }
        _ => false,
    };
    phase::is_gone(observed) && had_turn
}

/// Upstream's words for such a container: nobody knows whether it would have done well.
fn lost() -> ContainerState {
    let terminated = ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..ContainerStateTerminated::default()
    };
    ContainerState {
        terminated: Some(terminated),
        ..ContainerState::default()
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
fn first_wait(pod: &Pod, spec: &Spec, container: &Container) -> ContainerState {
    if let Some(refused) = &container.refused {
        return waiting(refused.reason, refused.message.clone());
    }
    if let Some((reason, message)) = image_wait(spec, &container.image) {
        return waiting(reason, message);
    }
    if container.is_restarting() {
        return waiting(RESTARTED, RESTARTED_MESSAGE.to_owned());
    }
    waiting(being_made(pod), String::new())
}

/// Upstream's word for what waits for nothing that went wrong: in a pod with init containers it is one and the same for all of
/// its containers, however far the pod is.
fn being_made(pod: &Pod) -> &'static str {
    match spec::init_containers(pod) {
        [] => "ContainerCreating",
        _ => "PodInitializing",
    }
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
