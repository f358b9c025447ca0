//! What is wrong with a Service, in upstream's order (core `validation.ValidateService`, `ValidateServiceUpdate`).

use super::{addresses as cluster_ips, carry};
use crate::{
    addresses::{Cidr, special_ip},
    at::{At, root},
    field::FieldError,
    kinds::pod::port_or_name,
    metadata, names,
};
use serde_json::{Value, json};
use std::collections::HashSet;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const POLICIES: &[&str] = &["Cluster", "Local"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
const FOR_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY: &str = "service.kubernetes.io/topology-mode";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// A day, as long as a client may stay with one pod.
const AFFINITY_MAX: i64 = 86400;

pub(super) fn validate(service: &Value) -> Vec<FieldError> {
    let spec = root(service).child("spec");
    let kind = spec.text("type");
    let mut errors = topology(service);
    let headless = is_headless(&spec);
    if spec.list("ports").is_empty() && !headless && kind != "ExternalName" {
        errors.push(spec.required("ports", ""));
    }
    errors.extend(by_type(&spec, headless));
    errors.extend(ports(&spec));
    errors.extend(metadata::labels(spec.value.get("selector"), "spec.selector"));
    errors.extend(affinity(&spec));
    errors.extend(cluster_ips::check(service));
    for ip in spec.items("externalIPs") {
        let wrong = ip.invalid("", names::ip(ip.as_text()));
        if wrong.is_empty() {
            errors.extend(ip.invalid("", special_ip(ip.as_text())));
        }
        errors.extend(wrong);
    }
    errors.extend(spec.must_be_one_of("type", TYPES));
    errors.extend(unique_ports(&spec));
    errors.extend(source_ranges(service));
    errors.extend(balancer(&spec));
    errors.extend(outside(&spec));
    errors.extend(inside(&spec));
    errors
}

fn is_headless(spec: &At<'_>) -> bool {
    matches!(spec.list("clusterIPs"), [only] if only == "None")
}

fn annotation<'a>(service: &'a Value, key: &str) -> Option<&'a str> {
    service.pointer("/metadata/annotations")?.get(key)?.as_str()
}

fn topology(service: &Value) -> Vec<FieldError> {
    match (annotation(service, TOPOLOGY), annotation(service, HINTS)) {
        (Some(mode), Some(hints)) if mode != hints => {
            let why = format!("must match annotations[{HINTS}] when both are specified");
            vec![FieldError::invalid(
                format!("metadata.annotations[{TOPOLOGY}]"),
                mode,
                why,
            )]
        }
        _ => Vec::new(),
    }
}

fn by_type(spec: &At<'_>, headless: bool) -> Vec<FieldError> {
    let kind = spec.text("type");
    match kind {
        "ExternalName" => external_name(spec),
        "LoadBalancer" | "NodePort" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            vec![FieldError::invalid(spec.path("clusterIPs[0]"), "None", why)]
        }
        _ => Vec::new(),
    }
}

fn external_name(spec: &At<'_>) -> Vec<FieldError> {
    let why = "may not be set for ExternalName services";
    let mut errors = Vec::new();
    for member in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !spec.list(member).is_empty() || spec.child(member).value.is_string() {
            errors.push(spec.forbidden(member, why));
        }
    }
    let name = spec.text("externalName");
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.push(spec.required("externalName", "")),
        name => {
            let wrong = names::dns1123_subdomain(name).into_iter();
            errors.extend(wrong.map(|why| FieldError::invalid(spec.path("externalName"), name, why)));
        }
    }
    errors
}

fn ports(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let ports = spec.items("ports");
    let mut seen = HashSet::new();
    for port in &ports {
        let name = port.text("name");
        if name.is_empty() && ports.len() > 1 {
            errors.push(port.required("name", ""));
        }
        errors.extend(port.judge("name", names::dns1123_label));
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(port.path("name"), name));
        }
        let number = port.int("port");
        let wrong = names::port(number).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(port.path("port"), number, why)));
        errors.extend(port.must_be_one_of("protocol", PROTOCOLS));
        errors.extend(port_or_name(port, "targetPort"));
        if let Some(protocol) = port.some("appProtocol") {
            errors.extend(protocol.invalid("", names::qualified_name(protocol.as_text())));
        }
    }
    errors
}

