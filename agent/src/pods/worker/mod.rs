//! One task for each pod: takes what is wanted and what happened, decides, acts, and has the status published.

mod act;
pub mod adopt;
mod ask;
mod drivers;
mod nfs;
mod publish;
mod pulled;
mod resize;
mod start;
mod volumes;

use super::admit::is_static;
use super::decide::{Action, decide};
use super::directory::Entry;
use super::host::Host;
use super::images::{Got, Missing};
use super::ledger::Ending;
use super::observed::{Deleted, Ended, Observed, Run, Sandbox, Stage};
use super::probes::{Answer, Kind};
use super::{spec, static_pods, status};
use ask::Moment;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
pub use publish::Wanted;
use sandbox::ContainerState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// How often volumes are looked at again for what no change tells: tokens that grow old, drivers that want to hear so.
const REFRESH: Duration = Duration::from_secs(60);

/// Those who make room have their grace period; whoever has a long one is run beside for a while.
const ROOM_DEADLINE: Duration = Duration::from_secs(60);

/// Something that a pod's worker must know.
pub enum Input {
    /// The pod as the API has it now.
    Desired(Arc<Pod>),
    /// The API has it no more.
    Gone,
    /// The machine config has it no more.
    Dropped,
    /// A pull ended.
    Pulled {
        /// For which container.
        container: String,
        /// The image, or why there is none.
        result: Box<Result<Got, Missing>>,
    },
    /// The pull of an image that is a volume ended.
    VolumePulled {
        /// Which volume.
        volume: String,
        /// Why there is no image, if there is none.
        result: Result<(), Missing>,
    },
    /// A driver has mounted a volume, or not.
    Mounted {
        /// Which volume.
        volume: String,
        /// Where, or why not.
        result: Result<super::plan::Volume, crate::csi::Failure>,
    },
    /// No driver has anything of the pod any more.
    Released,
    /// A ConfigMap or a Secret that the pod refers to has changed.
    Stale,
    /// A container's present state.
    State(ContainerState),
    /// A probe was answered.
    Probed {
        /// Of which container.
        container: String,
        /// Of which run of it.
        attempt: u32,
        /// Which.
        kind: Kind,
        /// What.
        answer: Answer,
    },
    /// A hook is over.
    Hooked {
        /// Of which container.
        container: String,
        /// Of which run of it.
        attempt: u32,
        /// Which.
        moment: Moment,
        /// Whether it went well.
        result: Result<(), String>,
    },
    /// The node ends the pod.
    End(Ending),
    /// The pod's supervisor is gone.
    SandboxGone,
}

/// What a worker owns.
pub struct Worker {
    host: Arc<Host>,
    pod: Arc<Pod>,
    observed: Observed,
    sandbox: Option<sandbox::Pod>,
    /// How many sandboxes the pod had.
    sandboxes: u32,
    inputs: mpsc::UnboundedReceiver<Input>,
    /// For tasks that report back.
    sender: mpsc::UnboundedSender<Input>,
    status: PodStatus,
    /// Whether status may be another than the one that was published.
    changed: bool,
    /// Hooks that run, by container.
    hooks: BTreeMap<String, AbortHandle>,
    published: watch::Sender<Option<Wanted>>,
    publisher: tokio::task::JoinHandle<()>,
    /// What has killed processes end that wait for servers of volumes, by container; "" for all that is left.
    unblocking: BTreeMap<String, AbortHandle>,
    /// Volumes that are images, once somebody asked for them.
    volume_images: volumes::Images,
    /// Volumes that drivers mount, once somebody asked for them.
    mounts: drivers::Mounts,
    /// Whether what volumes show of the pod itself has changed.
    is_stale: bool,
    /// Pods that make room for it.
    after: Vec<String>,
}

/// Whether the worker goes on.
enum Flow {
    On,
    Over,
}

