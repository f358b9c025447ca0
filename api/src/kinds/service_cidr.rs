//! ServiceCIDR: a network that Services get their addresses from.

use crate::{
    addresses::{self, Cidr},
    at::{At, root},
    field::FieldError,
    kind::{Column, Context, Kind, Subresource},
    metadata,
    read::list,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `networking.k8s.io/v1` ServiceCIDR.
pub struct ServiceCidr;

impl Kind for ServiceCidr {
    const GROUP: &'static str = "networking.k8s.io";
    const KIND: &'static str = "ServiceCIDR";
    const PLURAL: &'static str = "servicecidrs";
    const SINGULAR: &'static str = "servicecidr";
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("networking.k8s.io", "v1", "ServiceCIDR")];
    const KEY: &'static str = "servicecidrs";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("CIDRs", "string", "Its prefixes, one a family at most."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::networking::v1::ServiceCIDR;

    fn before_create(cidr: &mut Value, context: &Context<'_>) {
        // Nothing has to be prepared: addresses can come from it at once.
        let which = if metadata::name(cidr) == "kubernetes" {
            "default "
        } else {
            ""
        };
        let message = format!("Kubernetes {which}Service CIDR is ready");
        let ready = json!({ "type": "Ready", "status": "True", "reason": "", "message": message, "lastTransitionTime": context.now });
        cidr["status"] = json!({ "conditions": [ready] });
    }

    fn validate(cidr: &Value) -> Vec<FieldError> {
        prefixes(&root(cidr).child("spec"))
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            // Upstream judges nothing here: its own conditions have no reason.
            return Vec::new();
        }
        let spec = root(new).child("spec");
        let (before, now) = (list(old, "/spec/cidrs"), spec.items("cidrs"));
        match (before.len(), now.len()) {
            (a, b) if a == b => now
                .iter()
                .zip(before)
                .filter(|(now, before)| now.value != *before)
                .flat_map(|(now, _)| now.invalid("", ["field is immutable"]))
                .collect(),
            // A second family may join.
            (1, 2) => {
                let moved = now.first().filter(|now| Some(now.value) != before.first());
                let mut errors = moved.map_or_else(Vec::new, |now| now.invalid("", ["field is immutable"]));
                errors.extend(prefixes(&spec));
                errors
            }
            _ => spec.invalid("cidrs", ["field is immutable"]),
        }
    }

    fn row(cidr: &Value, now: Timestamp) -> Vec<Value> {
        let all: Vec<&str> = list(cidr, "/spec/cidrs").iter().filter_map(Value::as_str).collect();
        vec![
            metadata::name(cidr).into(),
            all.join(",").into(),
            metadata::age(cidr, now).into(),
        ]
    }
}

fn prefixes(spec: &At<'_>) -> Vec<FieldError> {
    let all = spec.items("cidrs");
    match all.len() {
        0 => return vec![spec.required("cidrs", "at least one CIDR required")],
        1 | 2 => {}
        _ => return spec.invalid("cidrs", ["may only hold up to 2 values"]),
    }
    let mut errors: Vec<FieldError> = all.iter().flat_map(addresses::check_cidr).collect();
    let families: Vec<bool> = all
        .iter()
        .filter_map(|at| Cidr::parse(at.as_text()))
        .map(|cidr| cidr.address.is_ipv4())
        .collect();
    if families.len() == 2 && families[0] == families[1] {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.extend(spec.invalid("cidrs", [why]));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(all: &[&str]) -> Value {
        json!({ "spec": { "cidrs": all } })
    }

    #[test]
    fn prefixes_are_judged_as_upstream() {
        for (all, message) in [
            (&[][..], "spec.cidrs: Required value: at least one CIDR required"),
            (
                &["10.0.0.1/8"],
                "spec.cidrs[0]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length",
            ),
            (
                &["10.0.0.0/24", "10.1.0.0/24"],
                "spec.cidrs: Invalid value: [\"10.0.0.0/24\",\"10.1.0.0/24\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ),
        ] {
            assert_eq!(ServiceCidr::validate(&cidr(all))[0].to_string(), message);
        }
        assert_eq!(ServiceCidr::validate(&cidr(&["10.0.0.0/24", "fd00::/112"])), []);
    }

    #[test]
    fn only_a_second_family_may_join() {
        for (old, new, count) in [
            (&["10.0.0.0/24"][..], &["10.0.0.0/24"][..], 0),
            (&["10.0.0.0/24"], &["10.0.0.0/24", "fd00::/112"], 0),
            (&["10.0.0.0/24"], &["10.1.0.0/24"], 1),
            (&["10.0.0.0/24", "fd00::/112"], &["10.0.0.0/24"], 1),
        ] {
            assert_eq!(
                ServiceCidr::validate_update(&cidr(new), &cidr(old), "").len(),
                count,
                "{new:?}"
            );
        }
    }
}
