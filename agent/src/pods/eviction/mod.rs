//! Ends pods before the node runs out of memory, disk or process IDs, and those that keep more on disk than they may; says in
//! the node's conditions what is short (upstream: pkg/kubelet/eviction).
//!
//! A look at the node is a few files of /proc every ten seconds, or at once when the kernel says that programs wait for
//! memory; what pods use is looked at only when something is short or a pod has limits on disk.

mod limits;
mod psi;
mod rank;
mod signals;

use super::events::Events;
use super::image_gc;
use super::ledger::{Ending, Ledger};
use crate::node::face::on_disk;
use crate::node::face::usage::{self, Disk, Node, Usage};
use crate::node::{NodeContext, Pressures};
use k8s_openapi::api::core::v1::Pod;
use rank::{Candidate, Used};
use signals::{Conditions, Patience, Short};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Upstream's monitoringInterval.
const PERIOD: Duration = Duration::from_secs(10);
/// Upstream's podCleanupTimeout.
const CLEANUP: Duration = Duration::from_secs(30);
/// Upstream's immediateEvictionGracePeriodSeconds.
const GRACE: i64 = 1;
/// Looking at files may take so small a part of the time.
const SHARE_OF_TIME: u32 = 50;

/// What it works with.
pub struct Evictor {
    /// The node.
    pub context: NodeContext,
    /// What people are told.
    pub events: Events,
}

/// What was seen of the disk the last time that pods' files were counted, and when to count them again.
#[derive(Default)]
struct Counted {
    disk: Disk,
    next: Option<Instant>,
}

// === impl Evictor ===

impl Evictor {
    /// Looks for ever.
    pub async fn run(self) -> ! {
        let mut conditions = Conditions::default();
        let mut patience = Patience::default();
        let mut counted = Counted::default();
        let mut stalls = psi::Stalls::watch();
        loop {
            let node = self.look_at_node().await;
            let short = signals::short(&node, self.config());
            self.say(&mut conditions, &short);
            let evicted = match self.beyond_limits(&node, &mut counted).await {
                evicted if !evicted.is_empty() => evicted,
                _ => {
                    let grace = Duration::from_secs(self.config().soft.grace_seconds.into());
                    self.relieve(&patience.over(&short, Instant::now(), grace)).await
                }
            };
            if evicted.is_empty() {
                let _ = tokio::time::timeout(PERIOD, stalls.next()).await;
            } else if !self.ledger().gone(&evicted, CLEANUP).await {
                tracing::warn!(pods = ?evicted, "evicted pods are not gone yet");
            }
        }
    }

    fn config(&self) -> &config::Eviction {
        &self.context.config.node.eviction
    }

    fn ledger(&self) -> &Ledger {
        &self.context.ledger
    }

    async fn look_at_node(&self) -> Node {
        let paths = self.context.paths.clone();
        let looked = tokio::task::spawn_blocking(move || Node::look(&paths)).await;
        looked.unwrap_or_default()
    }

    /// Puts what is short into the node's conditions.
    fn say(&self, conditions: &mut Conditions, short: &[Short]) {
        let lasting = Duration::from_secs(self.config().pressure_seconds.into());
        let now = conditions.update(short, Instant::now(), lasting);
        let before = self.context.readiness.borrow().pressures;
        if before == now {
            return;
        }
        for reason in reasons(before, now) {
            let message = format!("Node {} status is now: {reason}", self.context.config.machine.name);
            tracing::warn!(reason, "node is short of something, or is not any more");
            self.events.about_node("Normal", reason, message);
        }
        self.context
            .readiness
            .send_modify(|readiness| readiness.pressures = now);
    }

    /// Has what is shortest given back: images that nobody uses, else one pod. The UIDs of those that go.
    async fn relieve(&self, short: &[Short]) -> Vec<String> {
        let Some(first) = short.first() else {
            return Vec::new();
        };
        let resource = first.signal.resource();
        let message = format!("Attempting to reclaim {resource}");
        self.events.about_node("Warning", "EvictionThresholdMet", message);
        if first.signal.is_of_disk() && self.images_suffice(first).await {
            return Vec::new();
        }
        let usage = usage::look(&self.context.directory, &self.context.paths).await;
        let mut candidates = self.candidates(&usage, first.signal.is_of_disk()).await;
        rank::order(first.signal, &mut candidates);
        let message = |candidate: &Candidate| rank::message(first, candidate);
        let grace = match first.is_soft {
            true => self.config().soft.pod_grace_seconds.into(),
            false => GRACE,
        };
        let evicted = candidates
            .iter()
            .find(|candidate| self.evict(&candidate.pod, message(candidate), grace, true));
        if evicted.is_none() {
            tracing::warn!(resource, "the node is short and has no pod to evict");
        }
        evicted
            .into_iter()
            .filter_map(|candidate| candidate.pod.metadata.uid.clone())
            .collect()
    }

    /// Whether that is not short any more once the images that nobody uses are gone.
    async fn images_suffice(&self, was: &Short) -> bool {
        let (images, directory) = (self.context.images.clone(), self.context.directory.clone());
        let removed = tokio::task::spawn_blocking(move || image_gc::remove_unused(&images, &directory)).await;
        if removed.unwrap_or(0) == 0 {
            return false;
        }
        let node = self.look_at_node().await;
        let mut short = signals::short(&node, self.config()).into_iter();
        !short.any(|is| (is.signal, is.is_soft) == (was.signal, was.is_soft))
    }

