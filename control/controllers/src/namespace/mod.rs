//! namespace-controller: a namespace that is being deleted loses its contents, pods first, then its finalizer.

mod conditions;
mod contents;

use crate::context::Context;
use crate::every_kind::Sighting;
use client::{Api, Error, Key, Object, Patch, Queue, Update, work};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// The finalizer that this controller stands for.
const FINALIZER: &str = "kubernetes";
/// When to look again at what is still ending; an object that goes is seen at once, this is for what failed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// After an object went: others go with it.
const SETTLE: Duration = Duration::from_millis(50);

pub(crate) async fn run(context: Context) {
    if !context.namespaces.ready().await {
        return;
    }
    let queue = Queue::<String>::new();
    let (mut namespaces, mut objects) = (context.namespaces.follow(), context.kinds.follow());
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = namespaces.recv() => {
                    if update.now.as_deref().is_some_and(is_ending) {
                        queue.add(update.key().name);
                    }
                }
                Some(Sighting { update, .. }) = objects.recv() => {
                    if let Update { before: Some(object), now: None } = &update
                        && is_ending_by_name(&context, object.namespace())
                    {
                        queue.add_after(object.namespace().to_owned(), SETTLE);
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
                let findings = contents::delete(&context, &namespace).await;
                tell(&context, &namespace, &findings).await?;
                if findings.is_empty() {
                    return finalize(&context, &namespace).await;
                }
                tracing::debug!(namespace = %name, ?findings, "still ending");
                again.add_after(name, LOOK_AGAIN);
                Ok::<(), Error>(())
            }
        }
    };
    tokio::join!(feed, work("namespace-controller", &queue, 2, &context.stop, reconcile));
}

/// Writes what was found into the namespace's conditions.
async fn tell(context: &Context, namespace: &Namespace, findings: &conditions::Findings) -> Result<(), Error> {
    let status = namespace.status.as_ref();
    let old = status.and_then(|status| status.conditions.clone()).unwrap_or_default();
    let Some(conditions) = findings.conditions(&old, Timestamp::now()) else {
        return Ok(());
    };
    let patch = json!({"metadata": {"uid": namespace.uid()}, "status": {"conditions": conditions}});
    let api = Api::<Namespace>::all(context.transport.clone());
    match api.report_status(namespace.name(), &Patch::Merge(patch)).await {
        Ok(()) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
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

/// Takes our finalizer off; the API server then removes the namespace if it was the last one.
async fn finalize(context: &Context, namespace: &Arc<Namespace>) -> Result<(), Error> {
    let name = namespace.name();
    let api = Api::<Namespace>::all(context.transport.clone());
    let mut latest = match api.get(name).await {
        Ok(latest) if latest.uid() == namespace.uid() => latest,
        Ok(_) => return Ok(()),
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    let finalizers = latest.spec.as_mut().and_then(|spec| spec.finalizers.as_mut());
    finalizers
        .into_iter()
        .for_each(|all| all.retain(|finalizer| finalizer != FINALIZER));
    let body = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": latest.metadata, "spec": latest.spec, "status": latest.status,
    });
    match api.put(name, "finalize", &body).await {
        Ok(_) => {
            tracing::info!(namespace = name, "namespace emptied");
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
