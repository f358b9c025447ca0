//! What is known about a pod when its worker begins: from a sandbox that outlived an agent, else from the API's status.

use super::Input;
use crate::pods::admit::{self, Rejection, Verdict};
use crate::pods::cpus::{self, Set};
use crate::pods::host::Host;
use crate::pods::observed::{Container, Ended, Image, Observed, RESTARTED, Run, Sandbox};
use crate::pods::plan::requests;
use crate::pods::probes::Probes;
use crate::pods::{plan, spec};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use sandbox::ContainerState;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Reasons with which this node ends pods; others write reasons, too.
const ENDINGS: [&str; 4] = ["DeadlineExceeded", "Evicted", "Preempting", "Terminated"];

/// A run that ended while nobody looked: upstream's ContainerStatusUnknown.
pub fn unknown_end(attempt: u32, started: Option<Timestamp>, now: Timestamp) -> Ended {
    Ended {
        attempt,
        code: 137,
        reason: "ContainerStatusUnknown",
        message: "The container could not be located when the pod was terminated".to_owned(),
        started,
        finished: now,
    }
}

/// Gives a pod its place, unless it has ended, or this node has nothing of it yet and cannot take it. The UIDs of pods that
/// make room for it.
pub async fn admit(
    host: &Host,
    pod: &Arc<Pod>,
    observed: &mut Observed,
    worker: &mpsc::UnboundedSender<Input>,
) -> Vec<String> {
    let (mut after, mut own) = (Vec::new(), None);
    let is_new = observed.sandbox == Sandbox::Absent && observed.containers.values().all(|known| known.attempt == 0);
    if observed.sandbox == Sandbox::Down {
        return after;
    }
    if is_new && observed.ended.is_none() && pod.metadata.deletion_timestamp.is_none() {
        match admit::admit(host, pod).await {
            Verdict::Taken { after: leaving, cpus } => (after, own) = (leaving, Some(cpus)),
            Verdict::Rejected(rejection) => {
                reject(host, pod, observed, rejection);
                return after;
            }
        }
    }
    for container in spec::containers(pod).iter().chain(spec::init_containers(pod)) {
        let known = observed.container_mut(&container.name);
        let resources = known.resources.clone().or_else(|| container.resources.clone());
        known.allocated = Some(resources.unwrap_or_default());
    }
    let given = spec::as_allocated(pod, observed).map(|spec| requests::requests(&spec));
    host.ledger.take(pod.clone(), given.unwrap_or_default(), worker.clone());
    if let Err(message) = pin(host, pod, observed, own) {
        reject(host, pod, observed, ("UnexpectedAdmissionError".to_owned(), message));
    }
    after
}

fn reject(host: &Host, pod: &Pod, observed: &mut Observed, (reason, message): Rejection) {
    tracing::info!(pod = %spec::full_name(pod), reason, message, "pod is rejected");
    observed.ended = Some((reason.clone(), format!("Pod was rejected: {message}")));
    host.events.warning(pod, "", reason, message);
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    host.devices.take_back(uid);
    host.ledger.release(uid);
}

/// Gives containers CPUs of their own: those that admission chose, those that they have already, as their groups say, or new ones.
fn pin(host: &Host, pod: &Pod, observed: &Observed, own: Option<BTreeMap<String, Set>>) -> Result<(), String> {
    let (Some(spec), true) = (&pod.spec, host.machine.cpus.is_used()) else {
        return Ok(());
    };
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let mut chosen = match own {
        Some(own) => own,
        None => host.machine.cpus.choose(spec, &host.ledger.all_pinned())?,
    };
    let group = plan::cgroup(spec, uid);
    for (name, set) in &mut chosen {
        let Run::Running { attempt, .. } = observed.container(name).run else {
            continue;
        };
        let present = host
            .sandboxes
            .group(&group, Some((name, attempt)))
            .map(|group| group.cpus());
        let present = cpus::parse(&present.unwrap_or_default());
        if present.len() == set.len() {
            *set = present;
        }
    }
    host.ledger.pin(uid, chosen);
    Ok(())
}

