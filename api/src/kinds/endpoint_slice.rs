//! EndpointSlice: some of the addresses behind a Service.

use crate::{
    addresses,
    at::{At, each_mut, root},
    field::FieldError,
    kind::{Column, Context, Kind},
    metadata, names,
    read::{self, list, some, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{collections::HashSet, net::IpAddr};

const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
/// Hints that one endpoint may carry, for zones and for nodes.
const HINTS_MAX: usize = 8;
/// How many ports and addresses a row shows.
const SHOWN: usize = 3;

/// `discovery.k8s.io/v1` EndpointSlice.
pub struct EndpointSlice;

impl Kind for EndpointSlice {
    const GROUP: &'static str = "discovery.k8s.io";
    const KIND: &'static str = "EndpointSlice";
    const PLURAL: &'static str = "endpointslices";
    const SINGULAR: &'static str = "endpointslice";
    const KEY: &'static str = "endpointslices";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("AddressType", "string", "IPv4, IPv6 or FQDN."),
        Column::narrow("Ports", "string", "Ports of each endpoint."),
        Column::narrow("Endpoints", "string", "Addresses of the endpoints."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::discovery::v1::EndpointSlice;

    fn default(slice: &mut Value) {
        read::set_default(slice, "endpoints", json!([]));
        read::set_default(slice, "ports", json!([]));
        each_mut(slice, "/ports", |port| {
            read::set_default(port, "name", "");
            read::set_default(port, "protocol", "TCP");
        });
    }

    fn before_create(slice: &mut Value, _context: &Context<'_>) {
        // It was the topology of v1beta1; v1 only carries it on.
        each_mut(slice, "/endpoints", |endpoint| {
            endpoint.as_object_mut().map(|e| e.shift_remove("deprecatedTopology"));
        });
    }

    fn validate(slice: &Value) -> Vec<FieldError> {
        let at = root(slice);
        let mut errors: Vec<FieldError> = at.must_be_one_of("addressType", ADDRESS_TYPES).into_iter().collect();
        let endpoints = at.items("endpoints");
        if endpoints.len() > ENDPOINTS_MAX {
            errors.push(FieldError::too_many("endpoints", endpoints.len(), ENDPOINTS_MAX));
        } else {
            let kind = at.text("addressType");
            endpoints.iter().for_each(|at| endpoint(at, kind, &mut errors));
        }
        ports(&at, &mut errors);
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let mut errors = Self::validate(new);
        errors.extend(root(new).immutable(old, "addressType"));
        errors
    }

    fn row(slice: &Value, now: Timestamp) -> Vec<Value> {
        let port = |port: &Value| match some(port, "/port") {
            Some(number) => number.to_string(),
            None if some(port, "/name").is_some() => text(port, "/name").to_owned(),
            None => "*".to_owned(),
        };
        let addresses = list(slice, "/endpoints").iter().flat_map(|e| list(e, "/addresses"));
        vec![
            metadata::name(slice).into(),
            text(slice, "/addressType").into(),
            first_few(list(slice, "/ports").iter().map(port)).into(),
            first_few(addresses.filter_map(Value::as_str).map(str::to_owned)).into(),
            metadata::age(slice, now).into(),
        ]
    }
}

fn endpoint(at: &At<'_>, kind: &str, errors: &mut Vec<FieldError>) {
    let addresses = at.items("addresses");
    if addresses.is_empty() {
        errors.push(at.required("addresses", "must contain at least 1 address"));
    } else if addresses.len() > ADDRESSES_MAX {
        errors.push(FieldError::too_many(
            at.path("addresses"),
            addresses.len(),
            ADDRESSES_MAX,
        ));
    }
    addresses.iter().for_each(|at| address(at, kind, errors));
    if at.has("hostname") {
        errors.extend(at.invalid("hostname", names::dns1123_label(at.text("hostname"))));
    }
    if at.has("nodeName") {
        errors.extend(at.invalid("nodeName", names::dns1123_subdomain(at.text("nodeName"))));
    }
    let topology = at.value.get("deprecatedTopology");
    errors.extend(metadata::labels(topology, &at.path("deprecatedTopology")));
    let hints = at.child("hints");
    for member in ["forZones", "forNodes"] {
        let all = hints.items(member);
        if all.len() > HINTS_MAX {
            errors.push(FieldError::too_many(hints.path(member), all.len(), HINTS_MAX));
            continue;
        }
        let mut seen = HashSet::new();
        for hint in &all {
            let name = hint.text("name");
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(hint.path("name"), name));
            }
            errors.extend(hint.invalid_text("name", names::label_value(name)));
        }
    }
}

fn address(at: &At<'_>, kind: &str, errors: &mut Vec<FieldError>) {
    let parsed = at.as_text().parse::<IpAddr>();
    match kind {
        "IPv4" | "IPv6" => {
            if !parsed.is_ok_and(|ip| ip.is_ipv4() == (kind == "IPv4")) {
                errors.extend(at.invalid("", [format!("must be a valid {kind} address")]));
            }
            errors.extend(at.invalid("", addresses::special_ip(at.as_text())));
        }
        "FQDN" => match at.as_text() {
            "" => errors.push(at.required("", "")),
            name => errors.extend(at.invalid("", names::qualified_domain(name.trim_end_matches('.'), 2))),
        },
        // What is no known type has no rule.
        _ => {}
    }
}

fn ports(slice: &At<'_>, errors: &mut Vec<FieldError>) {
    let ports = slice.items("ports");
    if ports.len() > PORTS_MAX {
        errors.push(FieldError::too_many("ports", ports.len(), PORTS_MAX));
        return;
    }
    let mut seen = HashSet::new();
    for port in &ports {
        let name = port.text("name");
        if !name.is_empty() {
            errors.extend(port.invalid("name", names::dns1123_label(name)));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(port.path("name"), name));
        }
        errors.extend(port.must_be_one_of("protocol", PROTOCOLS));
        if port.has("appProtocol") {
            errors.extend(port.invalid("appProtocol", names::qualified_name(port.text("appProtocol"))));
        }
    }
}

