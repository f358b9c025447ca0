//! Node: a machine that runs pods.

use super::pod;
use crate::{
    addresses,
    at::root,
    field::FieldError,
    kind::{Column, Kind, SelectableField, Subresource},
    metadata, names,
    quantity::Quantity,
    read::{self, entries, flag, list, text},
};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `v1` Node.
pub struct Node;

impl Kind for Node {
    const KIND: &'static str = "Node";
    const PLURAL: &'static str = "nodes";
    const SINGULAR: &'static str = "node";
    const SHORT_NAMES: &'static [&'static str] = &["no"];
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource::proxy("NodeProxyOptions"),
        Subresource::status("", "v1", "Node"),
    ];
    const STATUS_ON_CREATE: bool = true;
    const KEY: &'static str = "nodes";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow(
            "Status",
            "string",
            "Whether it is ready, and whether pods may be placed there.",
        ),
        Column::narrow("Roles", "string", "Its roles."),
        Column::AGE,
        Column::narrow("Version", "string", "The version of its agent."),
        Column::wide("Internal-IP", "string", "Its address inside the cluster."),
        Column::wide("External-IP", "string", "Its address outside."),
        Column::wide("OS-Image", "string", "Its operating system."),
        Column::wide("Kernel-Version", "string", "Its kernel."),
        Column::wide("Container-Runtime", "string", "What runs its containers."),
    ];
    const FIELDS: &'static [SelectableField] = &[SelectableField {
        label: "spec.unschedulable",
        read: |node| flag(node, "/spec/unschedulable").to_string(),
    }];
    type Object = k8s_openapi::api::core::v1::Node;

    fn default(node: &mut Value) {
        // The old field and the first of the new one are the same.
        if let Some(spec) = node.get_mut("spec") {
            let (one, first) = (text(spec, "/podCIDR").to_owned(), text(spec, "/podCIDRs/0").to_owned());
            if one.is_empty() && !first.is_empty() {
                spec["podCIDR"] = first.into();
            } else if first.is_empty() && !one.is_empty() {
                spec["podCIDRs"] = vec![one].into();
            }
        }
        let capacity = read::some(node, "/status/capacity").cloned();
        if let (Some(status), Some(capacity)) = (node.get_mut("status"), capacity) {
            read::set_default(status, "allocatable", capacity);
        }
    }

    fn validate(node: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        taints(node, &mut errors);
        errors.extend(resources(node));
        let cidrs = root(node).child("spec").items("podCIDRs");
        errors.extend(cidrs.iter().flat_map(addresses::check_legacy_cidr));
        let families: HashSet<bool> = cidrs.iter().map(|cidr| cidr.as_text().contains(':')).collect();
        if cidrs.len() > 2 || families.len() < cidrs.len() {
            let why = "may specify no more than one CIDR for each IP family";
            errors.extend(root(node).child("spec").invalid("podCIDRs", [why]));
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let mut errors = resources(new);
        let mut seen = HashSet::new();
        for (index, address) in list(new, "/status/addresses").iter().enumerate() {
            if !seen.insert(address.to_string()) {
                let field = format!("status.addresses[{index}]");
                errors.push(FieldError::duplicate(field, address.clone()));
            }
        }
        for member in ["podCIDRs", "providerID"] {
            let pointer = format!("/spec/{member}");
            if let Some(before) = read::some(old, &pointer)
                && read::some(new, &pointer) != Some(before)
            {
                let word = if member == "podCIDRs" { "podCIDR" } else { member };
                let why = format!("node updates may not change {word} except from \"\" to valid");
                errors.push(FieldError::forbidden(format!("spec.{member}"), why));
            }
        }
        taints(new, &mut errors);
        errors
    }

    fn row(node: &Value, now: Timestamp) -> Vec<Value> {
        let or = |text: &str, none: &str| Value::from(if text.is_empty() { none } else { text });
        let address = |kind: &str| {
            let all = list(node, "/status/addresses");
            or(
                all.iter()
                    .find(|a| text(a, "/type") == kind)
                    .map_or("", |a| text(a, "/address")),
                "<none>",
            )
        };
        let info = |member: &str| or(text(node, &format!("/status/nodeInfo/{member}")), "<unknown>");
        vec![
            metadata::name(node).into(),
            status(node).into(),
            roles(node).into(),
            metadata::age(node, now).into(),
            text(node, "/status/nodeInfo/kubeletVersion").into(),
            address("InternalIP"),
            address("ExternalIP"),
            info("osImage"),
            info("kernelVersion"),
            info("containerRuntimeVersion"),
        ]
    }
}