/// How long clients stay with a pod (core `validateClientIPAffinityConfig`).
fn affinity(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = spec
        .must_be_one_of("sessionAffinity", &["ClientIP", "None"])
        .into_iter()
        .collect();
    let config = spec.some("sessionAffinityConfig");
    let missing = |holder: &At<'_>, member: &str| holder.required(member, "when session affinity type is ClientIP");
    match (spec.text("sessionAffinity"), config) {
        ("ClientIP", None) => errors.push(missing(spec, "sessionAffinityConfig")),
        ("ClientIP", Some(config)) => match config.some("clientIP") {
            None => errors.push(missing(&config, "clientIP")),
            Some(client) if !client.has("timeoutSeconds") => errors.push(missing(&client, "timeoutSeconds")),
            Some(client) if !(1..=AFFINITY_MAX).contains(&client.int("timeoutSeconds")) => {
                let why = format!("must be greater than 0 and less than {AFFINITY_MAX}");
                errors.extend(client.invalid("timeoutSeconds", [why]));
            }
            Some(_) => {}
        },
        ("None", Some(config)) => {
            errors.push(config.forbidden("", "must not be set when session affinity is None"));
        }
        _ => {}
    }
    errors
}

fn unique_ports(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let ports = spec.items("ports");
    let outside = || ports.iter().filter(|port| port.int("nodePort") != 0);
    if spec.text("type") == "ClusterIP" {
        let why = "may not be used when `type` is 'ClusterIP'";
        errors.extend(outside().map(|port| port.forbidden("nodePort", why)));
    }
    let mut seen = HashSet::new();
    for port in outside() {
        let number = port.int("nodePort");
        if !seen.insert((port.text("protocol"), number)) {
            errors.push(FieldError::duplicate(port.path("nodePort"), number));
        }
    }
    let mut seen = HashSet::new();
    for port in &ports {
        let (protocol, number) = (port.text("protocol"), port.int("port"));
        if !seen.insert((protocol, number)) {
            let shown = json!({ "protocol": protocol, "port": number });
            errors.push(FieldError::duplicate(port.path(""), shown));
        }
    }
    errors
}

/// Whose clients a load balancer lets in; upstream spells the field with a capital, and knows an older annotation.
fn source_ranges(service: &Value) -> Vec<FieldError> {
    let spec = root(service).child("spec");
    let is_balancer = spec.text("type") == "LoadBalancer";
    let mut errors = Vec::new();
    let mut judge = |field: String, text: &str| {
        let text = text.trim();
        if Cidr::parse(text).is_none() {
            errors.push(FieldError::invalid(field, text, crate::addresses::CIDR));
        }
    };
    let ranges = spec.list("loadBalancerSourceRanges");
    let field = if ranges.is_empty() {
        let Some(written) = annotation(service, SOURCE_RANGES) else {
            return errors;
        };
        let field = format!("metadata.annotations[{SOURCE_RANGES}]");
        let parts = written.trim().split(',').filter(|_| !written.trim().is_empty());
        parts.for_each(|part| judge(field.clone(), part));
        field
    } else {
        let field = spec.path("LoadBalancerSourceRanges");
        for (index, range) in ranges.iter().enumerate() {
            judge(format!("{field}[{index}]"), range.as_str().unwrap_or_default());
        }
        field
    };
    if !is_balancer {
        errors.insert(0, FieldError::forbidden(field, FOR_BALANCERS));
    }
    errors
}

fn balancer(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let is_balancer = spec.text("type") == "LoadBalancer";
    let allocate = "allocateLoadBalancerNodePorts";
    if !is_balancer && spec.has(allocate) {
        errors.push(spec.forbidden(allocate, FOR_BALANCERS));
    }
    if is_balancer && !spec.has(allocate) {
        errors.push(FieldError::required(allocate, ""));
    }
    errors.extend(class(spec));
    errors
}

fn class(spec: &At<'_>) -> Vec<FieldError> {
    let Some(class) = spec.some("loadBalancerClass") else {
        return Vec::new();
    };
    if spec.text("type") != "LoadBalancer" {
        return vec![class.forbidden("", FOR_BALANCERS)];
    }
    class.invalid("", names::qualified_name(class.as_text()))
}

/// What goes with traffic from outside, and only with it.
fn outside(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if carry::is_reached_from_outside(spec.value) {
        errors.extend(spec.must_be_one_of("externalTrafficPolicy", POLICIES));
    } else if !spec.text("externalTrafficPolicy").is_empty() {
        let why = "may only be set for externally-accessible services";
        errors.extend(spec.invalid("externalTrafficPolicy", [why]));
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
    errors
}

fn inside(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !spec.has("internalTrafficPolicy") && matches!(spec.text("type"), "NodePort" | "LoadBalancer" | "ClusterIP") {
        errors.push(spec.required("internalTrafficPolicy", ""));
    }
    errors.extend(spec.one_of("internalTrafficPolicy", POLICIES));
    errors.extend(spec.one_of("trafficDistribution", DISTRIBUTIONS));
    errors
}

pub(super) fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let (spec, before) = (root(new).child("spec"), root(old).child("spec"));
    let mut errors = cluster_ips::check_update(new, old);
    let balancers = [&spec, &before].iter().all(|s| s.text("type") == "LoadBalancer");
    if balancers && spec.value.get("loadBalancerClass") != before.value.get("loadBalancerClass") {
        errors.extend(spec.invalid("loadBalancerClass", ["may not change once set"]));
    }
    errors.extend(class(&spec));
    let checked = carry::has_health_check(spec.value) && carry::has_health_check(before.value);
    if checked && spec.int("healthCheckNodePort") != before.int("healthCheckNodePort") {
        errors.push(spec.forbidden("healthCheckNodePort", "field is immutable"));
    }
    errors.extend(validate(new));
    errors
}

