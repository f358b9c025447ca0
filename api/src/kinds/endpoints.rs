//! Endpoints: the addresses behind a Service.

use crate::{
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{self, int, list, text},
};
use jiff::Timestamp;
use serde_json::Value;

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
        for (index, subset) in list(endpoints, "/subsets").iter().enumerate() {
            let path = format!("subsets[{index}]");
            if list(subset, "/addresses").is_empty() && list(subset, "/notReadyAddresses").is_empty() {
                errors.push(FieldError::required(
                    &path,
                    "must specify `addresses` or `notReadyAddresses`",
                ));
            }
            for member in ["addresses", "notReadyAddresses"] {
                for (index, address) in list(subset, &format!("/{member}")).iter().enumerate() {
                    let (field, ip) = (format!("{path}.{member}[{index}].ip"), text(address, "/ip"));
                    errors.extend(names::ip(ip).into_iter().map(|m| FieldError::invalid(&field, ip, m)));
                }
            }
            ports(subset, &path, &mut errors);
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
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

fn ports(subset: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let ports = list(subset, "/ports");
    for (index, port) in ports.iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        match text(port, "/name") {
            "" if ports.len() > 1 => errors.push(FieldError::required(format!("{path}.name"), "")),
            "" => {}
            name => errors.extend(
                names::dns1123_label(name)
                    .into_iter()
                    .map(|m| FieldError::invalid(format!("{path}.name"), name, m)),
            ),
        }
        let number = int(port, "/port");
        errors.extend(
            names::port(number)
                .into_iter()
                .map(|m| FieldError::invalid(format!("{path}.port"), number, m)),
        );
    }
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
        let endpoints = json!({ "subsets": [{}, { "addresses": [{ "ip": "x" }], "ports": [{ "port": 0 }, { "name": "a", "port": 1 }] }] });
        let errors = Endpoints::validate(&endpoints);
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "subsets[0]",
                "subsets[1].addresses[0].ip",
                "subsets[1].ports[0].name",
                "subsets[1].ports[0].port"
            ]
        );
    }
}
