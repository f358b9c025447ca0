//! namespace-controller: a namespace that is being deleted loses its contents, pods first, then its finalizer.

use crate::context::Context;
use client::{Api, Dynamic, Error, Key, ListOptions, Object, Queue, Resource, Served, Update, discover, work};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// The finalizer that this controller stands for.
const FINALIZER: &str = "kubernetes";
/// When to look again at what is still ending; the end of a pod is seen at once, this is for everything else.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

pub(crate) async fn run(context: Context) {
    if !(context.namespaces.ready().await && context.pods.ready().await) {
        return;
    }
    let queue = Queue::<String>::new();
    let (mut namespaces, mut pods) = (context.namespaces.follow(), context.pods.follow());
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = namespaces.recv() => {
                    if update.now.as_deref().is_some_and(is_ending) {
                        queue.add(update.key().name);
                    }
                }
                Some(update) = pods.recv() => {
                    if let Update { before: Some(pod), now: None } = &update
                        && is_ending_by_name(&context, pod.namespace())
                    {
                        queue.add(pod.namespace().to_owned());
                    }
                }
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, again) = (context.clone(), queue.clone());
        move |name: String| {
            let (context, again) = (context.clone(), again.clone());
            async move {
                let Some(namespace) = context
                    .namespaces
                    .get(&Key::new("", &*name))
                    .filter(|found| is_ending(found))
                else {
                    return Ok(());
                };
                if empty(&context, &namespace).await? {
                    return finalize(&context, &namespace).await;
                }
                again.add_after(name, LOOK_AGAIN);
                Ok::<(), Error>(())
            }
        }
    };
    tokio::join!(feed, work("namespace-controller", &queue, 2, &context.stop, reconcile));
}

fn is_ending(namespace: &Namespace) -> bool {
    let finalizers = namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.as_deref())
        .unwrap_or_default();
    namespace.metadata.deletion_timestamp.is_some() && finalizers.iter().any(|finalizer| finalizer == FINALIZER)
}

fn is_ending_by_name(context: &Context, name: &str) -> bool {
    context
        .namespaces
        .get(&Key::new("", name))
        .is_some_and(|namespace| is_ending(&namespace))
}

/// Deletes what is in the namespace; true once nothing is. Pods go first, while their Secrets and accounts are there.
async fn empty(context: &Context, namespace: &Namespace) -> Result<bool, Error> {
    let name = namespace.name();
    let mut served = discover(context.transport.clone()).await?;
    served.retain(|kind| kind.namespaced && kind.can("list") && kind.can("delete"));
    served.sort_by_key(|kind| !is_pods(&kind.resource));
    for kind in &served {
        let left = delete_all(context, kind, name).await?;
        if left > 0 && is_pods(&kind.resource) {
            tracing::debug!(namespace = name, left, "waiting for pods to end");
            return Ok(false);
        }
    }
    for kind in &served {
        let api = Api::dynamic(context.transport.clone(), &kind.resource, Some(name));
        if !api
            .list(&ListOptions {
                limit: 1,
                ..ListOptions::default()
            })
            .await?
            .items
            .is_empty()
        {
            tracing::debug!(namespace = name, kind = %kind.resource.plural, "still ending");
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_pods(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "pods"
}

/// Asks for the end of every object of a kind that does not end yet, and says how many there were.
async fn delete_all(context: &Context, kind: &Served, namespace: &str) -> Result<usize, Error> {
    let api = Api::dynamic(context.transport.clone(), &kind.resource, Some(namespace));
    let list = api
        .list_all(&ListOptions {
            limit: 500,
            ..ListOptions::default()
        })
        .await?;
    for object in &list.items {
        if object.0["metadata"]["deletionTimestamp"].is_null() {
            delete(&api, object).await?;
        }
    }
    Ok(list.items.len())
}

async fn delete(api: &Api<Dynamic>, object: &Dynamic) -> Result<(), Error> {
    let preconditions = Preconditions {
        uid: Some(object.uid().to_owned()),
        ..Preconditions::default()
    };
    let options = DeleteOptions {
        preconditions: Some(preconditions),
        ..DeleteOptions::default()
    };
    match api.delete(object.name(), &options).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes our finalizer off; the API server then removes the namespace if it was the last one.
async fn finalize(context: &Context, namespace: &Arc<Namespace>) -> Result<(), Error> {
    let name = namespace.name();
    let finalizers = namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.clone())
        .unwrap_or_default();
    let others: Vec<String> = finalizers
        .into_iter()
        .filter(|finalizer| finalizer != FINALIZER)
        .collect();
    let body = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "uid": namespace.uid(), "resourceVersion": namespace.resource_version()},
        "spec": {"finalizers": others},
    });
    match Api::<Namespace>::all(context.transport.clone())
        .put(name, "finalize", &body)
        .await
    {
        Ok(_) => {
            tracing::info!(namespace = name, "namespace emptied");
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