/// Gathers it.
pub async fn observed(host: &Host, pod: &Pod, adopted: Option<&sandbox::Pod>) -> Observed {
    let now = Timestamp::now();
    let status = pod.status.clone().unwrap_or_default();
    let mut observed = Observed {
        seen: status.start_time.map_or(now, |time| time.0),
        ..Observed::default()
    };
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let known = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten())
        .chain(status.ephemeral_container_statuses.iter().flatten());
    let known: Vec<&ContainerStatus> = known.collect();
    for known in &known {
        let stays = over || spec::list_of(pod, &known.name) == "ephemeralContainers";
        observed
            .containers
            .insert(known.name.clone(), from_api(known, stays, now));
    }
    // It is said as soon as the node begins to end the pod, and holds for an agent that begins meanwhile.
    let is_ours = |reason: &String| ENDINGS.contains(&reason.as_str());
    if let Some((reason, message)) = status.reason.clone().zip(status.message.clone())
        && (over || is_ours(&reason))
    {
        observed.ended = Some((reason, message));
    }
    let Some(sandbox) = adopted else {
        observed.sandbox = if over { Sandbox::Down } else { Sandbox::Absent };
        return observed;
    };
    for known in &known {
        observed.container_mut(&known.name).resources = known.resources.clone();
    }
    observed.sandbox = Sandbox::Up;
    observed.ips = addresses(host, pod).await;
    // Whatever the API remembers, the supervisor knows better.
    for state in sandbox.states().await.unwrap_or_default() {
        let container = observed.container_mut(&state.name);
        take_over(container, &state);
        let shown = known.iter().find(|known| known.name == state.name);
        let Some(spec) = spec::any_container(pod, &state.name) else {
            continue;
        };
        let name = spec.image.clone().unwrap_or_default();
        if let (true, Some(image)) = (container.runs(), host.images.local(&name)) {
            container.made_of = name;
            container.image_id = shown.map_or(image.id.clone(), |shown| shown.image_id.clone());
            container.image = Image::Here {
                id: image.id.clone(),
                named: image.id,
            };
        }
        // What the API was told about this very run still holds.
        let same = shown.filter(|shown| i64::from(shown.restart_count) == i64::from(state.attempt));
        container.user = same.and_then(|shown| shown.user.clone());
        let is_started = same.is_some_and(|shown| shown.started == Some(true));
        let is_ready = same.is_some_and(|shown| shown.ready);
        container.probes = Probes::adopted(&spec, is_started, is_ready, spread(pod, &state.name), now);
    }
    observed
}

/// A number that is another one for each container, and the same each time.
fn spread(pod: &Pod, name: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (&pod.metadata.uid, name).hash(&mut hasher);
    hasher.finish()
}

async fn addresses(host: &Host, pod: &Pod) -> Vec<std::net::IpAddr> {
    if spec::host_network(pod) {
        return host.machine.ips.clone();
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    host.network.give(uid).await.unwrap_or_default()
}

fn take_over(container: &mut Container, state: &ContainerState) {
    let since = super::timestamp(state.started_at);
    if let Run::Ended(before) = &container.run
        && before.attempt < state.attempt
    {
        container.before = Some(before.clone());
    }
    container.attempt = state.attempt + 1;
    container.run = match &state.ended {
        None => Run::Running {
            since,
            attempt: state.attempt,
        },
        Some(ended) => {
            let reason = match (ended.oom_killed, ended.exit_code) {
                (true, _) => "OOMKilled",
                (false, 0) => "Completed",
                (false, _) => "Error",
            };
            Run::Ended(Ended {
                attempt: state.attempt,
                code: ended.exit_code,
                reason,
                message: String::new(),
                started: Some(since),
                finished: super::timestamp(ended.at),
            })
        }
    };
}

/// What the API remembers of a container whose sandbox is gone. In a pod that is `over` it stays as it ended; else it is
/// to run anew, init containers included, and counts as started once more.
fn from_api(status: &ContainerStatus, over: bool, now: Timestamp) -> Container {
    let state = status.state.clone().unwrap_or_default();
    let attempt = u32::try_from(status.restart_count).unwrap_or(0);
    let ran = state.running.is_some() || state.terminated.is_some() || status.restart_count > 0;
    let ended = match (&state.terminated, &state.running) {
        (Some(ended), _) => Ended {
            attempt,
            code: ended.exit_code,
            reason: reason(ended.reason.as_deref(), ended.exit_code),
            message: ended.message.clone().unwrap_or_default(),
            started: ended.started_at.as_ref().map(|time| time.0),
            finished: ended.finished_at.as_ref().map_or(now, |time| time.0),
        },
        (None, running) => {
            let started = running
                .as_ref()
                .and_then(|running| running.started_at.as_ref())
                .map(|time| time.0);
            unknown_end(attempt, started, now)
        }
    };
    let image = match status.image_id.as_str() {
        "" => Image::Unknown,
        id => Image::Here {
            id: id.to_owned(),
            named: id.to_owned(),
        },
    };
    match (ran, over) {
        (false, _) => Container::default(),
        (true, true) => Container {
            attempt: attempt + 1,
            run: Run::Ended(ended),
            image,
            image_id: status.image_id.clone(),
            ..Container::default()
        },
        (true, false) => Container {
            attempt: attempt + 1,
            before: Some(ended),
            ..Container::default()
        },
    }
}

/// One of the words that this node uses.
fn reason(said: Option<&str>, code: i32) -> &'static str {
    match said {
        Some("OOMKilled") => "OOMKilled",
        Some("StartError") => "StartError",
        Some("ContainerStatusUnknown") => "ContainerStatusUnknown",
        Some(RESTARTED) => RESTARTED,
        Some(_) | None if code == 0 => "Completed",
        Some(_) | None => "Error",
    }
}
