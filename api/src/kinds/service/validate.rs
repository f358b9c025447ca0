//! What is wrong with a Service (core `validation.ValidateService`).

use super::carry;
use crate::{
    at::root,
    field::FieldError,
    metadata, names,
    read::{int, list, some, text},
};
use serde_json::{Value, json};
use std::collections::HashSet;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub(super) fn validate(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = text(service, "/spec/type");
    let headless = text(service, "/spec/clusterIP") == "None";
    if list(service, "/spec/ports").is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    by_type(service, kind, headless, &mut errors);
    ports(service, kind, &mut errors);
    errors.extend(metadata::labels(service.pointer("/spec/selector"), "spec.selector"));
    word(service, "sessionAffinity", &["ClientIP", "None"], &mut errors);
    if !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported("spec.type", kind, TYPES));
    }
    if some(service, "/spec/internalTrafficPolicy").is_some() {
        word(service, "internalTrafficPolicy", &["Cluster", "Local"], &mut errors);
    }
    errors.extend(extras(service, kind));
    for (index, ip) in list(service, "/spec/externalIPs").iter().enumerate() {
        let wrong = names::ip(ip.as_str().unwrap_or_default());
        errors.extend(
            wrong
                .into_iter()
                .map(|m| FieldError::invalid(format!("spec.externalIPs[{index}]"), ip.clone(), m)),
        );
    }
    errors
}

fn word(service: &Value, member: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    match text(service, &format!("/spec/{member}")) {
        "" => errors.push(FieldError::required(format!("spec.{member}"), "")),
        word if known.contains(&word) => {}
        word => errors.push(FieldError::not_supported(format!("spec.{member}"), word, known)),
    }
}

fn by_type(service: &Value, kind: &str, headless: bool, errors: &mut Vec<FieldError>) {
    match kind {
        "ExternalName" => {
            for member in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if some(service, &format!("/spec/{member}")).is_some() {
                    let why = "may not be set for ExternalName services";
                    errors.push(FieldError::forbidden(format!("spec.{member}"), why));
                }
            }
            match text(service, "/spec/externalName") {
                "" => errors.push(FieldError::required("spec.externalName", "")),
                name => {
                    let wrong = names::dns1123_subdomain(name.trim_end_matches('.'));
                    errors.extend(
                        wrong
                            .into_iter()
                            .map(|m| FieldError::invalid("spec.externalName", name, m)),
                    );
                }
            }
        }
        "LoadBalancer" | "NodePort" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid("spec.clusterIPs[0]", "None", why));
        }
        _ => {}
    }
    errors.extend(super::addresses::check(service));
}

/// What goes with traffic from outside, with load balancers and with affinity, and only with them.
fn extras(service: &Value, kind: &str) -> Vec<FieldError> {
    let spec = root(service).child("spec");
    let mut errors = Vec::new();
    let policies = ["Cluster", "Local"];
    if carry::is_reached_from_outside(spec.value) {
        errors.extend(spec.must_be_one_of("externalTrafficPolicy", &policies));
    } else if !spec.text("externalTrafficPolicy").is_empty() {
        errors.extend(spec.invalid(
            "externalTrafficPolicy",
            ["may only be set for externally-accessible services"],
        ));
    }
    let port = spec.int("healthCheckNodePort");
    if !carry::has_health_check(spec.value) {
        if port != 0 {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.extend(spec.invalid("healthCheckNodePort", [why]));
        }
    } else if port == 0 {
        errors.push(spec.required("healthCheckNodePort", ""));
    } else {
        errors.extend(spec.invalid("healthCheckNodePort", names::port(port)));
    }
    if kind != "LoadBalancer" {
        for member in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if spec.has(member) {
                errors.push(spec.forbidden(member, "may only be used when `type` is 'LoadBalancer'"));
            }
        }
    }
    let client = spec.child("sessionAffinityConfig").child("clientIP");
    if spec.text("sessionAffinity") == "ClientIP" && !(1..=86400).contains(&client.int("timeoutSeconds")) {
        let why = "must be greater than 0 and less than or equal to 86400";
        errors.extend(client.invalid("timeoutSeconds", [why]));
    }
    errors
}