impl Worker {
    /// Makes the worker of `pod`; `adopted` is its sandbox if it outlived an agent.
    pub async fn new(
        host: Arc<Host>,
        pod: Arc<Pod>,
        adopted: Option<sandbox::Pod>,
    ) -> (Self, mpsc::UnboundedSender<Input>) {
        let (sender, inputs) = mpsc::unbounded_channel();
        let (published, wanted) = watch::channel(None);
        let publisher = match is_static(&pod) {
            true => tokio::spawn(static_pods::publish(host.clone(), pod.clone(), wanted)),
            false => tokio::spawn(publish::publish(host.clone(), pod.clone(), wanted)),
        };
        let mut observed = adopt::observed(&host, &pod, adopted.as_ref()).await;
        let after = adopt::admit(&host, &pod, &mut observed, &sender).await;
        let mut worker = Self {
            host,
            status: pod.status.clone().unwrap_or_default(),
            pod: pod.clone(),
            observed,
            sandbox: adopted,
            sandboxes: 0,
            inputs,
            sender: sender.clone(),
            changed: true,
            hooks: BTreeMap::new(),
            published,
            publisher,
            unblocking: BTreeMap::new(),
            volume_images: volumes::Images::default(),
            mounts: drivers::Mounts::new(),
            is_stale: false,
            after,
        };
        worker.adopt_mounts();
        worker.desire(pod);
        worker.watch_sandbox();
        (worker, sender)
    }

