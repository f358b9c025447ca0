//! Whether the node has what a pod asks for and is one that the pod may be on: what the scheduler looked at, looked at again,
//! since pods may be bound by others (upstream: pkg/kubelet/lifecycle/predicate.go).

use super::Rejection;
use crate::pods::plan::requests::Amounts;
use crate::pods::plan::wanted;
use api::tolerations::tolerates;
use k8s_openapi::api::core::v1::{ContainerPort, Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec};
use std::collections::BTreeMap;

/// One thing that is not as the pod wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Too little of a resource; thousandths of CPUs, ones of all others.
    Insufficient {
        /// Which.
        resource: String,
        /// So much is asked for.
        requested: i64,
        /// So much others have.
        used: i64,
        /// So much there is.
        capacity: i64,
    },
    /// Something else.
    Predicate {
        /// Upstream's name of the rule.
        name: &'static str,
        /// Upstream's words.
        why: &'static str,
    },
}

// === impl Failure ===

impl Failure {
    /// A reason and a sentence for the pod's status.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::Insufficient {
                resource,
                requested,
                used,
                capacity,
            } => (
                format!("OutOf{resource}"),
                format!(
                    "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
                ),
            ),
            Self::Predicate { name, why } => ((*name).to_owned(), format!("Predicate {name} failed: {why}")),
        }
    }

    /// How much more there would have to be.
    pub fn lacking(&self) -> Option<(&str, i64)> {
        match self {
            Self::Insufficient {
                resource,
                requested,
                used,
                capacity,
            } => Some((resource, requested - (capacity - used))),
            Self::Predicate { .. } => None,
        }
    }
}

/// What of the pod's requests the node does not have any more: pods, CPU, memory, disk, then everything else. What the node
/// says nothing of is somebody else's to give.
pub fn resources(asked: &Amounts, used: &Amounts, capacity: &Amounts) -> Vec<Failure> {
    let order = ["pods", "cpu", "memory", "ephemeral-storage"];
    let asked_for = |name: &str| match name {
        "pods" => 1,
        name => asked.get(name).copied().unwrap_or(0),
    };
    let others = asked.keys().map(String::as_str).filter(|name| !order.contains(name));
    let names = order.into_iter().chain(others);
    let failures = names.filter_map(|name| {
        let (requested, capacity) = (asked_for(name), *capacity.get(name)?);
        let used = used.get(name).copied().unwrap_or(0);
        (requested > 0 && requested.saturating_add(used) > capacity).then(|| Failure::Insufficient {
            resource: name.to_owned(),
            requested,
            used,
            capacity,
        })
    });
    failures.collect()
}

/// What about the node is not as the pod wants it. `node`: nothing while nobody knows it.
pub fn node(pod: &Pod, spec: &PodSpec, node: Option<&Node>, name: &str) -> Option<Failure> {
    let failed = |name, why| Some(Failure::Predicate { name, why });
    if node.is_some_and(|node| !is_selected(spec, node, name)) {
        return failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    }
    if spec.node_name.as_deref().is_some_and(|wanted| wanted != name) {
        return failed("NodeName", "node(s) didn't match the requested node name");
    }
    let taints = node.and_then(|node| node.spec.as_ref()?.taints.as_ref());
    let mut expelling = taints.into_iter().flatten().filter(|taint| taint.effect == "NoExecute");
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let is_static = super::is_static(pod);
    if expelling.any(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint))) && !is_static {
        return failed("TaintToleration", "node(s) had taints that the pod didn't tolerate");
    }
    None
}

/// Whether a port of the machine that the pod wants is taken by another pod.
pub fn ports<'a>(spec: &PodSpec, others: impl Iterator<Item = &'a PodSpec> + Clone) -> Option<Failure> {
    let taken = wanted(spec).any(|port| others.clone().flat_map(wanted).any(|other| clashes(port, other)));
    taken.then_some(Failure::Predicate {
        name: "NodePorts",
        why: "node(s) didn't have free ports for the requested pod ports",
    })
}

fn clashes(a: &ContainerPort, b: &ContainerPort) -> bool {
    let address = |port: &ContainerPort| port.host_ip.clone().filter(|ip| !ip.is_empty() && ip != "0.0.0.0");
    let protocol = |port: &ContainerPort| port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let meet = address(a).is_none() || address(b).is_none() || address(a) == address(b);
    a.host_port == b.host_port && protocol(a) == protocol(b) && meet
}

fn is_selected(spec: &PodSpec, node: &Node, name: &str) -> bool {
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let mut selector = spec.node_selector.iter().flatten();
    let required = || {
        let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
        affinity.required_during_scheduling_ignored_during_execution.as_ref()
    };
    selector.all(|(key, value)| labels.get(key) == Some(value))
        && required().is_none_or(|required| {
            let mut terms = required.node_selector_terms.iter();
            terms.any(|term| matches(term, name, labels))
        })
}

