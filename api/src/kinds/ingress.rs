//! Ingress: HTTP hosts and paths that lead to Services.

mod validate;

pub(in crate::kinds) use validate::typed_reference;

use crate::{
    at::root,
    field::FieldError,
    kind::{Column, Context, Kind, Subresource},
    metadata,
    read::{self, list, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// How many hosts a row shows.
const SHOWN: usize = 3;

/// `networking.k8s.io/v1` Ingress.
pub struct Ingress;

impl Kind for Ingress {
    const GROUP: &'static str = "networking.k8s.io";
    const KIND: &'static str = "Ingress";
    const PLURAL: &'static str = "ingresses";
    const SINGULAR: &'static str = "ingress";
    const SHORT_NAMES: &'static [&'static str] = &["ing"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("networking.k8s.io", "v1", "Ingress")];
    const KEY: &'static str = "ingresses";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Class", "string", "The IngressClass that serves it."),
        Column::narrow("Hosts", "string", "Hosts that it routes."),
        Column::narrow("Address", "string", "Where it is reached."),
        Column::narrow("Ports", "string", "Ports that it listens on."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::networking::v1::Ingress;

    fn default(ingress: &mut Value) {
        read::set_default(ingress, "spec", json!({}));
        read::set_default(ingress, "status", json!({}));
        read::set_default(&mut ingress["status"], "loadBalancer", json!({}));
    }

    fn before_create(ingress: &mut Value, _context: &Context<'_>) {
        ingress["status"] = json!({ "loadBalancer": {} });
    }

    fn validate(ingress: &Value) -> Vec<FieldError> {
        let mut errors = validate::spec(&root(ingress).child("spec"));
        let annotation = text(ingress, "/metadata/annotations/kubernetes.io~1ingress.class");
        let class = text(ingress, "/spec/ingressClassName");
        if !annotation.is_empty() && !class.is_empty() && annotation != class {
            errors.push(FieldError::invalid(
                "annotations.kubernetes.io/ingress.class",
                annotation,
                "must match `ingressClassName` when both are specified",
            ));
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            validate::status(&root(new).child("status").child("loadBalancer"))
        } else {
            validate::spec(&root(new).child("spec"))
        }
    }

    fn row(ingress: &Value, now: Timestamp) -> Vec<Value> {
        let class = text(ingress, "/spec/ingressClassName");
        let tls = !list(ingress, "/spec/tls").is_empty();
        vec![
            metadata::name(ingress).into(),
            if class.is_empty() { "<none>" } else { class }.into(),
            hosts(ingress).into(),
            addresses(ingress).into(),
            if tls { "80, 443" } else { "80" }.into(),
            metadata::age(ingress, now).into(),
        ]
    }
}

/// `a,b,c + 2 more...`
fn hosts(ingress: &Value) -> String {
    let rules = list(ingress, "/spec/rules");
    let (mut shown, mut more) = (Vec::new(), false);
    for rule in rules {
        more |= shown.len() == SHOWN;
        let host = text(rule, "/host");
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, true) => format!("{} + {} more...", shown.join(","), rules.len() - SHOWN),
        (false, false) => shown.join(","),
    }
}

fn addresses(ingress: &Value) -> String {
    let points = list(ingress, "/status/loadBalancer/ingress").iter();
    let mut all: Vec<&str> = points
        .map(|point| match text(point, "/ip") {
            "" => text(point, "/hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ingresses_read_as_upstream_prints_them() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("it is a time");
        let rules = |hosts: &[&str]| hosts.iter().map(|h| json!({ "host": h })).collect::<Value>();
        let ingress = json!({
            "metadata": { "name": "i", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "ingressClassName": "c", "rules": rules(&["a", "b", "c", "d", "e"]), "tls": [{}] },
            "status": { "loadBalancer": { "ingress": [{ "ip": "10.0.0.2" }, { "hostname": "h" }] } },
        });
        assert_eq!(
            Value::from(Ingress::row(&ingress, now)),
            json!(["i", "c", "a,b,c + 2 more...", "10.0.0.2,h", "80, 443", "60s"])
        );
        let plain = Ingress::row(&json!({ "metadata": { "name": "i" } }), now);
        assert_eq!(Value::from(plain[1..5].to_vec()), json!(["<none>", "*", "", "80"]));
    }
}
