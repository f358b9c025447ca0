//! The node authorizer: a node reads what the pods on it refer to, and writes about itself; what an object says is judged by
//! the admission plugin NodeRestriction (upstream plugin/pkg/auth/authorizer/node).

use super::graph::{Graph, Thing};
use super::rule::Rule;
use super::{Asked, Attributes, Decision, Resource, policy};
use api::read::text;
use serde_json::Value;
use std::sync::{LazyLock, Mutex};
use store::Store;

/// Where the nodes' leases are.
const LEASES: &str = "kube-node-lease";

/// What every node may do, whatever runs on it.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| policy::rules_of("system:node"));

pub(super) struct Nodes {
    store: Store,
    /// None until a node asks for the first time.
    graph: Mutex<Option<Graph>>,
}

// === impl Nodes ===

impl Nodes {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            graph: Mutex::new(None),
        }
    }

    /// Whether `node` may do what is asked.
    pub(super) fn allows(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        let (verb, resource) = match &asked.asked {
            Asked::Resource(resource) => (asked.verb, resource),
            Asked::Path(_) => return Decision::default(),
        };
        match (resource.group, resource.resource) {
            ("", "secrets") => self.secret(node, verb, resource),
            ("", "configmaps") => self.read(node, Thing::ConfigMap, verb, resource),
            ("", "persistentvolumeclaims") if resource.subresource == "status" => {
                if matches!(verb, "update" | "patch") {
                    self.relation(node, Thing::Claim, resource)
                } else {
                    Decision::no("can only get/update/patch this type")
                }
            }
            ("", "persistentvolumeclaims") => self.get(node, Thing::Claim, verb, resource),
            ("resource.k8s.io", "resourceclaims") => self.get(node, Thing::ResourceClaim, verb, resource),
            ("", "persistentvolumes") => only_get(verb, resource).unwrap_or_else(|| self.volume(node, resource)),
            ("storage.k8s.io", "volumeattachments") => {
                only_get(verb, resource).unwrap_or_else(|| self.attachment(node, resource))
            }
            ("", "serviceaccounts") => self.account(node, verb, resource),
            ("coordination.k8s.io", "leases") => lease(node, verb, resource),
            ("storage.k8s.io", "csinodes") => csi_node(node, verb, resource),
            ("resource.k8s.io", "resourceslices") => self.slice(node, verb, resource),
            ("", "nodes") => own_node(node, verb, resource),
            ("", "pods") => self.pod(node, verb, resource),
            _ if RULES.iter().any(|rule| rule.allows(asked)) => Decision::yes(),
            _ => Decision::default(),
        }
    }

    fn graph<T>(&self, look: impl FnOnce(&Graph) -> T) -> T {
        let mut graph = self
            .graph
            .lock()
            .expect("the graph is whole because nobody panics while holding it");
        let graph = graph.get_or_insert_with(|| Graph::begin(&self.store));
        graph.refresh(&self.store);
        look(graph)
    }

    fn read(&self, node: &str, thing: Thing, verb: &str, resource: &Resource<'_>) -> Decision {
        if !matches!(verb, "get" | "list" | "watch") {
            Decision::no("can only read resources of this type")
        } else if !resource.subresource.is_empty() {
            Decision::no("cannot read subresource")
        } else if resource.namespace.is_empty() {
            Decision::no("can only read namespaced object of this type")
        } else {
            self.relation(node, thing, resource)
        }
    }

    fn get(&self, node: &str, thing: Thing, verb: &str, resource: &Resource<'_>) -> Decision {
        only_get(verb, resource).unwrap_or_else(|| self.relation(node, thing, resource))
    }

    fn relation(&self, node: &str, thing: Thing, resource: &Resource<'_>) -> Decision {
        if resource.name.is_empty() {
            return Decision::no("No Object name found");
        }
        related(
            node,
            self.graph(|graph| graph.relates(node, thing, resource.namespace, resource.name)),
        )
    }

    /// A secret is a node's if a pod on it names it, or a volume that such a pod has claimed.
    fn secret(&self, node: &str, verb: &str, resource: &Resource<'_>) -> Decision {
        let decision = self.read(node, Thing::Secret, verb, resource);
        let may_be_a_volumes = verb == "get" && resource.subresource.is_empty() && !resource.name.is_empty();
        if decision.allowed || !may_be_a_volumes {
            return decision;
        }
        let claims = self.graph(|graph| {
            let claims = graph.claims(node).into_iter();
            claims
                .map(|(namespace, claim)| format!("persistentvolumeclaims/{namespace}/{claim}"))
                .collect::<Vec<_>>()
        });
        let is_named = |claim: &String| {
            let volume = self
                .object(claim)
                .map(|claim| text(&claim, "/spec/volumeName").to_owned());
            let volume = volume.and_then(|name| self.object(&format!("persistentvolumes/{name}")));
            volume.is_some_and(|volume| names_secret(&volume, resource.namespace, resource.name))
        };
        if claims.iter().any(is_named) {
            Decision::yes()
        } else {
            decision
        }
    }

    /// A volume is a node's if a claim of one of its pods is bound to it.
    fn volume(&self, node: &str, resource: &Resource<'_>) -> Decision {
        let is_used = self.graph(|graph| {
            graph.claims(node).iter().any(|(namespace, claim)| {
                let claim = self.object(&format!("persistentvolumeclaims/{namespace}/{claim}"));
                claim.is_some_and(|claim| text(&claim, "/spec/volumeName") == resource.name)
            })
        });
        related(node, is_used)
    }

    fn attachment(&self, node: &str, resource: &Resource<'_>) -> Decision {
        let attachment = self.object(&format!("volumeattachments/{}", resource.name));
        related(
            node,
            attachment.is_some_and(|attachment| text(&attachment, "/spec/nodeName") == node),
        )
    }

    fn account(&self, node: &str, verb: &str, resource: &Resource<'_>) -> Decision {
        let is_for_one = !resource.name.is_empty();
        match (verb, resource.subresource) {
            ("create", "token") if is_for_one => self.relation(node, Thing::Account, resource),
            // Credential providers for images read the account of the pod.
            ("get", "") if is_for_one => self.relation(node, Thing::Account, resource),
            ("create", _) if is_for_one => Decision::no("can only create token subresource of serviceaccount"),
            _ => Decision::no("can only create tokens for individual service accounts"),
        }
    }

    fn slice(&self, node: &str, verb: &str, resource: &Resource<'_>) -> Decision {
        match verb {
            _ if !resource.subresource.is_empty() => Decision::no("cannot authorize ResourceSlice subresources"),
            "create" => Decision::yes(),
            "get" | "update" | "patch" | "delete" => {
                let slice = self.object(&format!("resourceslices/{}", resource.name));
                related(node, slice.is_some_and(|slice| text(&slice, "/spec/nodeName") == node))
            }
            "watch" | "list" | "deletecollection" if resource.field("spec.nodeName") == Some(node) => Decision::yes(),
            "watch" | "list" | "deletecollection" => {
                Decision::no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => Decision::no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn pod(&self, node: &str, verb: &str, resource: &Resource<'_>) -> Decision {
        let own = || {
            related(
                node,
                self.graph(|graph| graph.has(node, resource.namespace, resource.name)),
            )
        };
        match (resource.subresource, verb) {
            ("", "get") => own(),
            ("", "list" | "watch") if resource.field("spec.nodeName") == Some(node) => Decision::yes(),
            ("", "list" | "watch") if !resource.name.is_empty() => own(),
            ("", "list" | "watch") => Decision::no("can only list/watch pods with spec.nodeName field selector"),
            // NodeRestriction limits these to the node's own pods.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Decision::yes(),
            _ => Decision::default(),
        }
    }

    fn object(&self, key: &str) -> Option<Value> {
        let entry = self.store.get(key)?;
        serde_json::from_slice(&entry.value).ok()
    }
}

/// Whether a storage driver needs the secret on the node (upstream: persistentvolume.VisitPVSecretNames, without the controller's).
fn names_secret(volume: &Value, namespace: &str, name: &str) -> bool {
    let references = ["nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];
    references.iter().any(|reference| {
        let of = |field: &str| text(volume, &format!("/spec/csi/{reference}/{field}")).to_owned();
        of("name") == name && of("namespace") == namespace
    })
}

fn related(node: &str, is_related: bool) -> Decision {
    if is_related {
        Decision::yes()
    } else {
        Decision::no(format!("no relationship found between node '{node}' and this object"))
    }
}

fn only_get(verb: &str, resource: &Resource<'_>) -> Option<Decision> {
    if verb != "get" {
        Some(Decision::no("can only get individual resources of this type"))
    } else if !resource.subresource.is_empty() {
        Some(Decision::no("cannot get subresource"))
    } else {
        None
    }
}

fn lease(node: &str, verb: &str, resource: &Resource<'_>) -> Decision {
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        return Decision::no("can only get, create, update, patch, or delete a node lease");
    }
    if resource.namespace != LEASES {
        return Decision::no(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    // The name of a new one is in its body, which NodeRestriction reads.
    if verb != "create" && resource.name != node {
        return Decision::no("can only access node lease with the same name as the requesting node");
    }
    Decision::yes()
}

fn csi_node(node: &str, verb: &str, resource: &Resource<'_>) -> Decision {
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        Decision::no("can only get, create, update, patch, or delete a CSINode")
    } else if !resource.subresource.is_empty() {
        Decision::no("cannot authorize CSINode subresources")
    } else if verb != "create" && resource.name != node {
        Decision::no("can only access CSINode with the same name as the requesting node")
    } else {
        Decision::yes()
    }
}

fn own_node(node: &str, verb: &str, resource: &Resource<'_>) -> Decision {
    match (resource.subresource, verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Decision::yes(),
        ("", "get" | "list" | "watch") => match resource.name {
            name if name == node => Decision::yes(),
            "" => Decision::no(format!("node '{node}' cannot read all nodes, only its own Node object")),
            name => Decision::no(format!("node '{node}' cannot read '{name}', only its own Node object")),
        },
        _ => Decision::default(),
    }
}