/// How much of each resource it has, and gives to pods.
fn resources(node: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for part in ["capacity", "allocatable"] {
        for (resource, amount) in entries(node, &format!("/status/{part}")) {
            if let Some(amount) = Quantity::of(amount) {
                errors.extend(pod::resource_amount(
                    resource,
                    amount,
                    &format!("status.{part}.{resource}"),
                ));
            }
        }
    }
    errors
}

/// Upstream names them as if they were in the metadata.
fn taints(node: &Value, errors: &mut Vec<FieldError>) {
    let mut seen = HashSet::new();
    for (index, taint) in list(node, "/spec/taints").iter().enumerate() {
        let path = format!("metadata.taints[{index}]");
        let (key, value, effect) = (text(taint, "/key"), text(taint, "/value"), text(taint, "/effect"));
        let wrong = names::qualified_name(key);
        errors.extend(
            wrong
                .into_iter()
                .map(|m| FieldError::invalid(format!("{path}.key"), key, m)),
        );
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(format!("{path}.value"), value, wrong.join(";")));
        }
        match effect {
            "" => errors.push(FieldError::required(format!("{path}.effect"), "")),
            known if EFFECTS.contains(&known) => {}
            other => errors.push(FieldError::not_supported(format!("{path}.effect"), other, EFFECTS)),
        }
        if !seen.insert((key, effect)) {
            errors.push(FieldError {
                detail: "taints must be unique by key and effect pair".to_owned(),
                ..FieldError::duplicate(&path, taint.clone())
            });
        }
    }
}

fn status(node: &Value) -> String {
    let ready = list(node, "/status/conditions")
        .iter()
        .find(|c| text(c, "/type") == "Ready");
    let ready = match ready.map(|c| text(c, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if flag(node, "/spec/unschedulable") {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

fn roles(node: &Value) -> String {
    let labels = entries(node, "/metadata/labels");
    let role = |(key, value): (&str, &'_ Value)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) => Some(role.to_owned()),
        None if key == ROLE_LABEL => value.as_str().map(str::to_owned),
        None => None,
    };
    let roles: BTreeSet<String> = labels.filter_map(role).filter(|r| !r.is_empty()).collect();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.into_iter().collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_read_as_upstream_prints_them() {
        let now: Timestamp = "2026-01-03T00:00:00Z".parse().expect("it is a time");
        let node = json!({
            "metadata": { "name": "n", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": { "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "" } },
            "spec": { "unschedulable": true },
            "status": {
                "conditions": [{ "type": "Ready", "status": "True" }],
                "addresses": [{ "type": "Hostname", "address": "n" }, { "type": "InternalIP", "address": "10.0.0.1" }],
                "nodeInfo": { "kubeletVersion": "v1.36.0", "osImage": "Pintle" },
            },
        });
        let cells = json!([
            "n",
            "Ready,SchedulingDisabled",
            "control-plane,worker",
            "2d",
            "v1.36.0",
            "10.0.0.1",
            "<none>",
            "Pintle",
            "<unknown>",
            "<unknown>"
        ]);
        assert_eq!(Value::from(Node::row(&node, now)), cells);
        assert_eq!(Node::row(&json!({}), now)[1], "Unknown");
    }

    #[test]
    fn taints_are_unique_and_the_pod_range_stays() {
        let taint = json!({ "key": "k", "effect": "NoSchedule" });
        let errors =
            Node::validate(&json!({ "spec": { "taints": [taint, taint, { "key": "k", "effect": "Maybe" }] } }));
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["metadata.taints[1]", "metadata.taints[2].effect"]);
        let odd = json!({ "spec": { "podCIDRs": ["10.1.0.0/24", "x"] }, "status": { "capacity": { "pods": "1500m", "cpu": "-1" } } });
        let said: Vec<String> = Node::validate(&odd).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "status.capacity.pods: Invalid value: \"1500m\": must be an integer",
                "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                "spec.podCIDRs[1]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                "spec.podCIDRs: Invalid value: [\"10.1.0.0/24\",\"x\"]: may specify no more than one CIDR for each IP family",
            ]
        );
        let range = |range: &str| json!({ "spec": { "podCIDRs": [range] } });
        assert!(Node::validate_update(&range("10.1.0.0/24"), &json!({}), "").is_empty());
        let errors = Node::validate_update(&range("10.1.0.0/24"), &range("10.2.0.0/24"), "");
        assert_eq!(
            errors[0].to_string(),
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"
        );
    }
}
