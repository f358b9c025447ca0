//! persistentvolumeclaim-protection-controller and persistentvolume-protection-controller: what was held at its making is let
//! go when it is to end and nobody uses it.

use crate::context::{Context, cache};
use crate::pod::Pod;
use client::{Api, Cache, Error, Key, Object, Patch, Queue, Resource, work};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// Lets claims go that no pod on a node uses.
pub(crate) async fn claims(context: Context) {
    let claims = cache(
        Api::<PersistentVolumeClaim>::all(context.transport.clone()),
        &context.stop,
    );
    if !(claims.ready().await && context.pods.ready().await) {
        return;
    }
    let queue = Queue::<Key>::new();
    let (mut changes, mut pods) = (claims.follow(), context.pods.follow());
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = changes.recv() => queue.add(update.key()),
                Some(update) = pods.recv() => {
                    let gone = update.before.filter(|_| update.now.is_none());
                    gone.iter().flat_map(|pod| used_by(pod)).for_each(|key| queue.add(key));
                }
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, claims) = (context.clone(), claims.clone());
        move |key: Key| {
            let (context, claims) = (context.clone(), claims.clone());
            async move {
                let Some(claim) = claims.get(&key).filter(|claim| is_held(&claim.metadata, CLAIM)) else {
                    return Ok(());
                };
                let pods = context.pods.list_in(&key.namespace);
                if pods
                    .iter()
                    .any(|pod| is_on_a_node(pod) && used_by(pod).any(|used| used == key))
                {
                    return Ok(());
                }
                release(&context, &*claim, &claim.metadata, CLAIM).await
            }
        }
    };
    let name = "persistentvolumeclaim-protection-controller";
    tokio::join!(feed, work(name, &queue, 2, &context.stop, reconcile));
}

/// Lets volumes go that are bound to no claim.
pub(crate) async fn volumes(context: Context) {
    let volumes: Cache<PersistentVolume> = cache(Api::all(context.transport.clone()), &context.stop);
    if !volumes.ready().await {
        return;
    }
    let queue = Queue::<Key>::new();
    let mut changes = volumes.follow();
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = changes.recv() => queue.add(update.key()),
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, volumes) = (context.clone(), volumes.clone());
        move |key: Key| {
            let (context, volumes) = (context.clone(), volumes.clone());
            async move {
                let Some(volume) = volumes.get(&key).filter(|volume| is_held(&volume.metadata, VOLUME)) else {
                    return Ok(());
                };
                let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
                if phase == Some("Bound") {
                    return Ok(());
                }
                release(&context, &*volume, &volume.metadata, VOLUME).await
            }
        }
    };
    let name = "persistentvolume-protection-controller";
    tokio::join!(feed, work(name, &queue, 1, &context.stop, reconcile));
}

fn is_held(metadata: &ObjectMeta, finalizer: &str) -> bool {
    let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
    metadata.deletion_timestamp.is_some() && finalizers.iter().any(|present| present == finalizer)
}

/// A pod that is nowhere yet cannot begin to use a claim that is to end.
fn is_on_a_node(pod: &Pod) -> bool {
    !pod.node.is_empty()
}

/// The claims that a pod uses.
fn used_by(pod: &Pod) -> impl Iterator<Item = Key> {
    pod.claims.iter().map(|name| Key::new(pod.namespace(), &**name))
}

async fn release<K: Object + k8s_openapi::Resource>(
    context: &Context,
    object: &K,
    metadata: &ObjectMeta,
    finalizer: &str,
) -> Result<(), Error> {
    let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
    let left: Vec<&String> = finalizers.iter().filter(|present| *present != finalizer).collect();
    let version = object.resource_version();
    let patch = json!({"metadata": {"uid": object.uid(), "resourceVersion": version, "finalizers": left}});
    let namespace = Some(object.namespace()).filter(|namespace| !namespace.is_empty());
    let api = Api::<K>::at(context.transport.clone(), &Resource::of::<K>(), namespace);
    match api.patch(object.name(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        // A newer state is on its way to us.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}
