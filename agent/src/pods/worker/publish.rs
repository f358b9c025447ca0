//! Brings a pod's status to the API: the newest one, once per change, for as long as it takes; and its deletion at the end.

use crate::pods::host::Host;
use crate::pods::status;
use client::{Api, Backoff, Patch};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the API shall show.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The status.
    pub status: PodStatus,
    /// Whether the pod leaves the API after it.
    pub finish: bool,
}

/// Runs until the pod is finished, is gone from the API, or its worker is. A pod has its place until the API knows that it has
/// ended: nobody is to believe that it still needs one and another that it does not.
pub async fn publish(host: Arc<Host>, pod: Arc<Pod>, mut wanted: watch::Receiver<Option<Wanted>>) {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let name = pod.metadata.name.clone().unwrap_or_default();
    let api = Api::<Pod>::namespaced(host.transport.clone(), &namespace);
    let mut sent = pod.status.clone();
    let uid = pod.metadata.uid.clone();
    // This lives as long as the pod, which is the worker's to keep.
    drop(pod);
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    loop {
        if wanted.changed().await.is_err() {
            return;
        }
        loop {
            let Some(now) = wanted.borrow_and_update().clone() else {
                break;
            };
            let result = match status::patch(uid.as_deref(), sent.as_ref(), &now.status) {
                Some(patch) => api.report_status(&name, &Patch::Strategic(patch)).await,
                None => Ok(()),
            };
            let result = match result {
                Ok(()) => {
                    if matches!(now.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
                        host.ledger.release(uid.as_deref().unwrap_or_default());
                    }
                    sent = Some(now.status);
                    if now.finish {
                        delete(&api, uid.clone(), &name).await.map(|()| true)
                    } else {
                        Ok(false)
                    }
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(true) => return,
                Ok(false) => break backoff.succeed(),
                // Gone, or a namesake has taken its place: nothing to say any more.
                Err(error) if error.is_not_found() || error.is_conflict() => return,
                Err(error) => {
                    tracing::debug!(pod = %name, %error, "status not taken yet");
                    tokio::time::sleep(backoff.fail()).await;
                }
            }
        }
    }
}

async fn delete(api: &Api<Pod>, uid: Option<String>, name: &str) -> Result<(), client::Error> {
    let preconditions = Preconditions {
        uid,
        resource_version: None,
    };
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..DeleteOptions::default()
    };
    api.delete(name, &options).await.map(drop)
}
