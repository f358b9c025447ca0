//! NodeRestriction: a node writes to itself, to its lease and to the pods that run on it, to nothing else.

use crate::call::Call;
use api::status::{self, Status};
use api::{metadata, read};
use serde_json::Value;

/// Where the nodes' leases are.
const LEASES: &str = "kube-node-lease";
/// Written on pods that a node made itself.
const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn admit(call: &Call, object: Option<&Value>, old: Option<&Value>) -> Result<(), Status> {
    let Some(node) = call.user.node() else { return Ok(()) };
    let name = if call.name.is_empty() {
        object.map_or("", metadata::name)
    } else {
        &call.name
    };
    let refuse = |why: String| Err(status::forbidden(&call.rules, name, &why));
    match call.rules.key {
        "nodes" if name != node => refuse(format!("node {node:?} is not allowed to modify node {name:?}")),
        "leases" if call.namespace != LEASES => refuse(format!(
            "node {node:?} can only access leases in the {LEASES:?} system namespace"
        )),
        "leases" if name != node => refuse(format!(
            "node {node:?} can only access node lease with the same name as the requesting node"
        )),
        "pods" => match old {
            None => {
                let mirror = object.is_some_and(|pod| {
                    pod.pointer("/metadata/annotations")
                        .and_then(|annotations| annotations.get(MIRROR))
                        .is_some()
                });
                if mirror {
                    Ok(())
                } else {
                    refuse(format!(
                        "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
                    ))
                }
            }
            Some(pod) if read::text(pod, "/spec/nodeName") != node => {
                let what = if object.is_none() {
                    "delete pods"
                } else {
                    "update pod status for pods"
                };
                refuse(format!(
                    "node {node:?} can only {what} with spec.nodeName set to itself"
                ))
            }
            Some(_) => Ok(()),
        },
        _ => Ok(()),
    }
}
