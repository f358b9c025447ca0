//! NetworkPolicy: which traffic pods allow.

use crate::{
    addresses::{self, Cidr},
    at::{At, each_mut, root},
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{self, list},
    selector,
};
use jiff::Timestamp;
use serde_json::{Value, json};

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
const POLICY_TYPES: &[&str] = &["Ingress", "Egress"];

/// `networking.k8s.io/v1` NetworkPolicy.
pub struct NetworkPolicy;

impl Kind for NetworkPolicy {
    const GROUP: &'static str = "networking.k8s.io";
    const KIND: &'static str = "NetworkPolicy";
    const PLURAL: &'static str = "networkpolicies";
    const SINGULAR: &'static str = "networkpolicy";
    const SHORT_NAMES: &'static [&'static str] = &["netpol"];
    const KEY: &'static str = "networkpolicies";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Pod-Selector", "string", "The labels of its pods."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::networking::v1::NetworkPolicy;

    fn default(policy: &mut Value) {
        read::set_default(policy, "spec", json!({}));
        let spec = &mut policy["spec"];
        read::set_default(spec, "podSelector", json!({}));
        if list(spec, "/policyTypes").is_empty() {
            let both = !list(spec, "/egress").is_empty();
            spec["policyTypes"] = if both {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
        }
        for direction in ["/ingress", "/egress"] {
            each_mut(spec, direction, |rule| {
                each_mut(rule, "/ports", |port| read::set_default(port, "protocol", "TCP"));
            });
        }
    }

    fn validate(policy: &Value) -> Vec<FieldError> {
        let spec = root(policy).child("spec");
        let mut errors = selector::check(&spec.child("podSelector"));
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec.items(direction) {
                rule.items("ports").iter().for_each(|at| port(at, &mut errors));
                rule.items(peers).iter().for_each(|at| peer(at, &mut errors));
            }
        }
        let types = spec.items("policyTypes");
        if types.len() > POLICY_TYPES.len() {
            errors.extend(spec.invalid("policyTypes", ["may not specify more than two policyTypes"]));
            return errors;
        }
        for word in types.iter().filter(|t| !POLICY_TYPES.contains(&t.as_text())) {
            errors.push(FieldError::not_supported(word.path(""), word.as_text(), POLICY_TYPES));
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
    }

    fn row(policy: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(policy).into(),
            selector::shown(policy.pointer("/spec/podSelector")).into(),
            metadata::age(policy, now).into(),
        ]
    }
}

fn port(at: &At<'_>, errors: &mut Vec<FieldError>) {
    errors.extend(at.one_of("protocol", PROTOCOLS));
    let end = at.some("endPort").map(|_| at.int("endPort"));
    match (at.child("port").value, end) {
        (Value::Null, Some(_)) => {
            errors.extend(at.invalid("endPort", ["may not be specified when `port` is not specified"]));
        }
        (Value::Null, None) => {}
        (Value::String(name), end) => {
            if end.is_some() {
                errors.extend(at.invalid("endPort", ["may not be specified when `port` is non-numeric"]));
            }
            errors.extend(at.invalid("port", names::port_name(name)));
        }
        (_, end) => {
            errors.extend(at.invalid("port", names::port(at.int("port"))));
            if let Some(end) = end {
                if end < at.int("port") {
                    // Upstream shows the port here, too.
                    let (shown, why) = (
                        at.child("port").value.clone(),
                        "must be greater than or equal to `port`",
                    );
                    errors.push(FieldError::invalid(at.path("endPort"), shown, why));
                }
                errors.extend(at.invalid("endPort", names::port(end)));
            }
        }
    }
}

fn peer(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let selectors: Vec<At<'_>> = ["podSelector", "namespaceSelector"]
        .iter()
        .filter_map(|member| at.some(member))
        .collect();
    selectors.iter().for_each(|at| errors.extend(selector::check(at)));
    let block = at.some("ipBlock");
    if let Some(at) = &block {
        ip_block(at, errors);
    }
    match (selectors.len(), block.is_some()) {
        (0, false) => errors.push(at.required("", "must specify a peer")),
        (1.., true) => errors.push(at.forbidden("", "may not specify both ipBlock and another peer")),
        _ => {}
    }
}

fn ip_block(at: &At<'_>, errors: &mut Vec<FieldError>) {
    if at.text("cidr").is_empty() {
        errors.push(at.required("cidr", ""));
        return;
    }
    errors.extend(addresses::check_legacy_cidr(&at.child("cidr")));
    let Some(whole) = Cidr::parse(at.text("cidr")) else {
        return;
    };
    for except in at.items("except") {
        errors.extend(addresses::check_legacy_cidr(&except));
        if let Some(part) = Cidr::parse(except.as_text())
            && (!whole.contains(part.first()) || whole.bits >= part.bits)
        {
            errors.extend(except.invalid("", ["must be a strict subset of `cidr`"]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_filled_in_as_upstream_does() {
        let mut policy = json!({ "spec": { "egress": [{ "ports": [{ "port": 53 }] }] } });
        NetworkPolicy::default(&mut policy);
        let expected = json!({ "spec": {
            "egress": [{ "ports": [{ "port": 53, "protocol": "TCP" }] }], "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
        } });
        assert_eq!(policy, expected);
        assert_eq!(NetworkPolicy::validate(&policy), []);
    }

    #[test]
    fn policies_are_judged_as_upstream() {
        let peer = |peer: Value| json!({ "spec": { "ingress": [{ "from": [peer] }] } });
        let port = |port: Value| json!({ "spec": { "ingress": [{ "ports": [port] }] } });
        for (policy, message) in [
            (
                peer(json!({})),
                "spec.ingress[0].from[0]: Required value: must specify a peer",
            ),
            (
                peer(json!({ "podSelector": {}, "ipBlock": { "cidr": "10.0.0.0/8" } })),
                "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
            ),
            (
                peer(json!({ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"] } })),
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
            ),
            (
                port(json!({ "endPort": 5 })),
                "spec.ingress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is not specified",
            ),
            (
                port(json!({ "port": 9, "endPort": 5 })),
                "spec.ingress[0].ports[0].endPort: Invalid value: 9: must be greater than or equal to `port`",
            ),
            (
                json!({ "spec": { "policyTypes": ["X"] } }),
                "spec.policyTypes[0]: Unsupported value: \"X\": supported values: \"Ingress\", \"Egress\"",
            ),
        ] {
            let messages: Vec<String> = NetworkPolicy::validate(&policy)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, [message], "{policy}");
        }
    }
}