/// `a,b,c + 2 more...`
fn first_few(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    match (all.join(","), more) {
        (none, 0) if none.is_empty() => "<unset>".to_owned(),
        (all, 0) => all,
        (all, more) => format!("{all} + {more} more..."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_read_as_upstream_prints_them() {
        let mut slice = json!({
            "metadata": { "name": "s" }, "addressType": "IPv4", "ports": [{ "port": 80 }, { "name": "x" }],
            "endpoints": [{ "addresses": ["10.0.0.1", "10.0.0.2"] }, { "addresses": ["10.0.0.3", "10.0.0.4"] }],
        });
        let row = EndpointSlice::row(&slice, Timestamp::UNIX_EPOCH);
        assert_eq!(
            Value::from(row[1..4].to_vec()),
            json!(["IPv4", "80,x", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more..."])
        );
        EndpointSlice::default(&mut slice);
        assert_eq!(slice["ports"][0], json!({ "port": 80, "name": "", "protocol": "TCP" }));
        assert_eq!(EndpointSlice::validate(&slice), []);
    }

    #[test]
    fn slices_are_judged_as_upstream() {
        let slice =
            |kind: &str, address: &str| json!({ "addressType": kind, "endpoints": [{ "addresses": [address] }] });
        for (slice, message) in [
            (json!({}), "addressType: Required value"),
            (
                slice("X", "a"),
                "addressType: Unsupported value: \"X\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
            ),
            (
                slice("IPv6", "10.0.0.1"),
                "endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be a valid IPv6 address",
            ),
            (
                slice("IPv4", "127.0.0.1"),
                "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                slice("FQDN", "a"),
                "endpoints[0].addresses[0]: Invalid value: \"a\": should be a domain with at least two segments separated by dots",
            ),
            (
                json!({ "addressType": "IPv4", "endpoints": [{}] }),
                "endpoints[0].addresses: Required value: must contain at least 1 address",
            ),
        ] {
            let messages: Vec<String> = EndpointSlice::validate(&slice)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, [message]);
        }
        let changed = EndpointSlice::validate_update(&slice("IPv4", "10.0.0.1"), &slice("IPv6", "fd00::1"), "");
        assert_eq!(
            changed[0].to_string(),
            "addressType: Invalid value: \"IPv4\": field is immutable"
        );
    }
}
