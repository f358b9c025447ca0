//! What is wrong with an Ingress (networking `validation.ValidateIngressSpec`).

use crate::{at::At, field::FieldError, names};
use std::net::IpAddr;

const NO_PATHS: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const NO_ENDS: [&str; 2] = ["/..", "/."];
const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
const NO_IP: &str = "must be a DNS name, not an IP address";

pub(super) fn spec(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let rules = spec.items("rules");
    let backend = spec.some("defaultBackend");
    if rules.is_empty() && backend.is_none() {
        let all = spec.child("rules").value.clone();
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(spec.path(""), all, why));
    }
    if let Some(at) = backend {
        self::backend(&at, &mut errors);
    }
    for rule in &rules {
        host(rule, &mut errors);
        if let Some(http) = rule.some("http") {
            let paths = http.items("paths");
            if paths.is_empty() {
                errors.push(http.required("paths", ""));
            }
            paths.iter().for_each(|at| path(at, &mut errors));
        }
    }
    spec.items("tls").iter().for_each(|at| tls(at, &mut errors));
    if spec.has("ingressClassName") {
        let wrong = names::dns1123_subdomain(spec.text("ingressClassName"));
        errors.extend(spec.invalid("ingressClassName", wrong));
    }
    errors
}

fn host(rule: &At<'_>, errors: &mut Vec<FieldError>) {
    let host = rule.text("host");
    if host.is_empty() {
        return;
    }
    if host.parse::<IpAddr>().is_ok() {
        errors.extend(rule.invalid("host", [NO_IP]));
    }
    errors.extend(rule.invalid("host", maybe_wildcard(host)));
}

fn maybe_wildcard(host: &str) -> Vec<String> {
    if host.contains('*') {
        names::wildcard_subdomain(host)
    } else {
        names::dns1123_subdomain(host)
    }
}

fn tls(tls: &At<'_>, errors: &mut Vec<FieldError>) {
    for host in tls.items("hosts") {
        errors.extend(host.invalid("", maybe_wildcard(host.as_text())));
    }
    let secret = tls.text("secretName");
    if !secret.is_empty() {
        errors.extend(tls.invalid("secretName", names::dns1123_subdomain(secret)));
    }
}

fn path(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let path = at.text("path");
    let absolute = path.starts_with('/');
    match at.value.get("pathType").and_then(|v| v.as_str()) {
        None => {
            errors.push(at.required("pathType", "pathType must be specified"));
            return;
        }
        Some("Exact" | "Prefix") => {
            if !absolute {
                errors.extend(at.invalid_text("path", ["must be an absolute path"]));
            }
            let inside = NO_PATHS.iter().filter(|bad| path.contains(**bad));
            errors.extend(at.invalid_text("path", inside.map(|bad| format!("must not contain '{bad}'"))));
            let ends = NO_ENDS.iter().filter(|bad| path.ends_with(**bad));
            errors.extend(at.invalid_text("path", ends.map(|bad| format!("cannot end with '{bad}'"))));
        }
        Some("ImplementationSpecific") => {
            if !path.is_empty() && !absolute {
                errors.extend(at.invalid_text("path", ["must be an absolute path"]));
            }
        }
        Some(other) => errors.push(FieldError::not_supported(at.path("pathType"), other, PATH_TYPES)),
    }
    backend(&at.child("backend"), errors);
}

fn backend(at: &At<'_>, errors: &mut Vec<FieldError>) {
    match (at.some("resource"), at.some("service")) {
        (Some(_), Some(_)) => errors.push(FieldError::invalid(
            at.path(""),
            "",
            "cannot set both resource and service backends",
        )),
        (Some(resource), None) => typed_reference(&resource, errors),
        (None, Some(service)) => self::service(at, &service, errors),
        (None, None) => errors.push(FieldError::invalid(
            at.path(""),
            "",
            "resource or service backend is required",
        )),
    }
}

fn service(backend: &At<'_>, service: &At<'_>, errors: &mut Vec<FieldError>) {
    match service.text("name") {
        "" => errors.push(service.required("name", "")),
        name => errors.extend(service.invalid("name", names::dns1123_label(name))),
    }
    let port = service.child("port");
    match (port.text("name"), port.int("number")) {
        ("", 0) => errors.push(backend.required("", "port name or number is required")),
        ("", number) => errors.extend(port.invalid("number", names::port(number))),
        (name, 0) => errors.extend(port.invalid("name", names::port_name(name))),
        _ => errors.push(FieldError::invalid(
            backend.path(""),
            "",
            "cannot set both port name & port number",
        )),
    }
}

/// A reference to an object of any kind (`TypedLocalObjectReference`).
pub(in crate::kinds) fn typed_reference(at: &At<'_>, errors: &mut Vec<FieldError>) {
    if at.has("apiGroup") {
        errors.extend(at.invalid("apiGroup", names::dns1123_subdomain(at.text("apiGroup"))));
    }
    for member in ["kind", "name"] {
        match at.text(member) {
            "" => errors.push(at.required(member, format!("{member} is required"))),
            text => errors.extend(at.invalid(member, names::path_segment(text))),
        }
    }
}

pub(super) fn status(balancer: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for point in balancer.items("ingress") {
        let (ip, host) = (point.text("ip"), point.text("hostname"));
        if !ip.is_empty() {
            errors.extend(point.invalid("ip", names::ip(ip)));
        }
        if !host.is_empty() {
            errors.extend(point.invalid("hostname", names::dns1123_subdomain(host)));
            if host.parse::<IpAddr>().is_ok() {
                errors.extend(point.invalid("hostname", [NO_IP]));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rule(path: Value) -> Value {
        json!({ "rules": [{ "host": "a.b", "http": { "paths": [path] } }] })
    }

    #[test]
    fn ingresses_are_judged_as_upstream() {
        let backend = json!({ "service": { "name": "s", "port": { "number": 80 } } });
        let path = "spec.rules[0].http.paths[0]";
        for (spec, message) in [
            (
                json!({}),
                "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified".to_owned(),
            ),
            (
                rule(json!({ "backend": backend })),
                format!("{path}.pathType: Required value: pathType must be specified"),
            ),
            (
                rule(json!({ "pathType": "Prefix", "path": "a", "backend": backend })),
                format!("{path}.path: Invalid value: \"a\": must be an absolute path"),
            ),
            (
                rule(json!({ "pathType": "Exact", "path": "/a//b", "backend": backend })),
                format!("{path}.path: Invalid value: \"/a//b\": must not contain '//'"),
            ),
            (
                rule(json!({ "pathType": "X", "path": "/", "backend": backend })),
                format!(
                    "{path}.pathType: Unsupported value: \"X\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""
                ),
            ),
            (
                rule(json!({ "pathType": "Exact", "path": "/", "backend": { "service": { "name": "s" } } })),
                format!("{path}.backend: Required value: port name or number is required"),
            ),
            (
                json!({ "defaultBackend": {} }),
                "spec.defaultBackend: Invalid value: \"\": resource or service backend is required".to_owned(),
            ),
            (
                json!({ "rules": [{ "host": "10.0.0.1" }] }),
                "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address".to_owned(),
            ),
        ] {
            let messages: Vec<String> = self::spec(&At::new(&spec, "spec"))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, [message], "{spec}");
        }
        let good = rule(json!({ "pathType": "Exact", "path": "/", "backend": backend }));
        assert_eq!(self::spec(&At::new(&good, "spec")), []);
    }
}
