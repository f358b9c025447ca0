//! pod-garbage-collector-controller: pods of nodes that are gone, and ending pods that never had a node, are removed.

use crate::context::Context;
use crate::pod::{BY_NODE, Pod};
use client::{Api, Error, Key, Object, Patch, Queue, work};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::json;
use std::time::Duration;

/// How long a node must be gone (upstream's `quarantineTime`): it may have been deleted to register anew.
const QUARANTINE: Duration = Duration::from_secs(40);

pub(crate) async fn run(context: Context) {
    if !(context.nodes.ready().await && context.pods.ready().await) {
        return;
    }
    let queue = Queue::<Key>::new();
    let (mut nodes, mut pods) = (context.nodes.follow(), context.pods.follow());
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = nodes.recv() => {
                    if update.now.is_none() {
                        let orphans = context.pods.indexed(BY_NODE, &update.key().name);
                        orphans.iter().for_each(|pod| queue.add_after(pod.key(), QUARANTINE));
                    }
                }
                Some(update) = pods.recv() => {
                    let Some(pod) = &update.now else { continue };
                    match fate(pod, |node| context.nodes.get(&Key::new("", node)).is_some()) {
                        Fate::Stays => {}
                        Fate::Ends => queue.add(pod.key()),
                        // Only once for each pod: its node is new to the pod, not to us.
                        Fate::Orphaned if update.before.is_none() || !same_node(&update.before, pod) => {
                            queue.add_after(pod.key(), QUARANTINE);
                        }
                        Fate::Orphaned => {}
                    }
                }
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let context = context.clone();
        move |key: Key| {
            let context = context.clone();
            async move { collect(&context, &key).await }
        }
    };
    tokio::join!(
        feed,
        work("pod-garbage-collector-controller", &queue, 4, &context.stop, reconcile)
    );
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It is to end and was never anywhere: nobody else will remove it.
    Ends,
    /// Its node is not there.
    Orphaned,
}

fn fate(pod: &Pod, exists: impl Fn(&str) -> bool) -> Fate {
    match pod.node() {
        None if pod.is_ending => Fate::Ends,
        None => Fate::Stays,
        Some(node) if exists(node) => Fate::Stays,
        Some(_) => Fate::Orphaned,
    }
}

fn same_node(before: &Option<std::sync::Arc<Pod>>, pod: &Pod) -> bool {
    before.as_deref().and_then(Pod::node) == pod.node()
}

async fn collect(context: &Context, key: &Key) -> Result<(), Error> {
    let Some(pod) = context.pods.get(key) else {
        return Ok(());
    };
    match fate(&pod, |node| context.nodes.get(&Key::new("", node)).is_some()) {
        Fate::Stays => return Ok(()),
        Fate::Ends => {}
        Fate::Orphaned => {
            let node = pod.node().unwrap_or_default();
            // The cache may be behind; a pod must not die of that.
            match Api::<core::Node>::all(context.transport.clone()).get(node).await {
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }
    remove(context, &pod).await
}

/// Says that the pod failed, if it had not ended, and removes it without waiting for an agent.
async fn remove(context: &Context, pod: &Pod) -> Result<(), Error> {
    let api = Api::<core::Pod>::namespaced(context.transport.clone(), pod.namespace());
    if pod.node().is_some() && !matches!(&*pod.phase, "Succeeded" | "Failed") {
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed"}});
        api.report_status(pod.name(), &Patch::Merge(patch)).await?;
    }
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: Some(pod.uid().to_owned()),
            ..Preconditions::default()
        }),
        ..DeleteOptions::default()
    };
    match api.delete(pod.name(), &options).await {
        Ok(_) => {
            tracing::info!(pod = pod.name(), namespace = pod.namespace(), "orphaned pod removed");
            Ok(())
        }
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_without_node_or_whose_node_is_gone_are_found() {
        let pod = |spec, metadata| serde_json::from_value::<Pod>(json!({"metadata": metadata, "spec": spec})).unwrap();
        let here = || json!({"containers": [], "nodeName": "here"});
        let gone = || json!({"containers": [], "nodeName": "gone"});
        let ending = || json!({"name": "p", "deletionTimestamp": "2020-01-01T00:00:00Z"});
        let table = [
            (pod(here(), json!({})), Fate::Stays),
            (pod(here(), ending()), Fate::Stays),
            (pod(gone(), json!({})), Fate::Orphaned),
            (pod(json!({"containers": []}), json!({})), Fate::Stays),
            (pod(json!({"containers": []}), ending()), Fate::Ends),
        ];
        for (pod, expected) in table {
            assert_eq!(fate(&pod, |node| node == "here"), expected);
        }
    }
}
