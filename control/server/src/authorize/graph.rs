//! What the pods of a node refer to: the node authorizer's graph. It follows the pods only once a node has asked, and reads
//! each pod once, when it is bound.

use api::read::{self, list, text};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use store::{Change, Entry, Store, Watch};

/// Where the store keeps pods.
const PREFIX: &str = "pods/";
/// How many changes are taken at once.
const BATCH: usize = 1024;

/// What a pod may refer to; the name is in the pod's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Thing {
    /// `configmaps`.
    ConfigMap,
    /// `secrets`.
    Secret,
    /// `persistentvolumeclaims`.
    Claim,
    /// `serviceaccounts`.
    Account,
    /// `resourceclaims`.
    ResourceClaim,
}

type Reference = (Thing, Box<str>);

/// A pod on a node.
struct Bound {
    node: Box<str>,
    references: Vec<Reference>,
    /// Its resource claims may get their names later.
    is_open: bool,
}

/// Bound pods and what they refer to.
#[derive(Default)]
struct Pods {
    /// By the store's key.
    bound: HashMap<Arc<str>, Bound>,
    /// By namespace and reference: the keys of the pods that have it.
    users: HashMap<Box<str>, HashMap<Reference, HashSet<Arc<str>>>>,
}

/// The graph, up to date with the store after each [`Graph::refresh`].
pub(super) struct Graph {
    watch: Watch,
    pods: Pods,
}

// === impl Graph ===

impl Graph {
    pub(super) fn begin(store: &Store) -> Self {
        loop {
            let snapshot = store.range(PREFIX, None, 0);
            let Ok(watch) = store.watch(PREFIX, snapshot.revision) else {
                continue;
            };
            let mut pods = Pods::default();
            snapshot.entries.iter().for_each(|entry| pods.put(entry));
            return Self { watch, pods };
        }
    }

    /// Takes in what was written meanwhile.
    pub(super) fn refresh(&mut self, store: &Store) {
        loop {
            match self.watch.ready(BATCH) {
                Ok(changes) if changes.is_empty() => return,
                Ok(changes) => changes.iter().for_each(|change| self.pods.apply(change)),
                // Nobody asked for long: read all anew.
                Err(_lagged) => *self = Self::begin(store),
            }
        }
    }

    /// Whether a pod on `node` refers to it.
    pub(super) fn relates(&self, node: &str, thing: Thing, namespace: &str, name: &str) -> bool {
        let users = self
            .pods
            .users
            .get(namespace)
            .and_then(|references| references.get(&(thing, name.into())));
        users.into_iter().flatten().any(|pod| self.pods.is_on(pod, node))
    }

    /// Whether the pod is bound to `node`.
    pub(super) fn has(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.pods.is_on(&format!("{PREFIX}{namespace}/{name}"), node)
    }

    /// The claims that pods on `node` use: namespace and name.
    pub(super) fn claims(&self, node: &str) -> Vec<(&str, &str)> {
        let on_node = self.pods.bound.iter().filter(|(_, bound)| &*bound.node == node);
        on_node
            .flat_map(|(key, bound)| {
                let claims = bound.references.iter().filter(|(thing, _)| *thing == Thing::Claim);
                claims.map(|(_, name)| (namespace_of(key), &**name))
            })
            .collect()
    }
}

// === impl Pods ===

impl Pods {
    fn apply(&mut self, change: &Change) {
        if change.deleted {
            self.remove(&change.entry.key);
        } else if self.bound.get(&change.entry.key).is_none_or(|bound| bound.is_open) {
            // A pod's references and node stay as they are once it is bound, so that its status costs nothing here.
            self.remove(&change.entry.key);
            self.put(&change.entry);
        }
    }

    fn put(&mut self, entry: &Entry) {
        if !contains(&entry.value, b"\"nodeName\":\"") {
            return;
        }
        let pod: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        let node = text(&pod, "/spec/nodeName");
        if node.is_empty() {
            return;
        }
        let (references, is_open) = references(&pod);
        let users = self.users.entry(namespace_of(&entry.key).into()).or_default();
        for reference in &references {
            users.entry(reference.clone()).or_default().insert(entry.key.clone());
        }
        let node = node.into();
        self.bound.insert(
            entry.key.clone(),
            Bound {
                node,
                references,
                is_open,
            },
        );
    }

