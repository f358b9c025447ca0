//! The Node itself: its own, without taints, owners and labels that would draw pods to it.

use super::Asked;
use api::read;
use api::status::Status;
use serde_json::Value;
use std::collections::BTreeSet;

/// Labels of Kubernetes that a node may write on itself (upstream `kubeletLabels`).
const OWN_LABELS: [&str; 13] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/disk-zone",
    // Beyond upstream, whose installers write it: our machines say in their config what they are.
    "node-role.kubernetes.io/control-plane",
];
/// Whole name spaces of such labels (upstream `kubeletLabelNamespaces`).
const OWN_SPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Labels that only administrators write.
const RESTRICTED: &str = "node-restriction.kubernetes.io";

pub(super) fn admit(asked: &Asked<'_>) -> Result<(), Status> {
    let node = asked.node;
    if asked.name != node {
        return asked.refuse(format!("node {node:?} is not allowed to modify node {:?}", asked.name));
    }
    let Some(new) = asked.object else { return Ok(()) };
    let Some(old) = asked.old else {
        let set = forbidden(labels(new, &Value::Null));
        return if set.is_empty() {
            Ok(())
        } else {
            asked.refuse(format!(
                "node {node:?} is not allowed to set the following labels: {set}"
            ))
        };
    };
    let differs = |pointer: &str| read::list(new, pointer) != read::list(old, pointer);
    if differs("/spec/taints") {
        return asked.refuse(format!("node {node:?} is not allowed to modify taints"));
    }
    if differs("/metadata/ownerReferences") {
        return asked.refuse(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let changed = forbidden(labels(new, old));
    if !changed.is_empty() {
        return asked.refuse(format!("node {node:?} is not allowed to modify labels: {changed}"));
    }
    Ok(())
}

/// The labels that were set, changed or taken away.
fn labels<'a>(new: &'a Value, old: &'a Value) -> BTreeSet<&'a str> {
    let of = |node: &'a Value| read::entries(node, "/metadata/labels");
    let value = |node: &Value, key: &str| node.get("metadata")?.get("labels")?.get(key).cloned();
    of(new)
        .chain(of(old))
        .map(|(key, _)| key)
        .filter(|key| value(new, key) != value(old, key))
        .collect()
}

fn forbidden(labels: BTreeSet<&str>) -> String {
    let forbidden: Vec<&str> = labels.into_iter().filter(|label| is_forbidden(label)).collect();
    forbidden.join(", ")
}

fn is_forbidden(label: &str) -> bool {
    let Some((space, _)) = label.split_once('/') else {
        return false;
    };
    let is_below = |root: &str| space == root || space.strip_suffix(root).is_some_and(|head| head.ends_with('.'));
    if is_below(RESTRICTED) {
        return true;
    }
    let is_upstreams = is_below("kubernetes.io") || is_below("k8s.io");
    is_upstreams && !OWN_LABELS.contains(&label) && !OWN_SPACES.iter().any(|root| is_below(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_draw_pods_are_for_administrators() {
        for (label, expected) in [
            ("zone", false),
            ("example.com/zone", false),
            ("kubernetes.io/os", false),
            ("foo.kubelet.kubernetes.io/a", false),
            ("node-restriction.kubernetes.io/a", true),
            ("x.node-restriction.kubernetes.io/a", true),
            ("node-role.kubernetes.io/worker", true),
            ("kubernetes.io/anything", true),
        ] {
            assert_eq!(is_forbidden(label), expected, "{label}");
        }
    }
}