/// Where a load balancer is reached (core `ValidateLoadBalancerStatus`).
pub(super) fn validate_status(service: &Value) -> Vec<FieldError> {
    let status = root(service).child("status").child("loadBalancer");
    let ingress = status.items("ingress");
    if root(service).child("spec").text("type") != "LoadBalancer" {
        let why = "may only be used when `spec.type` is 'LoadBalancer'";
        let refused = (!ingress.is_empty()).then(|| status.forbidden("ingress", why));
        return refused.into_iter().collect();
    }
    let mut errors = Vec::new();
    for place in ingress {
        let has_ip = !place.text("ip").is_empty();
        errors.extend(place.judge("ip", names::ip));
        match (place.has("ipMode"), has_ip) {
            (false, true) => errors.push(place.required("ipMode", "must be specified when `ip` is set")),
            (true, false) => errors.push(place.forbidden("ipMode", "may not be specified when `ip` is not set")),
            (true, true) => errors.extend(place.one_of("ipMode", &["Proxy", "VIP"])),
            (false, false) => {}
        }
        errors.extend(place.judge("hostname", names::dns1123_subdomain));
        if !place.text("hostname").is_empty() && names::ip(place.text("hostname")).is_empty() {
            errors.extend(place.invalid("hostname", ["must be a DNS name, not an IP address"]));
        }
    }
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
                json!({ "ports": [{ "port": 1, "appProtocol": "/a" }] }),
                "spec.ports[0].appProtocol: Invalid value: \"/a\": prefix part must be non-empty",
            ),
            (
                json!({ "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 0 } }, "ports": [{ "port": 1 }] }),
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400",
            ),
            (
                json!({ "externalIPs": ["127.0.0.1"], "ports": [{ "port": 1 }] }),
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                json!({ "loadBalancerSourceRanges": ["10.0.0.0/8"], "ports": [{ "port": 1 }] }),
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ),
            (
                json!({ "type": "LoadBalancer", "loadBalancerSourceRanges": [" 10.0.0.0/8 ", "x"], "ports": [{ "port": 1 }] }),
                "spec.LoadBalancerSourceRanges[1]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
            (
                json!({ "trafficDistribution": "Far", "ports": [{ "port": 1 }] }),
                "spec.trafficDistribution: Unsupported value: \"Far\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\"",
            ),
            (
                json!({ "type": "LoadBalancer", "loadBalancerClass": "a b", "ports": [{ "port": 1 }] }),
                "spec.loadBalancerClass: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ),
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

    #[test]
    fn changes_and_statuses_are_judged_as_upstream() {
        let rules = find("", "v1", "services").expect("services are served");
        let service = |class: &str, status: Value| {
            let spec = json!({ "type": "LoadBalancer", "loadBalancerClass": class, "ports": [{ "port": 1 }] });
            let mut service = json!({ "metadata": { "name": "s", "namespace": "n" }, "spec": spec, "status": status });
            rules.default(&mut service);
            service
        };
        let said = |errors: Vec<FieldError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            said(rules.validate_update(&service("b", json!({})), &service("a", json!({})), "")),
            ["spec.loadBalancerClass: Invalid value: \"b\": may not change once set"]
        );
        let status =
            json!({ "loadBalancer": { "ingress": [{ "ip": "10.0.0.1", "ipMode": "X" }, { "hostname": "10.0.0.1" }] } });
        let (old, mut new) = (service("a", json!({})), service("a", status));
        assert_eq!(
            said(rules.validate_update(&new, &old, "status")),
            [
                "status.loadBalancer.ingress[0].ipMode: Unsupported value: \"X\": supported values: \"Proxy\", \"VIP\"",
                "status.loadBalancer.ingress[1].hostname: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
            ]
        );
        new["spec"]["type"] = "ClusterIP".into();
        assert_eq!(
            said(rules.validate_update(&new, &old, "status")),
            ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]
        );
    }
}