    /// Ends pods that keep more on disk than they may; their UIDs.
    async fn beyond_limits(&self, node: &Node, counted: &mut Counted) -> Vec<String> {
        let limited: Vec<Arc<Pod>> = self
            .ledger()
            .pods()
            .into_iter()
            .filter(|pod| limits::has_any(pod))
            .collect();
        let is_due = counted.next.is_none_or(|next| Instant::now() >= next);
        // Nobody wrote anything since, unless to memory.
        let is_same = counted.disk == node.disk && !limited.iter().any(|pod| has_memory_volume(pod));
        if limited.is_empty() || !is_due || is_same {
            return Vec::new();
        }
        let begun = Instant::now();
        let mut usage = usage::look(&self.context.directory, &self.context.paths).await;
        usage.pods.retain(|pod| {
            limited
                .iter()
                .any(|limited| limited.metadata.uid == pod.entry.pod.metadata.uid)
        });
        let candidates = self.candidates(&usage, true).await;
        counted.next = Some(Instant::now() + begun.elapsed() * SHARE_OF_TIME);
        counted.disk = node.disk;
        let broken = candidates.iter().filter_map(|candidate| {
            let message = limits::broken(&candidate.pod, candidate.used.as_ref()?)?;
            self.evict(&candidate.pod, message, GRACE, false)
                .then(|| candidate.pod.metadata.uid.clone())?
        });
        broken.collect()
    }

    /// All pods of a look that have a place, with what they use; with what they have on disk if that matters.
    async fn candidates(&self, usage: &Usage, with_disk: bool) -> Vec<Candidate> {
        let pods = self.ledger().pods();
        let paths = self.context.paths.clone();
        let running: Vec<(Arc<Pod>, usage::Pod)> = pods
            .into_iter()
            .filter_map(|pod| Some((pod.clone(), usage.of_pod(pod.metadata.uid.as_deref()?)?.clone())))
            .collect();
        let counted = tokio::task::spawn_blocking(move || {
            let each = running.into_iter().map(|(pod, usage)| Candidate {
                used: Some(used(&paths, &pod, &usage, with_disk)),
                pod,
            });
            each.collect()
        });
        counted.await.unwrap_or_default()
    }

    /// Ends a pod unless it is critical, with so many seconds of grace at most; whether it goes.
    fn evict(&self, pod: &Arc<Pod>, message: String, grace: i64, for_the_node: bool) -> bool {
        let (name, uid) = (
            super::spec::full_name(pod),
            pod.metadata.uid.as_deref().unwrap_or_default(),
        );
        if super::admit::is_critical(pod) {
            tracing::warn!(pod = %name, message, "a critical pod is not evicted");
            return false;
        }
        let ending = Ending {
            reason: "Evicted",
            message: message.clone(),
            grace: Some(grace),
            disruption: for_the_node.then(|| message.clone()),
        };
        let goes = self.ledger().end(uid, ending);
        if goes {
            tracing::warn!(pod = %name, message, "pod is evicted");
            self.events.warning(pod, "", "Evicted", message);
        }
        goes
    }
}

fn has_memory_volume(pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut media = volumes.filter_map(|volume| volume.empty_dir.as_ref()?.medium.as_deref());
    media.any(|medium| medium == "Memory")
}

/// Blocks: with disk it looks at every file of the pod.
fn used(paths: &crate::node::Paths, pod: &Pod, usage: &usage::Pod, with_disk: bool) -> Used {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let mut used = Used {
        memory: usage.usage.all.working_set,
        tasks: usage.usage.all.tasks,
        ..Used::default()
    };
    for container in &usage.usage.containers {
        let mut disk = on_disk::OnDisk::default();
        if with_disk {
            let logs = &usage.entry.logs;
            let (layer, logs) = on_disk::of_container(paths, uid, logs, &container.name, container.attempt);
            disk = layer + logs;
        }
        used.disk = used.disk + disk;
        used.containers
            .insert(container.name.clone(), (container.usage.working_set, disk));
    }
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes.filter(|_| with_disk) {
        let Some(source) = &volume.empty_dir else { continue };
        let disk = on_disk::of_empty_dir(paths, uid, &volume.name);
        if source.medium.as_deref().unwrap_or_default().is_empty() {
            used.disk = used.disk + disk;
        }
        used.volumes.insert(volume.name.clone(), disk);
    }
    used
}

/// Upstream's reasons for what changed.
fn reasons(before: Pressures, now: Pressures) -> Vec<&'static str> {
    let all = [
        (
            before.memory,
            now.memory,
            "NodeHasInsufficientMemory",
            "NodeHasSufficientMemory",
        ),
        (before.disk, now.disk, "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
        (before.pids, now.pids, "NodeHasInsufficientPID", "NodeHasSufficientPID"),
    ];
    let changed = all.into_iter().filter(|(before, now, _, _)| before != now);
    changed
        .map(|(_, now, short, enough)| if now { short } else { enough })
        .collect()
}