fn matches(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let (by_label, by_field) = (term.match_expressions.as_deref(), term.match_fields.as_deref());
    let (by_label, by_field) = (by_label.unwrap_or_default(), by_field.unwrap_or_default());
    !(by_label.is_empty() && by_field.is_empty())
        && by_label
            .iter()
            .all(|label| holds(label, labels.get(&label.key).map(String::as_str)))
        && by_field
            .iter()
            .all(|field| field.key == "metadata.name" && holds(field, Some(name)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_listed = || value.is_some_and(|value| values.iter().any(|listed| listed == value));
    let compared = || {
        let bound = values.first()?.parse::<i64>().ok()?;
        Some(value?.parse::<i64>().ok()?.cmp(&bound))
    };
    match requirement.operator.as_str() {
        "In" => is_listed(),
        "NotIn" => !is_listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        // The API server stores no other.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn amounts(list: Value) -> Amounts {
        serde_json::from_value(list).unwrap()
    }

    fn spec(mut spec: Value) -> PodSpec {
        if spec["containers"].is_null() {
            spec["containers"] = json!([{"name": "a"}]);
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_is_not_there_is_said_in_upstreams_words_and_order() {
        let capacity = amounts(json!({"cpu": 2000, "memory": 1 << 30, "pods": 2, "hugepages-2Mi": 0}));
        let said = |asked: Value, used: Value| -> Vec<Rejection> {
            let failures = resources(&amounts(asked), &amounts(used), &capacity);
            failures.iter().map(Failure::rejection).collect()
        };
        assert!(said(json!({"cpu": 1500, "memory": 1}), json!({"cpu": 500, "pods": 1})).is_empty());
        let out = |reason: &str, rest: &str| {
            (
                format!("OutOf{reason}"),
                format!("Node didn't have enough resource: {reason}, {rest}"),
            )
        };
        assert_eq!(
            said(
                json!({"cpu": 1501, "memory": 1}),
                json!({"cpu": 500, "pods": 2, "memory": 1 << 30})
            ),
            [
                out("pods", "requested: 1, used: 2, capacity: 2"),
                out("cpu", "requested: 1501, used: 500, capacity: 2000"),
                out("memory", "requested: 1, used: 1073741824, capacity: 1073741824"),
            ]
        );
        // Of what the node never heard it cannot say that it lacks it.
        assert!(said(json!({"example.com/gpu": 1}), json!({})).is_empty());
        assert_eq!(
            said(json!({"hugepages-2Mi": 2 << 20}), json!({}))[0].0,
            "OutOfhugepages-2Mi"
        );
    }

    #[test]
    fn the_node_must_be_one_that_the_pod_may_be_on() {
        let here: Node = serde_json::from_value(
            json!({"metadata": {"name": "n", "labels": {"disk": "ssd", "rank": "5"}},
            "spec": {"taints": [{"key": "gone", "effect": "NoExecute"}, {"key": "soon", "effect": "NoSchedule"}]}}),
        )
        .unwrap();
        let term = |key: &str, operator: &str, values: Value| {
            let terms = json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]);
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
        };
        let cases = [
            (json!({"nodeSelector": {"disk": "ssd"}}), None),
            (json!({"nodeSelector": {"disk": "hdd"}}), Some("NodeAffinity")),
            (json!({"affinity": term("rank", "Gt", json!(["4"]))}), None),
            (
                json!({"affinity": term("rank", "Gt", json!(["5"]))}),
                Some("NodeAffinity"),
            ),
            (
                json!({"affinity": term("disk", "NotIn", json!(["ssd"]))}),
                Some("NodeAffinity"),
            ),
            (json!({"nodeName": "other"}), Some("NodeName")),
            (json!({"tolerations": []}), Some("TaintToleration")),
        ];
        let tolerant = json!([{"key": "gone", "operator": "Exists", "effect": "NoExecute"}]);
        for (mut given, expected) in cases {
            if given["tolerations"].is_null() {
                given["tolerations"] = tolerant.clone();
            }
            let failure = node(&Pod::default(), &spec(given.clone()), Some(&here), "n");
            assert_eq!(
                failure.map(|failure| failure.rejection().0),
                expected.map(str::to_owned),
                "{given}"
            );
        }
    }

    #[test]
    fn a_port_of_the_machine_is_given_once() {
        let with = |port: Value| spec(json!({"containers": [{"name": "a", "ports": [port]}]}));
        let other = with(json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1", "protocol": "TCP"}));
        let cases = [
            (json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}), true),
            (
                json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.2"}),
                false,
            ),
            (json!({"containerPort": 80, "hostPort": 80, "protocol": "UDP"}), false),
            (json!({"containerPort": 80}), false),
        ];
        for (port, clash) in cases {
            let failure = ports(&with(port.clone()), [&other].into_iter());
            assert_eq!(failure.is_some(), clash, "{port}");
        }
    }
}
