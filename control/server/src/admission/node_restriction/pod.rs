//! Pods: a node makes mirrors of what it runs anyway, ends its own pods and says how they are.

use super::Asked;
use api::Verb;
use api::read::{self, list, text};
use api::status::Status;
use serde_json::Value;

/// Written on pods that a node made itself.
const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn whole(asked: &Asked<'_>) -> Result<(), Status> {
    let node = asked.node;
    match (asked.object, asked.old) {
        (Some(pod), None) => create(asked, pod),
        (None, Some(pod)) if !is_on(pod, node) => asked.refuse(format!(
            "node {node:?} can only delete pods with spec.nodeName set to itself"
        )),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => asked.refuse(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            asked.call.verb.name()
        )),
    }
}

fn is_on(pod: &Value, node: &str) -> bool {
    text(pod, "/spec/nodeName") == node
}

fn create(asked: &Asked<'_>, pod: &Value) -> Result<(), Status> {
    let node = asked.node;
    let is_mirror = read::entries(pod, "/metadata/annotations").any(|(key, _)| key == MIRROR);
    if !is_mirror {
        return asked.refuse(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    if !is_on(pod, node) {
        return asked.refuse(format!(
            "node {node:?} can only create pods with spec.nodeName set to itself"
        ));
    }
    owner(asked, pod)?;
    match reference(pod) {
        Some(what) => asked.refuse(format!("node {node:?} can not create pods that reference {what}")),
        None => Ok(()),
    }
}

fn owner(asked: &Asked<'_>, pod: &Value) -> Result<(), Status> {
    let node = asked.node;
    let owners = list(pod, "/metadata/ownerReferences");
    let [owner] = owners else {
        return if owners.is_empty() {
            Ok(())
        } else {
            asked.refuse(format!(
                "node {node:?} can only create pods with a single owner reference set to itself"
            ))
        };
    };
    if text(owner, "/apiVersion") != "v1" || text(owner, "/kind") != "Node" || text(owner, "/name") != node {
        return asked.refuse(format!(
            "node {node:?} can only create pods with an owner reference set to itself"
        ));
    }
    if !read::flag(owner, "/controller") {
        return asked.refuse(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    if read::flag(owner, "/blockOwnerDeletion") {
        return asked.refuse(format!(
            "node {node:?} must not set blockOwnerDeletion on an owner reference"
        ));
    }
    let present = asked.core("nodes", "", node)?;
    if text(owner, "/uid") != text(&present, "/metadata/uid") {
        return asked.refuse(format!(
            "node {node:?} UID mismatch: expected {}, got {}",
            text(&present, "/metadata/uid"),
            text(owner, "/uid")
        ));
    }
    Ok(())
}

/// What of the cluster a pod refers to; a mirror may not, since its node could then read it.
fn reference(pod: &Value) -> Option<&'static str> {
    if !text(pod, "/spec/serviceAccountName").is_empty() {
        return Some("a service account");
    }
    let containers = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|kind| list(pod, &format!("/spec/{kind}")));
    for container in containers {
        for source in list(container, "/envFrom").iter().chain(list(container, "/env")) {
            for (pointer, what) in [
                ("/secretRef", "secrets"),
                ("/valueFrom/secretKeyRef", "secrets"),
                ("/configMapRef", "configmaps"),
                ("/valueFrom/configMapKeyRef", "configmaps"),
            ] {
                if read::some(source, pointer).is_some() {
                    return Some(what);
                }
            }
        }
    }
    if !list(pod, "/spec/imagePullSecrets").is_empty() {
        return Some("secrets");
    }
    if !list(pod, "/spec/resourceClaims").is_empty() {
        return Some("resourceclaims");
    }
    let sources = |volume: &Value, member: &str| {
        list(volume, "/projected/sources")
            .iter()
            .any(|source| read::some(source, member).is_some())
    };
    list(pod, "/spec/volumes").iter().find_map(|volume| {
        let has = |member: &str| read::some(volume, member).is_some();
        if has("/secret") || sources(volume, "/secret") {
            Some("secrets")
        } else if has("/configMap") || sources(volume, "/configMap") {
            Some("configmaps")
        } else if has("/persistentVolumeClaim") || has("/ephemeral") {
            Some("persistentvolumeclaims")
        } else if sources(volume, "/serviceAccountToken") {
            Some("a service account")
        } else {
            None
        }
    })
}

pub(super) fn status(asked: &Asked<'_>) -> Result<(), Status> {
    let node = asked.node;
    let (Some(new), Some(old)) = (asked.object, asked.old) else {
        return Ok(());
    };
    if !is_on(old, node) {
        return asked.refuse(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    let labels = |pod: &Value| {
        read::entries(pod, "/metadata/labels")
            .map(|(k, v)| (k.to_owned(), v.clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    if labels(new) != labels(old) {
        return asked.refuse(format!("node {node:?} cannot update labels through pod status"));
    }
    Ok(())
}

pub(super) fn eviction(asked: &Asked<'_>) -> Result<(), Status> {
    if asked.call.verb != Verb::Create {
        return Ok(());
    }
    let pod = asked.core("pods", &asked.call.namespace, asked.name)?;
    if is_on(&pod, asked.node) {
        Ok(())
    } else {
        asked.refuse(format!(
            "node {} can only evict pods with spec.nodeName set to itself",
            asked.node
        ))
    }
}
