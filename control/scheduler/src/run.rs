//! The loop: follows nodes and pods, places what waits, binds, tries again when the cluster has changed.

use crate::cluster::Cluster;
use crate::place::place;
use crate::pod::Pod;
use crate::queue::Queue;
use crate::report::Report;
use crate::seen::{Seen, Standing};
use client::{Api, Cache, Changes, Error, ListOptions, Object, Resource, Transport, Update};
use k8s_openapi::api::core::v1 as core;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pods placed between two looks at what has changed.
const ROUND: usize = 64;
/// Bindings on their way at once; enough to fill the store's group commits.
const BINDINGS: usize = 128;
/// Parked pods are tried again after this even if nothing seems to have changed (upstream's flush of unschedulable pods).
const FLUSH: Duration = Duration::from_secs(300);

/// Schedules until `stop`.
pub async fn run(transport: Arc<dyn Transport>, stop: CancellationToken) {
    let nodes = Cache::start(
        Api::<core::Node>::all(transport.clone()),
        ListOptions::default(),
        stop.clone(),
    );
    let pods = Cache::start(
        Api::<Seen>::at(transport.clone(), &Resource::of::<core::Pod>(), None),
        ListOptions::default(),
        stop.clone(),
    );
    // Pods before nodes would be told that there are no nodes; nodes before pods would look empty.
    if !(nodes.ready().await && pods.ready().await) {
        return;
    }
    let (mut nodes, mut pods) = (nodes.follow(), pods.follow());
    let mut scheduler = Scheduler::new(transport);
    let mut flush = tokio::time::interval(FLUSH);
    tracing::info!("scheduler started");
    loop {
        scheduler.take_over(&mut nodes, &mut pods);
        if scheduler.round() {
            tokio::task::yield_now().await;
            continue;
        }
        let due = scheduler.queue.next_due().unwrap_or_else(|| Instant::now() + FLUSH);
        tokio::select! {
            Some(update) = nodes.recv() => scheduler.node(update),
            Some(update) = pods.recv() => scheduler.pod(update),
            Some(outcome) = scheduler.bindings.join_next() => scheduler.bound(outcome),
            () = tokio::time::sleep_until(due) => {}
            _ = flush.tick() => scheduler.queue.wake_all(Instant::now()),
            () = stop.cancelled() => return,
        }
    }
}

/// How one binding went.
struct Bound {
    pod: Arc<Pod>,
    result: Result<(), Error>,
}

struct Scheduler {
    cluster: Cluster,
    queue: Queue,
    /// Pods that count as being on a node, by UID, though the API server has not said so yet.
    assumed: HashMap<String, Arc<Pod>>,
    bindings: JoinSet<Bound>,
    permits: Arc<Semaphore>,
    report: Report,
}

impl Scheduler {
    fn new(transport: Arc<dyn Transport>) -> Scheduler {
        Scheduler {
            cluster: Cluster::new(),
            queue: Queue::default(),
            assumed: HashMap::new(),
            bindings: JoinSet::new(),
            permits: Arc::new(Semaphore::new(BINDINGS)),
            report: Report::new(transport),
        }
    }

    /// Everything that has arrived already, so that no choice is made on an older state than need be.
    fn take_over(&mut self, nodes: &mut Changes<core::Node>, pods: &mut Changes<Seen>) {
        while let Ok(update) = nodes.try_recv() {
            self.node(update);
        }
        while let Ok(update) = pods.try_recv() {
            self.pod(update);
        }
        while let Some(outcome) = self.bindings.try_join_next() {
            self.bound(outcome);
        }
    }

    fn node(&mut self, update: Update<core::Node>) {
        match (&update.now, &update.before) {
            (Some(node), _) => {
                if self.cluster.set_node(node) {
                    self.queue.wake_all(Instant::now());
                }
            }
            (None, Some(node)) => self
                .cluster
                .remove_node(node.metadata.name.as_deref().unwrap_or_default()),
            (None, None) => {}
        }
    }

    fn pod(&mut self, update: Update<Seen>) {
        let now = Instant::now();
        if let (Some(before), Some(after)) = (&update.before, &update.now)
            && before.uid() != after.uid()
        {
            self.gone(before.uid(), now);
        }
        let Some(seen) = &update.now else {
            update.before.iter().for_each(|seen| self.gone(seen.uid(), now));
            return;
        };
        match &seen.standing {
            Standing::Ended => self.gone(seen.uid(), now),
            Standing::Placed(pod) => {
                self.queue.remove(&pod.uid);
                self.assumed.remove(&pod.uid);
                self.cluster.add_pod(pod.clone());
            }
            Standing::Waiting(pod) if !self.assumed.contains_key(&pod.uid) => self.queue.set(pod.clone(), now),
            Standing::Waiting(_) => {}
            Standing::Foreign => self.queue.remove(seen.uid()),
        }
    }

    /// A pod uses nothing any more.
    fn gone(&mut self, uid: &str, now: Instant) {
        self.queue.remove(uid);
        self.assumed.remove(uid);
        if self.cluster.remove_pod(uid) {
            self.queue.wake_all(now);
        }
    }

    /// Places some of what is ready; false if nothing is.
    fn round(&mut self) -> bool {
        for tried in 0..ROUND {
            let Some(pod) = self.queue.take(Instant::now()) else {
                return tried > 0;
            };
            match place(&pod, &self.cluster) {
                Ok(placement) => self.bind(pod, placement.node),
                Err(unplaceable) => self.refuse(pod, unplaceable.to_string()),
            }
        }
        true
    }

    /// Parks a pod, and says why if that was not said already: saying it changes the pod, which all its watchers see.
    fn refuse(&mut self, pod: Arc<Pod>, message: String) {
        let now = Instant::now();
        self.queue.park(&pod.uid, now);
        tracing::debug!(pod = %pod.name, namespace = %pod.namespace, %message, "unplaceable");
        if self.queue.is_news(&pod.uid, &message, now) {
            let report = self.report.clone();
            tokio::spawn(async move { report.unplaceable(&pod, message).await });
        }
    }

    fn bind(&mut self, pod: Arc<Pod>, node: String) {
        self.cluster.add_pod(pod.on(&node));
        self.assumed.insert(pod.uid.clone(), pod.clone());
        let (report, permits) = (self.report.clone(), self.permits.clone());
        self.bindings.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let result = report.bind(&pod, &node).await;
            if result.is_ok() {
                tracing::debug!(pod = %pod.name, namespace = %pod.namespace, %node, "bound");
            }
            Bound { pod, result }
        });
    }

    fn bound(&mut self, outcome: Result<Bound, tokio::task::JoinError>) {
        let bound = match outcome {
            Ok(bound) => bound,
            Err(error) => return tracing::error!(%error, "a binding panicked"),
        };
        let uid = &bound.pod.uid;
        match bound.result {
            Ok(()) => self.queue.remove(uid),
            // The watch has told meanwhile that it is on a node, or gone.
            Err(_) if self.assumed.remove(uid).is_none() => {}
            Err(error) => {
                tracing::warn!(pod = %bound.pod.name, namespace = %bound.pod.namespace, %error, "binding failed");
                self.cluster.remove_pod(uid);
                self.queue.retry(uid, Instant::now());
            }
        }
    }
}
