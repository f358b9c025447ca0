//! Keeps a static pod's mirror in the API: makes it, makes it anew when somebody deletes it or the manifest is another, and has
//! it say what the pod's status is (upstream: pkg/kubelet/pod/mirror_client.go).

use super::{HASH, MIRROR, end};
use crate::node::chain;
use crate::pods::host::Host;
use crate::pods::status;
use crate::pods::worker::Wanted;
use client::{Api, Backoff, Error, Object, Patch};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, OwnerReference, Preconditions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What to do about a mirror next.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Nothing, until something changes.
    Wait,
    /// Make it, owned by the node of this UID.
    Create(String),
    /// It is of another pod than this, or somebody deletes it.
    Delete(Arc<Pod>),
    /// It is there.
    Say(Arc<Pod>),
}

/// Chooses. `mirror`: what the API has of that name, nothing while that is not known.
fn next(pod: &Pod, mirror: Option<Option<Arc<Pod>>>, node: Option<&str>) -> Step {
    let annotation = |pod: &Pod, key: &str| pod.metadata.annotations.as_ref()?.get(key).cloned();
    match (mirror, node) {
        (Some(Some(mirror)), _) => {
            let is_same = annotation(&mirror, MIRROR) == annotation(pod, HASH);
            match is_same && mirror.metadata.deletion_timestamp.is_none() {
                true => Step::Say(mirror),
                false => Step::Delete(mirror),
            }
        }
        (Some(None), Some(node)) => Step::Create(node.to_owned()),
        (Some(None), None) | (None, _) => Step::Wait,
    }
}

/// Runs until the pod's worker has ended.
pub async fn publish(host: Arc<Host>, pod: Arc<Pod>, mut wanted: watch::Receiver<Option<Wanted>>) {
    let (mut mirrors, mut node) = (host.mirrors.follow(), host.node.subscribe());
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    let mut sent = Sent::default();
    loop {
        mirrors.borrow_and_update();
        let owner = node
            .borrow_and_update()
            .as_ref()
            .and_then(|node| node.metadata.uid.clone());
        let status = wanted.borrow_and_update().as_ref().map(|wanted| wanted.status.clone());
        if let Some(status) = &status {
            settle(&host, &pod, status);
        }
        let step = next(&pod, host.mirrors.find(&pod.key()), owner.as_deref());
        match take(&host, &pod, step, status, &mut sent).await {
            Ok(()) => backoff.succeed(),
            Err(error) => {
                tracing::warn!(pod = %pod.key(), error = %chain(&error), "mirror is not as it should be, trying again");
                tokio::time::sleep(backoff.fail()).await;
                continue;
            }
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            _ = mirrors.changed() => {}
            _ = node.changed() => {}
        }
    }
}

/// What the API was last told, and of which mirror.
#[derive(Default)]
struct Sent {
    uid: String,
    status: Option<PodStatus>,
}

async fn take(host: &Host, pod: &Pod, step: Step, status: Option<PodStatus>, sent: &mut Sent) -> Result<(), Error> {
    let api = Api::<Pod>::namespaced(host.transport.clone(), pod.namespace());
    match (step, status) {
        (Step::Wait, _) | (Step::Say(_), None) => Ok(()),
        (Step::Create(owner), _) => api.create(&mirror(pod, &host.machine.node, &owner)).await.map(drop),
        (Step::Delete(mirror), _) => delete(host, &mirror).await,
        (Step::Say(mirror), Some(status)) => {
            if sent.uid != mirror.uid() {
                *sent = Sent {
                    uid: mirror.uid().to_owned(),
                    status: mirror.status.clone(),
                };
            }
            if let Some(patch) = status::patch(mirror.metadata.uid.as_deref(), sent.status.as_ref(), &status) {
                api.report_status(mirror.name(), &Patch::Strategic(patch)).await?;
            }
            sent.status = Some(status);
            Ok(())
        }
    }
}

/// A pod that has ended gives its place back, and is not to run again on this machine, even if the API never hears of it.
fn settle(host: &Host, pod: &Pod, status: &PodStatus) {
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        host.ledger.release(pod.uid());
        end::remember(&host.pod_dir(pod.uid()), status);
    }
}

/// What the API is to show of the pod.
fn mirror(pod: &Pod, node: &str, owner: &str) -> Pod {
    let mut mirror = pod.clone();
    let meta = &mut mirror.metadata;
    meta.uid = None;
    let annotations = meta.annotations.get_or_insert_default();
    let hash = annotations.get(HASH).cloned().unwrap_or_default();
    annotations.insert(MIRROR.to_owned(), hash);
    meta.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.to_owned(),
        uid: owner.to_owned(),
        controller: Some(true),
        ..OwnerReference::default()
    }]);
    mirror.status = None;
    mirror
}

/// Deletes mirrors that no static pod has, for ever.
pub async fn sweep(host: Arc<Host>) {
    let mut mirrors = host.mirrors.follow();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    loop {
        mirrors.borrow_and_update();
        let mut failed = false;
        for orphan in host.mirrors.orphans() {
            if let Err(error) = delete(&host, &orphan).await {
                tracing::warn!(pod = %orphan.key(), error = %chain(&error), "mirror of nothing stays for now");
                failed = true;
            }
        }
        if failed {
            tokio::time::sleep(backoff.fail()).await;
            continue;
        }
        backoff.succeed();
        if mirrors.changed().await.is_err() {
            return;
        }
    }
}

/// At once: nothing of it runs. One that is gone, or has a namesake by now, is as good.
async fn delete(host: &Host, mirror: &Pod) -> Result<(), Error> {
    let api = Api::<Pod>::namespaced(host.transport.clone(), mirror.namespace());
    let preconditions = Preconditions {
        uid: mirror.metadata.uid.clone(),
        resource_version: None,
    };
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..DeleteOptions::default()
    };
    match api.delete(mirror.name(), &options).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(metadata: Value) -> Pod {
        serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": []}})).unwrap()
    }

    #[test]
    fn a_mirror_is_made_once_and_made_anew_when_it_is_none_any_more() {
        let own = pod(json!({"name": "web-n1", "uid": "h1", "annotations": {HASH: "h1"}}));
        let of = |hash: &str| {
            Arc::new(pod(
                json!({"name": "web-n1", "uid": "m1", "annotations": {MIRROR: hash}}),
            ))
        };
        let mut leaving = (*of("h1")).clone();
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let leaving = Arc::new(leaving);
        // (what the API has, the node's UID, what follows)
        let rows = [
            (None, Some("n"), Step::Wait),
            (Some(None), None, Step::Wait),
            (Some(None), Some("n"), Step::Create("n".to_owned())),
            (Some(Some(of("h1"))), None, Step::Say(of("h1"))),
            (Some(Some(of("h0"))), Some("n"), Step::Delete(of("h0"))),
            (Some(Some(leaving.clone())), Some("n"), Step::Delete(leaving)),
        ];
        for (found, node, wanted) in rows {
            assert_eq!(next(&own, found.clone(), node), wanted, "{found:?}");
        }
    }

    #[test]
    fn a_mirror_says_whose_it_is() {
        let own = pod(json!({"name": "web-n1", "uid": "h1", "annotations": {HASH: "h1"}}));
        let mirror = mirror(&own, "n1", "u1");
        assert_eq!(mirror.metadata.uid, None);
        assert_eq!(mirror.metadata.annotations.unwrap()[MIRROR], "h1");
        let owner = serde_json::to_value(mirror.metadata.owner_references).unwrap();
        let wanted = json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": true}]);
        assert_eq!(owner, wanted);
    }
}