    /// Runs until the pod is gone from this node and from the API. What its steps keep while they wait is large, and a worker mostly
    /// waits for something else: so they are boxed.
    pub async fn run(mut self) {
        // What an agent before this one mounted is looked at now; new volumes are new.
        let first = tokio::time::Instant::now()
            + if self.sandbox.is_some() {
                Duration::ZERO
            } else {
                REFRESH
            };
        let mut refresh = tokio::time::interval_at(first, REFRESH);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if !self.host.ledger.gone(&self.after, ROOM_DEADLINE).await {
            tracing::warn!(pod = %spec::full_name(&self.pod), "pods that make room for this one are not gone yet");
        }
        loop {
            self.resize();
            let decision = decide(&self.pod, &self.observed, Timestamp::now());
            for action in &decision.actions {
                tracing::debug!(pod = %spec::full_name(&self.pod), ?action, "next step");
                self.changed |= !matches!(action, Action::Probe { .. });
                if let Flow::Over = Box::pin(self.act(action)).await {
                    return Box::pin(self.end()).await;
                }
            }
            if std::mem::take(&mut self.changed) {
                self.publish();
            }
            if std::mem::take(&mut self.is_stale) {
                Box::pin(self.refresh_volumes()).await;
            }
            if !decision.actions.is_empty() {
                // An action changed what is known; look again before waiting.
                self.take_waiting();
                continue;
            }
            let wake = decision.wake.map(|at| at.duration_since(Timestamp::now()));
            let wake = wake.map(|wait| Duration::try_from(wait).unwrap_or_default());
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
                () = sleep_or_forever(wake) => {}
                _ = refresh.tick() => {
                    Box::pin(self.refresh_volumes()).await;
                    Box::pin(self.refresh_driven()).await;
                }
            }
        }
    }

    fn take_waiting(&mut self) {
        while let Ok(input) = self.inputs.try_recv() {
            self.take(input);
        }
    }

    fn take(&mut self, input: Input) {
        if let Input::Probed {
            container,
            attempt,
            kind,
            answer,
        } = &input
        {
            // Most answers are like the one before: nothing to say then.
            self.changed |= self.probed(container, *attempt, *kind, answer);
            return;
        }
        if matches!(input, Input::Stale) {
            self.is_stale = true;
            return;
        }
        self.changed = true;
        match input {
            Input::Desired(pod) => self.desire(pod),
            Input::Gone => {
                // Whoever removed it by force has waited long enough.
                let grace = self.observed.deleted.map_or(1, |deleted| deleted.grace.min(1));
                self.observed.deleted = Some(Deleted { grace, in_api: false });
                self.hurry(grace);
            }
            Input::Dropped => {
                let grace = spec::grace(&self.pod);
                self.observed.deleted = Some(Deleted { grace, in_api: false });
            }
            Input::Pulled { container, result } => self.pulled(&container, *result),
            Input::VolumePulled { volume, result } => self.volume_pulled(&volume, result),
            Input::Mounted { volume, result } => self.mounted(&volume, result),
            Input::Released => self.released(),
            Input::State(state) => self.state(&state),
            Input::Probed { .. } | Input::Stale => {}
            Input::Hooked {
                container,
                attempt,
                moment,
                result,
            } => self.hooked(&container, attempt, moment, &result),
            Input::End(ending) => self.end_because(ending),
            Input::SandboxGone => self.lose_sandbox(),
        }
    }

    /// Takes the API's word on everything but what this node itself says: its own conditions.
    fn desire(&mut self, pod: Arc<Pod>) {
        if pod.metadata.deletion_timestamp.is_some() {
            let grace = pod
                .metadata
                .deletion_grace_period_seconds
                .unwrap_or_else(|| spec::grace(&pod));
            let shorter = self.observed.deleted.is_some_and(|deleted| deleted.grace > grace);
            self.observed.deleted = Some(Deleted { grace, in_api: true });
            if shorter {
                self.hurry(grace);
            }
        }
        let (before, now) = (&self.pod.metadata, &pod.metadata);
        self.is_stale |= before.labels != now.labels || before.annotations != now.annotations;
        let mut pod = (*pod).clone();
        if let (Some(theirs), Some(ours)) = (&mut pod.status, &self.status.conditions) {
            let mut foreign = theirs.conditions.take().unwrap_or_default();
            let mut all: Vec<_> = ours.iter().filter(|own| status::is_own(own)).cloned().collect();
            foreign.retain(|known| all.iter().all(|own| own.type_ != known.type_));
            all.append(&mut foreign);
            theirs.conditions = Some(all);
        }
        self.pod = Arc::new(pod);
    }

    /// Ends the pod for the node's sake, however it would have gone on.
    fn end_because(&mut self, ending: Ending) {
        tracing::info!(pod = %spec::full_name(&self.pod), reason = ending.reason, message = ending.message, "the node ends the pod");
        self.observed.disruption = ending.disruption;
        if self.observed.ended.is_none() {
            self.observed.ended = Some((ending.reason.to_owned(), ending.message));
        }
        if let Some(grace) = ending.grace {
            self.observed.grace = Some(grace.min(spec::grace(&self.pod)));
            self.hurry(grace);
        }
    }

    /// A second, less patient delete.
    fn hurry(&mut self, grace: i64) {
        let latest = Timestamp::now() + jiff::SignedDuration::from_secs(grace);
        for container in self.observed.containers.values_mut() {
            if let Some(stopping) = &mut container.stopping {
                stopping.deadline = stopping.deadline.min(latest);
                if let Stage::Signalled { kill_at } = &mut stopping.stage {
                    *kill_at = (*kill_at).min(latest);
                }
            }
        }
    }

    /// Takes over what pod-init says about a container.
    fn state(&mut self, state: &ContainerState) {
        let message = |code| self.termination_message(&state.name, state.attempt, code);
        let Some(ended) = state.ended.as_ref() else { return };
        let container = self.observed.container(&state.name);
        if !matches!(container.run, Run::Running { attempt, .. } if attempt == state.attempt) {
            return;
        }
        let reason = match (ended.oom_killed, ended.exit_code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        };
        let ended = Ended {
            attempt: state.attempt,
            code: ended.exit_code,
            reason,
            message: message(ended.exit_code),
            started: Some(timestamp(state.started_at)),
            finished: timestamp(ended.at),
        };
        tracing::info!(pod = %spec::full_name(&self.pod), container = %state.name, code = ended.code, reason, "container ended");
        self.end_container(&state.name, ended);
        self.announce_backoff(&state.name);
    }

    /// A run is over, and with it what was asked of it.
    fn end_container(&mut self, name: &str, ended: Ended) {
        self.observed.container_mut(name).end(ended);
        for task in [self.hooks.remove(name), self.unblocking.remove(name)]
            .into_iter()
            .flatten()
        {
            task.abort();
        }
    }

    fn announce_backoff(&self, name: &str) {
        let container = self.observed.container(name);
        let (Some(ended), Some(spec)) = (container.ended(), spec::any_container(&self.pod, name)) else {
            return;
        };
        let again = container.again || spec::restarts(&self.pod, &spec, ended.code);
        let ends = self.observed.deleted.is_some() || self.observed.ended.is_some();
        if again && !ends && container.pause(ended, Timestamp::now()).is_some() {
            let message = format!(
                "Back-off restarting failed container {name} in pod {}",
                spec::full_name(&self.pod)
            );
            self.host.events.warning(&self.pod, name, "BackOff", message);
        }
    }

    /// What ran in a sandbox that is gone has ended, nobody knows how. What the pod wants to run again begins anew in the next
    /// sandbox, init containers included.
    fn lose_sandbox(&mut self) {
        if self.sandbox.is_none() {
            return;
        }
        tracing::warn!(pod = %spec::full_name(&self.pod), "the pod's supervisor is gone");
        let now = Timestamp::now();
        let running: Vec<(String, Ended)> = self
            .observed
            .containers
            .iter()
            .filter_map(|(name, container)| match container.run {
                Run::Running { since, attempt } => Some((name.clone(), adopt::unknown_end(attempt, Some(since), now))),
                Run::Never | Run::Ended(_) => None,
            })
            .collect();
        for (name, ended) in running {
            self.end_container(&name, ended);
        }
        let ends = self.observed.deleted.is_some() || self.observed.ended.is_some();
        if ends || spec::has_ended(&self.pod, &self.observed) {
            return;
        }
        for (name, container) in &mut self.observed.containers {
            let stays = spec::stays_ended(&self.pod, name, container);
            if let Run::Ended(ended) = &container.run
                && !stays
            {
                container.before = Some(ended.clone());
                container.run = Run::Never;
            }
        }
        if self.observed.sandbox == Sandbox::Up {
            self.observed.sandbox = Sandbox::Failed { at: now };
        }
    }

    /// Says what is: to the API through the publisher, to the node's face through the directory.
    fn publish(&mut self) {
        let wanted = status::status(&self.pod, &self.observed, &self.host.machine.ips, Timestamp::now());
        let mut pod = (*self.pod).clone();
        // With this node's word instead of the API's echo of it, for conditions' dates and for the node's face.
        pod.status = Some(wanted.clone());
        self.pod = Arc::new(pod);
        self.status = wanted.clone();
        let logs = self.host.log_dir(&self.pod);
        self.host
            .directory
            .put(Entry::new(self.pod.clone(), self.sandbox.clone(), logs, &self.observed));
        self.published.send_replace(Some(Wanted {
            status: wanted,
            finish: false,
        }));
    }

    /// The last status, the API's goodbye, and nothing left on disk.
    async fn end(mut self) {
        self.hooks
            .values()
            .chain(self.unblocking.values())
            .for_each(AbortHandle::abort);
        self.publish();
        let finish = self.observed.deleted.is_some_and(|deleted| deleted.in_api);
        self.published.send_replace(Some(Wanted {
            status: self.status.clone(),
            finish,
        }));
        drop(self.published);
        if finish {
            let _ = self.publisher.await;
        } else {
            self.publisher.abort();
            let _ = self.publisher.await;
        }
        let uid = self.pod.metadata.uid.clone().unwrap_or_default();
        self.host.directory.remove(&self.pod);
        self.host.ledger.release(&uid);
        // An agent that was killed between the sandbox's end and this one's left them.
        if let Err(error) = self.host.network.take_back(&uid).await {
            tracing::warn!(pod = %spec::full_name(&self.pod), %error, "addresses not taken back");
        }
        super::remove_traces(&self.host, &uid, &self.host.log_dir(&self.pod));
        tracing::info!(pod = %spec::full_name(&self.pod), "pod is gone");
    }
}

fn timestamp(time: std::time::SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}

async fn sleep_or_forever(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: impl Fn(Worker) -> F) -> usize {
        size_of::<F>()
    }

    /// There is one for each pod, all its life.
    #[test]
    fn a_worker_that_waits_is_small() {
        let size = size_of_future(Worker::run);
        assert!(size <= 4096, "{size} bytes");
    }
}
