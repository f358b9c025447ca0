//! IPAddress: an address of a Service network and who holds it. The object's name is the address.

use crate::{
    addresses,
    at::root,
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{some, text},
};
use jiff::Timestamp;
use serde_json::Value;

/// `networking.k8s.io/v1` IPAddress.
pub struct IpAddress;

impl Kind for IpAddress {
    const GROUP: &'static str = "networking.k8s.io";
    const KIND: &'static str = "IPAddress";
    const PLURAL: &'static str = "ipaddresses";
    const SINGULAR: &'static str = "ipaddress";
    const SHORT_NAMES: &'static [&'static str] = &["ip"];
    const NAMESPACED: bool = false;
    const KEY: &'static str = "ipaddresses";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("ParentRef", "string", "Who holds it."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::networking::v1::IPAddress;

    fn check_name(name: &str) -> Vec<String> {
        addresses::canonical_ip(name)
    }

    fn validate(address: &Value) -> Vec<FieldError> {
        let spec = root(address).child("spec");
        let Some(parent) = spec.some("parentRef") else {
            return vec![spec.required("parentRef", "")];
        };
        let mut errors = Vec::new();
        if !parent.text("group").is_empty() {
            errors.extend(parent.invalid("group", names::dns1123_subdomain(parent.text("group"))));
        }
        for member in ["resource", "name"] {
            match parent.text(member) {
                "" => errors.push(parent.required(member, "")),
                segment => errors.extend(parent.invalid(member, names::path_segment(segment))),
            }
        }
        if !parent.text("namespace").is_empty() {
            errors.extend(parent.invalid("namespace", names::path_segment(parent.text("namespace"))));
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let changed = root(new).child("spec").immutable(&old["spec"], "parentRef");
        changed.into_iter().collect()
    }

    fn row(address: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(address).into(),
            parent(address).into(),
            metadata::age(address, now).into(),
        ]
    }
}

/// `services/default/kubernetes`, with the group after a dot where there is one.
fn parent(address: &Value) -> String {
    if some(address, "/spec/parentRef").is_none() {
        return "<none>".to_owned();
    }
    let [group, resource, namespace, name] =
        ["group", "resource", "namespace", "name"].map(|m| text(address, &format!("/spec/parentRef/{m}")));
    let mut shown = resource.to_lowercase();
    for (before, part) in [(".", group), ("/", namespace)] {
        if !part.is_empty() {
            shown.push_str(before);
            shown.push_str(part);
        }
    }
    format!("{shown}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_have_a_parent() {
        let parent = json!({ "resource": "services", "namespace": "default", "name": "kubernetes" });
        let address = json!({ "metadata": { "name": "10.96.0.1" }, "spec": { "parentRef": parent } });
        assert_eq!(IpAddress::validate(&address), []);
        assert_eq!(super::parent(&address), "services/default/kubernetes");
        let errors = IpAddress::validate(&json!({ "spec": {} }));
        assert_eq!(errors[0].to_string(), "spec.parentRef: Required value");
        let moved = json!({ "spec": { "parentRef": { "resource": "services", "name": "x" } } });
        assert_eq!(
            IpAddress::validate_update(&moved, &address, "")[0].detail,
            "field is immutable"
        );
    }
}
