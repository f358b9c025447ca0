//! Static pods: the machine config's own, which run whether or not the API is there; it shows a mirror of each.

mod end;
mod manifest;
mod mirror;
mod mirrors;

pub use manifest::BadManifest;
pub use mirror::publish;
pub use mirrors::{Mirrors, is_mirror};

use super::host::Host;
use super::worker::{Input, Worker};
use client::{Key, Object};
use config::StaticPod;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a manifest says, as a hash; on all static pods.
const HASH: &str = "kubernetes.io/config.hash";
/// Where a pod comes from, if not from the API.
const SOURCE: &str = "kubernetes.io/config.source";
/// When the node first saw it.
const SEEN: &str = "kubernetes.io/config.seen";
/// On mirrors: the hash of what they show.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A static pod that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum BadStaticPod {
    /// By itself.
    #[error("`node.static-pod[{nth}].manifest`: {cause}")]
    Manifest {
        /// Which, from 0.
        nth: usize,
        /// Why.
        cause: BadManifest,
    },
    /// Beside another.
    #[error("`node.static-pod[{nth}].manifest`: another static pod is named {name}, too")]
    Twice {
        /// Which, from 0.
        nth: usize,
        /// Namespace and name.
        name: Key,
    },
}

/// The static pods of a machine config, by name.
pub fn read(configured: &[StaticPod], node: &str, now: Timestamp) -> Result<BTreeMap<Key, Pod>, BadStaticPod> {
    let mut pods = BTreeMap::new();
    for (nth, configured) in configured.iter().enumerate() {
        let pod = manifest::parse(&configured.manifest, node, now);
        let pod = pod.map_err(|cause| BadStaticPod::Manifest { nth, cause })?;
        let name = pod.key();
        if pods.insert(name.clone(), pod).is_some() {
            return Err(BadStaticPod::Twice { nth, name });
        }
    }
    Ok(pods)
}

/// Those that run or have run; ends with its owner, and they with it. What they run goes on.
pub struct StaticPods {
    /// First, so that they end before they could see that nothing is wanted any more.
    tasks: JoinSet<()>,
    host: Arc<Host>,
    configured: watch::Receiver<Vec<StaticPod>>,
    /// What is wanted under each name that there ever was.
    names: BTreeMap<Key, watch::Sender<Option<Arc<Pod>>>>,
}

// === impl StaticPods ===

impl StaticPods {
    /// Starts those of the config, in their sandboxes of before where they have any.
    pub fn start(host: &Arc<Host>, adopted: &mut BTreeMap<String, sandbox::Pod>) -> Self {
        let mut pods = Self {
            host: host.clone(),
            configured: host.static_pods.clone(),
            names: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        pods.tasks.spawn(mirror::sweep(host.clone()));
        pods.take(adopted);
        pods
    }

    /// Follows the config, for ever.
    pub async fn follow(&mut self) -> std::convert::Infallible {
        loop {
            if self.configured.changed().await.is_err() {
                // Nobody can change it any more.
                std::future::pending::<()>().await;
            }
            self.take(&mut BTreeMap::new());
        }
    }

    fn take(&mut self, adopted: &mut BTreeMap<String, sandbox::Pod>) {
        let configured = self.configured.borrow_and_update().clone();
        let mut wanted = match read(&configured, &self.host.machine.node, Timestamp::now()) {
            Ok(wanted) => wanted,
            // It was looked at before it was taken: by another Pintle, then.
            Err(error) => return tracing::error!("static pods stay as they are: {error}"),
        };
        for (name, pod) in &self.names {
            if !wanted.contains_key(name) {
                pod.send_if_modified(|pod| pod.take().is_some());
            }
        }
        while let Some((name, mut pod)) = wanted.pop_first() {
            let uid = pod.uid().to_owned();
            pod.status = end::remembered(&self.host.pod_dir(&uid)).or(pod.status);
            let sender = self.names.entry(name.clone()).or_insert_with(|| {
                let (sender, receiver) = watch::channel(None);
                let sandbox = adopted.remove(&uid);
                self.tasks
                    .spawn(keep(self.host.clone(), name.clone(), receiver, sandbox));
                sender
            });
            self.host.mirrors.want(name, uid.clone());
            sender.send_if_modified(|present| {
                let is_other = present.as_ref().is_none_or(|present| present.uid() != uid);
                if is_other {
                    *present = Some(Arc::new(pod));
                }
                is_other
            });
        }
    }
}

/// Runs what is wanted under one name; the next begins when the one before has ended.
async fn keep(
    host: Arc<Host>,
    name: Key,
    mut wanted: watch::Receiver<Option<Arc<Pod>>>,
    mut sandbox: Option<sandbox::Pod>,
) {
    loop {
        let pod = wanted.borrow_and_update().clone();
        match pod {
            Some(pod) => {
                // Again, since the name may have been dropped just after it was wanted.
                host.mirrors.want(name.clone(), pod.uid().to_owned());
                run(&host, pod, sandbox.take(), &mut wanted).await;
            }
            None => {
                host.mirrors.drop_name(&name);
                if wanted.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Runs one pod until the config wants another one, or none, and it has ended.
async fn run(
    host: &Arc<Host>,
    pod: Arc<Pod>,
    sandbox: Option<sandbox::Pod>,
    wanted: &mut watch::Receiver<Option<Arc<Pod>>>,
) {
    tracing::info!(pod = %pod.key(), uid = pod.uid(), "static pod is to run");
    let (worker, inputs) = Worker::new(host.clone(), pod, sandbox).await;
    let mut life = pin!(worker.run());
    tokio::select! {
        () = &mut life => return,
        changed = wanted.changed() => if changed.is_err() {
            // Its owner ends, and this with it, in a moment.
            return std::future::pending().await;
        }
    }
    let _ = inputs.send(Input::Dropped);
    life.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pods_of_one_name_are_refused() {
        let named = |namespace: &str| StaticPod {
            manifest: format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: {namespace}}}, \
                 spec: {{containers: [{{name: a, image: i}}]}}}}"
            ),
        };
        let read = |pods: &[StaticPod]| read(pods, "n1", Timestamp::UNIX_EPOCH);
        assert_eq!(read(&[named("one"), named("two")]).unwrap().len(), 2);
        let said = read(&[named("one"), named("two"), named("one")])
            .unwrap_err()
            .to_string();
        assert_eq!(
            said,
            "`node.static-pod[2].manifest`: another static pod is named one/a-n1, too"
        );
    }
}
