//! Service: one name and address for many pods. Addresses and node ports are allocated by the server.

mod addresses;
mod carry;
mod validate;

pub use addresses::check as address_fields;

use crate::{
    field::FieldError,
    kind::{Column, Context, Kind, SelectableField, Subresource},
    metadata, names,
    read::{self, entries, int, list, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Seconds that `sessionAffinity: ClientIP` remembers a client, upstream's default.
const AFFINITY_SECONDS: i64 = 10800;

/// `v1` Service.
pub struct Service;

impl Kind for Service {
    const KIND: &'static str = "Service";
    const PLURAL: &'static str = "services";
    const SINGULAR: &'static str = "service";
    const SHORT_NAMES: &'static [&'static str] = &["svc"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource::proxy("ServiceProxyOptions"),
        Subresource::status("", "v1", "Service"),
    ];
    const KEY: &'static str = "services";
    const CREATE_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Type", "string", "How it is reached."),
        Column::narrow("Cluster-IP", "string", "Its address inside the cluster."),
        Column::narrow("External-IP", "string", "Its addresses outside."),
        Column::narrow("Port(s)", "string", "Its ports, with node ports and protocols."),
        Column::AGE,
        Column::wide("Selector", "string", "The labels of its pods."),
    ];
    const FIELDS: &'static [SelectableField] = &[
        SelectableField {
            label: "spec.clusterIP",
            read: |service| text(service, "/spec/clusterIP").to_owned(),
        },
        SelectableField {
            label: "spec.type",
            read: |service| text(service, "/spec/type").to_owned(),
        },
    ];
    type Object = k8s_openapi::api::core::v1::Service;

    fn check_name(name: &str) -> Vec<String> {
        names::dns1035_label(name)
    }

    fn default(service: &mut Value) {
        read::set_default(service, "spec", json!({}));
        default_spec(&mut service["spec"]);
        // Go writes the empty struct.
        read::set_default(service, "status", json!({}));
        if let Some(status) = service.get_mut("status") {
            read::set_default(status, "loadBalancer", json!({}));
            crate::at::each_mut(status, "/loadBalancer/ingress", |place| {
                if !text(place, "/ip").is_empty() {
                    read::set_default(place, "ipMode", "VIP");
                }
            });
        }
    }

    fn before_create(service: &mut Value, _context: &Context<'_>) {
        service["status"] = json!({ "loadBalancer": {} });
        carry::create(&mut service["spec"]);
    }

    fn before_update(new: &mut Value, old: &Value, context: &Context<'_>) {
        if context.subresource.is_empty() {
            carry::update(new, old);
        }
    }

    fn validate(service: &Value) -> Vec<FieldError> {
        validate::validate(service)
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            validate::validate_status(new)
        } else {
            validate::validate_update(new, old)
        }
    }

    fn row(service: &Value, now: Timestamp) -> Vec<Value> {
        let cluster_ip = text(service, "/spec/clusterIP");
        vec![
            metadata::name(service).into(),
            text(service, "/spec/type").into(),
            if cluster_ip.is_empty() { "<none>" } else { cluster_ip }.into(),
            external_ips(service).into(),
            ports(service).into(),
            metadata::age(service, now).into(),
            selector(service).into(),
        ]
    }
}

fn default_spec(spec: &mut Value) {
    read::set_default_text(spec, "sessionAffinity", "None");
    read::set_default_text(spec, "type", "ClusterIP");
    if text(spec, "/sessionAffinity") == "ClientIP" {
        read::set_default(spec, "sessionAffinityConfig", json!({}));
        read::set_default(&mut spec["sessionAffinityConfig"], "clientIP", json!({}));
        read::set_default(
            &mut spec["sessionAffinityConfig"]["clientIP"],
            "timeoutSeconds",
            AFFINITY_SECONDS,
        );
    } else if let Some(spec) = spec.as_object_mut() {
        spec.shift_remove("sessionAffinityConfig");
    }
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        read::set_default_text(port, "protocol", "TCP");
        let absent = port.get("targetPort").is_none_or(|t| t.is_null() || t == 0 || t == "");
        if absent && let Some(number) = port.get("port").cloned() {
            port["targetPort"] = number;
        }
    }
    let kind = text(spec, "/type").to_owned();
    let outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    if outside || !list(spec, "/externalIPs").is_empty() {
        read::set_default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if outside || kind == "ClusterIP" {
        read::set_default_text(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        read::set_default(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn external_ips(service: &Value) -> String {
    let own: Vec<&str> = list(service, "/spec/externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let or = |ips: Vec<&str>, none: &str| if ips.is_empty() { none.to_owned() } else { ips.join(",") };
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let ingress = list(service, "/status/loadBalancer/ingress").iter();
            let given = ingress.map(|i| {
                if text(i, "/ip").is_empty() {
                    text(i, "/hostname")
                } else {
                    text(i, "/ip")
                }
            });
            or(given.chain(own.iter().copied()).collect(), "<pending>")
        }
        _ => or(own, "<none>"),
    }
}

/// `80/TCP,443:30443/TCP`.
fn ports(service: &Value) -> String {
    let one = |port: &Value| {
        let (number, node, protocol) = (int(port, "/port"), int(port, "/nodePort"), text(port, "/protocol"));
        if node > 0 {
            format!("{number}:{node}/{protocol}")
        } else {
            format!("{number}/{protocol}")
        }
    };
    let all: Vec<String> = list(service, "/spec/ports").iter().map(one).collect();
    if all.is_empty() {
        "<none>".to_owned()
    } else {
        all.join(",")
    }
}

fn selector(service: &Value) -> String {
    let mut all: Vec<String> = entries(service, "/spec/selector")
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    all.sort();
    if all.is_empty() {
        "<none>".to_owned()
    } else {
        all.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    fn context() -> Context<'static> {
        Context {
            now: "2026-01-01T00:00:00Z",
            uid: "u",
            suffix: "bcdfg",
            namespace: "n",
            subresource: "",
        }
    }

    #[test]
    fn a_small_service_is_filled_in_as_upstream_does() {
        let rules = find("", "v1", "services").expect("services are served");
        let mut service =
            json!({ "metadata": { "name": "s" }, "spec": { "clusterIP": "10.96.0.9", "ports": [{ "port": 80 }] } });
        rules.default(&mut service);
        rules.before_create(&mut service, &context());
        let expected = json!({
            "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "sessionAffinity": "None", "type": "ClusterIP",
            "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80 }], "internalTrafficPolicy": "Cluster",
        });
        assert_eq!(service["spec"], expected);
        assert_eq!(rules.validate(&service), []);
        assert_eq!(service["status"], json!({ "loadBalancer": {} }));
    }

    #[test]
    fn services_read_as_upstream_prints_them() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("it is a time");
        let row = |spec: Value, status: Value| {
            let service = json!({ "metadata": { "name": "s", "creationTimestamp": "2026-01-01T00:00:00Z" }, "spec": spec, "status": status });
            Value::from(Service::row(&service, now))
        };
        let ports = json!([{ "port": 80, "nodePort": 30080, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }]);
        assert_eq!(
            row(
                json!({ "type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": ports, "selector": { "b": "2", "a": "1" } }),
                json!({})
            ),
            json!([
                "s",
                "LoadBalancer",
                "10.96.0.9",
                "<pending>",
                "80:30080/TCP,53/UDP",
                "60s",
                "a=1,b=2"
            ])
        );
        assert_eq!(
            row(json!({ "type": "ExternalName", "externalName": "x.y" }), json!({})),
            json!(["s", "ExternalName", "<none>", "x.y", "<none>", "60s", "<none>"])
        );
    }
}
