//! What becomes of one object: it stays, loses owners, or goes; each time after a look at what the server has now.

use super::Collector;
use super::graph::{Duty, FOREGROUND, Node, ORPHAN};
use crate::every_kind::{Outline, Owner};
use client::{Api, Error, Object, Patch, Served};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// When an owner's kind is looked for again; it may be about to be served.
const UNKNOWN_KIND: Duration = Duration::from_secs(30);

/// What an owner is to an object.
enum Standing {
    /// It is there and stays.
    Solid,
    /// It is there and goes once its dependents are gone.
    Waiting,
    /// It is not there.
    Gone,
    /// Nobody serves its kind.
    Unknown,
    /// An object of no namespace cannot have an owner in one.
    Impossible,
}

impl Collector {
    /// Sees whether an object may go (upstream: `attemptToDeleteItem`).
    pub(super) async fn judge(&self, uid: &Arc<str>) -> Result<(), Error> {
        let Some(node) = self.graph().get(uid).cloned() else {
            return Ok(());
        };
        if node.is_ending() && !node.ends_last() {
            return Ok(());
        }
        let Some(latest) = self.latest(&node).await? else {
            // Its end is on its way to us.
            return Ok(());
        };
        if node.ends_last() {
            return self.end_after_dependents(&node, &latest).await;
        }
        let (mut solid, mut waiting, mut lost) = (0, 0, Vec::new());
        for owner in &latest.metadata.owner_references {
            match self.standing(&node, owner).await? {
                Standing::Solid => solid += 1,
                Standing::Waiting => {
                    waiting += 1;
                    lost.push(owner.uid.clone());
                }
                Standing::Gone => lost.push(owner.uid.clone()),
                Standing::Impossible => return Ok(()),
                Standing::Unknown => {
                    self.queue.add_after(Duty::Judge(uid.clone()), UNKNOWN_KIND);
                    return Ok(());
                }
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        if solid > 0 {
            return self.drop_owners(&node, &latest, &lost).await;
        }
        let dependents: Vec<Node> = self.graph().dependents(uid).cloned().collect();
        if waiting == 0 || dependents.is_empty() {
            return self.delete(&node, &latest, policy(&latest)).await;
        }
        // Owners that wait for each other in a circle would wait for ever: from here on nobody waits for this one.
        if dependents.iter().any(Node::ends_last) {
            self.unblock(&node, &latest).await?;
            let Some(latest) = self.latest(&node).await? else {
                return Ok(());
            };
            return self.delete(&node, &latest, "Foreground").await;
        }
        self.delete(&node, &latest, "Foreground").await
    }

    /// Takes an object out of its dependents' owners, then lets it go (upstream: `attemptToOrphanWorker`).
    pub(super) async fn orphan(&self, uid: &Arc<str>) -> Result<(), Error> {
        let (owner, dependents) = {
            let graph = self.graph();
            let Some(owner) = graph.get(uid).cloned() else {
                return Ok(());
            };
            (owner, graph.dependents(uid).cloned().collect::<Vec<_>>())
        };
        for dependent in &dependents {
            if let Some(latest) = self.latest(dependent).await? {
                self.drop_owners(dependent, &latest, std::slice::from_ref(uid)).await?;
            }
        }
        match self.latest(&owner).await? {
            Some(latest) => self.drop_finalizer(&owner, &latest, ORPHAN).await,
            None => Ok(()),
        }
    }

    async fn end_after_dependents(&self, node: &Node, latest: &Outline) -> Result<(), Error> {
        let uid = &node.object.metadata.uid;
        let blocking: Vec<(Arc<str>, bool)> = {
            let graph = self.graph();
            let blocking = graph.dependents(uid).filter(|dependent| dependent.blocks(uid));
            blocking
                .map(|dependent| (dependent.object.metadata.uid.clone(), dependent.ends_last()))
                .collect()
        };
        if blocking.is_empty() {
            return self.drop_finalizer(node, latest, FOREGROUND).await;
        }
        let idle = blocking.into_iter().filter(|(_, ends_last)| !ends_last);
        idle.for_each(|(dependent, _)| self.queue.add(Duty::Judge(dependent)));
        Ok(())
    }

    async fn standing(&self, node: &Node, owner: &Owner) -> Result<Standing, Error> {
        let Some(kind) = self.kinds.find(&owner.api_version, &owner.kind) else {
            return Ok(Standing::Unknown);
        };
        let namespace = node.object.namespace();
        if kind.namespaced && namespace.is_empty() {
            return Ok(Standing::Impossible);
        }
        let found = match self.api(&kind, namespace).get(&owner.name).await {
            Ok(found) => Some(found),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let Some(found) = found.filter(|found| found.metadata.uid == owner.uid) else {
            self.say_if_elsewhere(node, owner);
            return Ok(Standing::Gone);
        };
        let ends_last = found.metadata.deletion_timestamp.is_some() && has(&found, FOREGROUND);
        Ok(if ends_last { Standing::Waiting } else { Standing::Solid })
    }

    /// An owner in another namespace is no owner; whoever thought so hears it (upstream: `reportInvalidNamespaceOwnerRef`).
    fn say_if_elsewhere(&self, node: &Node, owner: &Owner) {
        let namespace = node.object.namespace();
        let elsewhere = self
            .graph()
            .get(&owner.uid)
            .is_some_and(|found| found.object.namespace() != namespace);
        if !elsewhere {
            return;
        }
        let Owner {
            api_version,
            kind,
            name,
            uid,
            ..
        } = owner;
        let message = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in namespace {namespace:?}"
        );
        self.events
            .say(reference(node), "Warning", "OwnerRefInvalidNamespace", message);
    }

    async fn latest(&self, node: &Node) -> Result<Option<Outline>, Error> {
        match self
            .api(&node.kind, node.object.namespace())
            .get(node.object.name())
            .await
        {
            Ok(latest) if latest.metadata.uid == node.object.metadata.uid => Ok(Some(latest)),
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, node: &Node, latest: &Outline, policy: &str) -> Result<(), Error> {
        let options = DeleteOptions {
            propagation_policy: Some(policy.to_owned()),
            preconditions: Some(Preconditions {
                uid: Some(latest.uid().to_owned()),
                resource_version: Some(latest.resource_version().to_owned()),
            }),
            ..DeleteOptions::default()
        };
        let api = Api::<client::Dynamic>::at(self.transport.clone(), &node.kind.resource, scope(&node.kind, latest));
        match api.delete(latest.name(), &options).await {
            Ok(_) => {
                let kind = &node.kind.kind;
                tracing::info!(%kind, object = %latest.key(), policy, "garbage collected");
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn drop_owners(&self, node: &Node, latest: &Outline, lost: &[Arc<str>]) -> Result<(), Error> {
        let all = &latest.metadata.owner_references;
        if !all.iter().any(|owner| lost.contains(&owner.uid)) {
            return Ok(());
        }
        self.change_owners(node, latest, |owner| !lost.contains(&owner_uid(owner)), |_| {})
            .await
    }

    async fn unblock(&self, node: &Node, latest: &Outline) -> Result<(), Error> {
        self.change_owners(
            node,
            latest,
            |_| true,
            |owner| owner["blockOwnerDeletion"] = false.into(),
        )
        .await
    }

    /// The whole references are read anew: an [`Owner`] has not all of their fields.
    async fn change_owners(
        &self,
        node: &Node,
        latest: &Outline,
        stays: impl Fn(&Value) -> bool,
        change: impl Fn(&mut Value),
    ) -> Result<(), Error> {
        let api = Api::<client::Dynamic>::at(self.transport.clone(), &node.kind.resource, scope(&node.kind, latest));
        let object = match api.get(latest.name()).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut owners: Vec<Value> = object.0["metadata"]["ownerReferences"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        owners.retain(stays);
        owners.iter_mut().for_each(change);
        let version = object.resource_version().to_owned();
        let patch = json!({"metadata": {"uid": latest.uid(), "resourceVersion": version, "ownerReferences": owners}});
        self.patch(node, latest, patch).await
    }

    async fn drop_finalizer(&self, node: &Node, latest: &Outline, finalizer: &str) -> Result<(), Error> {
        if !has(latest, finalizer) {
            return Ok(());
        }
        let left: Vec<&String> = latest
            .metadata
            .finalizers
            .iter()
            .filter(|present| *present != finalizer)
            .collect();
        let version = latest.resource_version();
        let patch = json!({"metadata": {"uid": latest.uid(), "resourceVersion": version, "finalizers": left}});
        self.patch(node, latest, patch).await
    }

    async fn patch(&self, node: &Node, latest: &Outline, patch: Value) -> Result<(), Error> {
        match self
            .api(&node.kind, latest.namespace())
            .patch(latest.name(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn api(&self, kind: &Served, namespace: &str) -> Api<Outline> {
        Api::at(
            self.transport.clone(),
            &kind.resource,
            kind.namespaced.then_some(namespace),
        )
    }
}

fn scope<'a>(kind: &Served, object: &'a Outline) -> Option<&'a str> {
    kind.namespaced.then_some(object.namespace())
}

/// Finalizers of an earlier wish are honoured.
fn policy(latest: &Outline) -> &'static str {
    if has(latest, ORPHAN) {
        "Orphan"
    } else if has(latest, FOREGROUND) {
        "Foreground"
    } else {
        "Background"
    }
}

fn has(object: &Outline, finalizer: &str) -> bool {
    object.metadata.finalizers.iter().any(|present| present == finalizer)
}

fn owner_uid(owner: &Value) -> Arc<str> {
    owner["uid"].as_str().unwrap_or_default().into()
}

fn reference(node: &Node) -> ObjectReference {
    let resource = &node.kind.resource;
    let api_version = if resource.group.is_empty() {
        resource.version.clone()
    } else {
        format!("{}/{}", resource.group, resource.version)
    };
    ObjectReference {
        api_version: Some(api_version),
        kind: Some(node.kind.kind.clone()),
        namespace: Some(node.object.namespace().to_owned()),
        name: Some(node.object.name().to_owned()),
        uid: Some(node.object.uid().to_owned()),
        ..ObjectReference::default()
    }
}