fn ports(service: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let ports = list(service, "/spec/ports");
    let (mut seen_names, mut seen, mut seen_outside) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let (name, protocol, number) = (text(port, "/name"), text(port, "/protocol"), int(port, "/port"));
        match name {
            "" if ports.len() > 1 => errors.push(FieldError::required(format!("{path}.name"), "")),
            "" => {}
            name => {
                let wrong = names::dns1123_label(name);
                errors.extend(
                    wrong
                        .into_iter()
                        .map(|m| FieldError::invalid(format!("{path}.name"), name, m)),
                );
                if !seen_names.insert(name) {
                    errors.push(FieldError::duplicate(format!("{path}.name"), name));
                }
            }
        }
        errors.extend(
            names::port(number)
                .into_iter()
                .map(|m| FieldError::invalid(format!("{path}.port"), number, m)),
        );
        match protocol {
            "" => errors.push(FieldError::required(format!("{path}.protocol"), "")),
            known if PROTOCOLS.contains(&known) => {}
            other => errors.push(FieldError::not_supported(format!("{path}.protocol"), other, PROTOCOLS)),
        }
        target(port, &path, errors);
        if int(port, "/nodePort") != 0 && matches!(kind, "ClusterIP" | "ExternalName") {
            let why = format!("may not be used when `type` is '{kind}'");
            errors.push(FieldError::forbidden(format!("{path}.nodePort"), why));
        }
        let outside = int(port, "/nodePort");
        if outside != 0 && !seen_outside.insert((protocol, outside)) {
            errors.push(FieldError::duplicate(format!("{path}.nodePort"), outside));
        }
        if !seen.insert((protocol, number)) {
            errors.push(FieldError::duplicate(
                path,
                json!({ "protocol": protocol, "port": number }),
            ));
        }
    }
}

fn target(port: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (wrong, shown) = match port.get("targetPort") {
        Some(Value::String(name)) => (names::port_name(name), json!(name)),
        Some(number) => (names::port(number.as_i64().unwrap_or_default()), number.clone()),
        None => return,
    };
    errors.extend(
        wrong
            .into_iter()
            .map(|m| FieldError::invalid(format!("{path}.targetPort"), shown.clone(), m)),
    );
}

pub(super) fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = super::addresses::check_update(new, old);
    errors.extend(validate(new));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    #[test]
    fn services_are_judged_as_upstream() {
        let rules = find("", "v1", "services").expect("services are served");
        for (spec, message) in [
            (json!({}), "spec.ports: Required value"),
            (
                json!({ "type": "X", "ports": [{ "port": 1 }] }),
                "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ),
            (
                json!({ "ports": [{ "port": 0, "targetPort": 1 }] }),
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                json!({ "ports": [{ "port": 1, "name": "a" }, { "port": 2 }] }),
                "spec.ports[1].name: Required value",
            ),
            (
                json!({ "ports": [{ "port": 1, "name": "a" }, { "port": 1, "name": "b" }] }),
                "spec.ports[1]: Duplicate value: {\"protocol\":\"TCP\",\"port\":1}",
            ),
            (
                json!({ "ports": [{ "port": 1, "nodePort": 30000 }] }),
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ),
            (json!({ "type": "ExternalName" }), "spec.externalName: Required value"),
            (
                json!({ "clusterIP": "x", "ports": [{ "port": 1 }] }),
                "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                json!({ "clusterIP": "None", "type": "NodePort" }),
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            ),
        ] {
            let mut service = json!({ "metadata": { "name": "s", "namespace": "n" }, "spec": spec });
            rules.default(&mut service);
            super::super::carry::create(&mut service["spec"]);
            let messages: Vec<String> = rules.validate(&service).iter().map(ToString::to_string).collect();
            assert_eq!(messages, [message], "{spec}");
        }
        let mut headless = json!({ "metadata": { "name": "s", "namespace": "n" }, "spec": { "clusterIP": "None" } });
        rules.default(&mut headless);
        super::super::carry::create(&mut headless["spec"]);
        assert_eq!(rules.validate(&headless), []);
    }
}
