//! Endpoints: the addresses behind a Service.

use super::amount::is_same;
use crate::{
    addresses::special_ip,
    at::{At, root},
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{self, int, list, text},
};
use jiff::Timestamp;
use serde_json::Value;
use std::net::IpAddr;

/// How many addresses a row shows.
const SHOWN: usize = 3;

/// `v1` Endpoints.
pub struct Endpoints;

impl Kind for Endpoints {
    const KIND: &'static str = "Endpoints";
    const PLURAL: &'static str = "endpoints";
    const SINGULAR: &'static str = "endpoints";
    const SHORT_NAMES: &'static [&'static str] = &["ep"];
    const KEY: &'static str = "endpoints";
    const CREATE_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Endpoints", "string", "The addresses that are ready."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::core::v1::Endpoints;

    fn default(endpoints: &mut Value) {
        for subset in endpoints
            .get_mut("subsets")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            for port in subset
                .get_mut("ports")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                read::set_default_text(port, "protocol", "TCP");
            }
        }
    }

    fn validate(endpoints: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for subset in root(endpoints).items("subsets") {
            if subset.list("addresses").is_empty() && subset.list("notReadyAddresses").is_empty() {
                errors.push(subset.required("", "must specify `addresses` or `notReadyAddresses`"));
            }
            for member in ["addresses", "notReadyAddresses"] {
                errors.extend(subset.items(member).iter().flat_map(address));
            }
            errors.extend(ports(&subset));
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        // What was there before passes, whatever it is.
        if is_same(new.get("subsets"), old.get("subsets")) {
            return Vec::new();
        }
        Self::validate(new)
    }

    fn row(endpoints: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(endpoints).into(),
            addresses(endpoints).into(),
            metadata::age(endpoints, now).into(),
        ]
    }
}

fn address(address: &At<'_>) -> Vec<FieldError> {
    let ip = address.text("ip");
    let mut errors = address.invalid_text("ip", names::ip(ip));
    errors.extend(address.judge("hostname", names::dns1123_label));
    if let Some(node) = address.some("nodeName") {
        errors.extend(node.invalid("", names::dns1123_subdomain(node.as_text())));
    }
    // Unlike upstream, a machine's own address passes: what stands alone on one machine has no other.
    let own = ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !own {
        errors.extend(address.invalid_text("ip", special_ip(ip)));
    }
    errors
}

fn ports(subset: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let ports = subset.items("ports");
    for port in &ports {
        if port.text("name").is_empty() && ports.len() > 1 {
            errors.push(port.required("name", ""));
        }
        errors.extend(port.judge("name", names::dns1123_label));
        let number = port.int("port");
        let wrong = names::port(number).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(port.path("port"), number, why)));
        errors.extend(port.must_be_one_of("protocol", &["SCTP", "TCP", "UDP"]));
        if let Some(protocol) = port.some("appProtocol") {
            errors.extend(protocol.invalid("", names::qualified_name(protocol.as_text())));
        }
    }
    errors
}

/// `10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...`
fn addresses(endpoints: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(endpoints, "/subsets") {
        let ips = || list(subset, "/addresses").iter().map(|a| text(a, "/ip"));
        if list(subset, "/ports").is_empty() {
            all.extend(ips().map(str::to_owned));
        }
        for port in list(subset, "/ports") {
            let port = int(port, "/port");
            all.extend(ips().map(|ip| {
                if ip.contains(':') {
                    format!("[{ip}]:{port}")
                } else {
                    format!("{ip}:{port}")
                }
            }));
        }
    }
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    match (all.is_empty(), more) {
        (true, _) => "<none>".to_owned(),
        (false, 0) => all.join(","),
        (false, more) => format!("{} + {more} more...", all.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_shown_up_to_three() {
        let many = json!([{ "ip": "10.0.0.1" }, { "ip": "10.0.0.2" }, { "ip": "fd00::1" }, { "ip": "10.0.0.4" }]);
        for (subsets, shown) in [
            (json!([]), "<none>"),
            (json!([{ "addresses": [{ "ip": "10.0.0.1" }] }]), "10.0.0.1"),
            (
                json!([{ "notReadyAddresses": [{ "ip": "10.0.0.1" }], "ports": [{ "port": 80 }] }]),
                "<none>",
            ),
            (
                json!([{ "addresses": many, "ports": [{ "port": 80 }] }]),
                "10.0.0.1:80,10.0.0.2:80,[fd00::1]:80 + 1 more...",
            ),
        ] {
            assert_eq!(addresses(&json!({ "subsets": subsets })), shown);
        }
    }

    #[test]
    fn subsets_are_judged() {
        let endpoints = json!({ "subsets": [{}, { "addresses": [{ "ip": "169.254.0.1", "hostname": "A" }], "ports": [{ "port": 0, "protocol": "TCP" }, { "name": "a", "port": 1, "protocol": "X" }] }] });
        let errors = Endpoints::validate(&endpoints);
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "subsets[0]",
                "subsets[1].addresses[0].hostname",
                "subsets[1].addresses[0].ip",
                "subsets[1].ports[0].name",
                "subsets[1].ports[0].port",
                "subsets[1].ports[1].protocol",
            ]
        );
    }
}