    fn remove(&mut self, key: &str) {
        let Some(bound) = self.bound.remove(key) else { return };
        let namespace = namespace_of(key);
        let Some(users) = self.users.get_mut(namespace) else {
            return;
        };
        for reference in bound.references {
            if let Some(pods) = users.get_mut(&reference) {
                pods.remove(key);
                if pods.is_empty() {
                    users.remove(&reference);
                }
            }
        }
        if users.is_empty() {
            self.users.remove(namespace);
        }
    }

    fn is_on(&self, key: &str, node: &str) -> bool {
        self.bound.get(key).is_some_and(|bound| &*bound.node == node)
    }
}

fn namespace_of(key: &str) -> &str {
    key.strip_prefix(PREFIX)
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Everything that a pod names (upstream `podutil.VisitPodSecretNames` and its siblings), and whether there may be more.
fn references(pod: &Value) -> (Vec<Reference>, bool) {
    let mut found = Vec::new();
    let mut add = |thing: Thing, name: &str| {
        let reference = (thing, name.into());
        if !name.is_empty() && !found.contains(&reference) {
            found.push(reference);
        }
    };
    add(Thing::Account, text(pod, "/spec/serviceAccountName"));
    for secret in list(pod, "/spec/imagePullSecrets") {
        add(Thing::Secret, text(secret, "/name"));
    }
    for containers in ["initContainers", "containers", "ephemeralContainers"] {
        for container in list(pod, &format!("/spec/{containers}")) {
            for source in list(container, "/envFrom") {
                add(Thing::ConfigMap, text(source, "/configMapRef/name"));
                add(Thing::Secret, text(source, "/secretRef/name"));
            }
            for variable in list(container, "/env") {
                add(Thing::ConfigMap, text(variable, "/valueFrom/configMapKeyRef/name"));
                add(Thing::Secret, text(variable, "/valueFrom/secretKeyRef/name"));
            }
        }
    }
    let pod_name = text(pod, "/metadata/name");
    for volume in list(pod, "/spec/volumes") {
        volume_references(volume, pod_name, &mut add);
    }
    let claims = list(pod, "/spec/resourceClaims");
    for claim in claims {
        add(Thing::ResourceClaim, text(claim, "/resourceClaimName"));
    }
    let named = list(pod, "/status/resourceClaimStatuses");
    for status in named {
        add(Thing::ResourceClaim, text(status, "/resourceClaimName"));
    }
    (found, named.len() < claims.len())
}

fn volume_references(volume: &Value, pod: &str, add: &mut impl FnMut(Thing, &str)) {
    add(Thing::ConfigMap, text(volume, "/configMap/name"));
    add(Thing::Secret, text(volume, "/secret/secretName"));
    add(Thing::Claim, text(volume, "/persistentVolumeClaim/claimName"));
    if read::some(volume, "/ephemeral").is_some() {
        add(Thing::Claim, &format!("{pod}-{}", text(volume, "/name")));
    }
    for source in list(volume, "/projected/sources") {
        add(Thing::ConfigMap, text(source, "/configMap/name"));
        add(Thing::Secret, text(source, "/secret/name"));
    }
    for kind in ["rbd", "cephfs", "flexVolume", "scaleIO", "storageos", "iscsi"] {
        add(Thing::Secret, text(volume, &format!("/{kind}/secretRef/name")));
    }
    add(Thing::Secret, text(volume, "/azureFile/secretName"));
    add(Thing::Secret, text(volume, "/csi/nodePublishSecretRef/name"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_names_many_things() {
        let pod = json!({
            "metadata": { "name": "p" },
            "spec": {
                "serviceAccountName": "a", "imagePullSecrets": [{ "name": "pull" }],
                "containers": [{ "envFrom": [{ "configMapRef": { "name": "c" } }],
                                 "env": [{ "valueFrom": { "secretKeyRef": { "name": "s" } } }] }],
                "volumes": [
                    { "name": "v", "ephemeral": {} },
                    { "projected": { "sources": [{ "secret": { "name": "s" } }, { "configMap": { "name": "root" } }] } },
                ],
            },
        });
        let (found, is_open) = references(&pod);
        let names: Vec<String> = found.iter().map(|(thing, name)| format!("{thing:?} {name}")).collect();
        assert_eq!(
            names,
            [
                "Account a",
                "Secret pull",
                "ConfigMap c",
                "Secret s",
                "Claim p-v",
                "ConfigMap root"
            ]
        );
        assert!(!is_open);
    }
}
