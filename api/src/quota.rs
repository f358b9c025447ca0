//! What objects take of a namespace's quota, and which quotas mind (upstream: pkg/quota/v1/evaluator/core). Pure: who counts
//! and who charges are elsewhere.

mod device;
mod pod;
mod scope;

use crate::quantity::Quantity;
use crate::read;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub use pod::{container_resources, is_extended, missing, resources as pod_resources};

/// Resource names of quotas, each with an amount.
pub type Amounts = BTreeMap<String, Quantity>;

/// Core kinds whose count has a name of its own besides `count/PLURAL`.
const PLAIN_COUNTS: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];
/// What else counts whole objects.
const SERVICE_COUNTS: [&str; 2] = ["services.loadbalancers", "services.nodeports"];
/// Between a StorageClass's name and what its claims take.
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";

/// Whether amounts of this resource are whole numbers, because it counts objects.
pub fn is_counted(resource: &str) -> bool {
    PLAIN_COUNTS.contains(&resource) || SERVICE_COUNTS.contains(&resource)
}

/// A kind, as quotas name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a> {
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural.
    pub plural: &'a str,
}

impl Counted<'_> {
    fn is_core(self, plural: &str) -> bool {
        self.group.is_empty() && self.plural == plural
    }

    fn is_device_claim(self) -> bool {
        self.group == "resource.k8s.io" && self.plural == "resourceclaims"
    }

    /// `count/deployments.apps`.
    pub fn count_name(self) -> String {
        if self.group.is_empty() {
            format!("count/{}", self.plural)
        } else {
            format!("count/{}.{}", self.plural, self.group)
        }
    }

    /// Whether a change of an object can take more than it did (creates always do).
    pub fn grows(self, subresource: &str) -> bool {
        match subresource {
            "" => self.is_core("services") || self.is_core("persistentvolumeclaims") || self.is_device_claim(),
            "resize" => self.is_core("pods"),
            _ => false,
        }
    }

    /// Whether quotas that limit `name` mind this kind.
    pub fn minds(self, name: &str) -> bool {
        if name == self.count_name() || self.is_device_claim() && device::minds(name) {
            return true;
        }
        if !self.group.is_empty() {
            return false;
        }
        match self.plural {
            "pods" => name == "pods" || pod::minds(name),
            "services" => name == "services" || SERVICE_COUNTS.contains(&name),
            "persistentvolumeclaims" => {
                matches!(name, "persistentvolumeclaims" | "requests.storage")
                    || name.ends_with(&format!("{STORAGE_CLASS}requests.storage"))
                    || name.ends_with(&format!("{STORAGE_CLASS}persistentvolumeclaims"))
            }
            plural => PLAIN_COUNTS.contains(&plural) && name == plural,
        }
    }

    /// What one object takes.
    pub fn usage(self, object: &Value, now: Timestamp) -> Amounts {
        let one = Quantity::whole(1);
        let mut usage = Amounts::from([(self.count_name(), one)]);
        if self.is_device_claim() {
            usage.extend(device::usage(object));
        }
        if !self.group.is_empty() {
            return usage;
        }
        match self.plural {
            "pods" => usage.extend(pod::usage(object, now)),
            "services" => usage.extend(service(object)),
            "persistentvolumeclaims" => usage.extend(claim(object)),
            plural if PLAIN_COUNTS.contains(&plural) => drop(usage.insert(plural.to_owned(), one)),
            _ => {}
        }
        usage
    }

    /// Whether a quota minds this object: one of the names it limits is of this kind, and the object is in all its scopes.
    pub fn matches(self, quota: &Value, object: &Value) -> bool {
        let minds = read::entries(quota, "/status/hard").any(|(name, _)| self.minds(name));
        minds && self.counts(quota, object)
    }

    /// The same by what the quota wishes instead of by what its status says.
    pub fn counts(self, quota: &Value, object: &Value) -> bool {
        scope::all_hold(quota, |selector| match self.plural {
            "pods" if self.group.is_empty() => scope::has_pod(selector, object),
            "persistentvolumeclaims" if self.group.is_empty() => scope::has_claim(selector, object),
            _ => false,
        })
    }
}

/// The amounts at `pointer`; what is no quantity is left out.
pub fn amounts(object: &Value, pointer: &str) -> Amounts {
    let entries = read::entries(object, pointer);
    entries
        .filter_map(|(name, amount)| Some((name.to_owned(), Quantity::of(amount)?)))
        .collect()
}

/// Amounts as JSON.
pub fn to_value(amounts: &Amounts) -> Value {
    let members = amounts
        .iter()
        .map(|(name, amount)| (name.clone(), amount.to_string().into()));
    Value::Object(members.collect::<Map<_, _>>())
}

/// `a=1,b=2`, as upstream's sentences have it.
pub fn sentence(amounts: &Amounts) -> String {
    let parts: Vec<String> = amounts
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"))
        .collect();
    parts.join(",")
}

/// Adds `more` to `to`.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.get(name).map_or(*amount, |present| *present + *amount);
        to.insert(name.clone(), sum);
    }
}

fn service(service: &Value) -> Amounts {
    let ports = read::list(service, "/spec/ports");
    let count = |count: usize| Quantity::whole(i64::try_from(count).unwrap_or(i64::MAX));
    let (nodeports, balancers) = match read::text(service, "/spec/type") {
        "NodePort" => (ports.len(), 0),
        "LoadBalancer" => {
            let allocates = read::some(service, "/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
            let given = ports
                .iter()
                .filter(|port| allocates || read::int(port, "/nodePort") != 0);
            (given.count(), 1)
        }
        _ => (0, 0),
    };
    Amounts::from([
        ("services".to_owned(), count(1)),
        ("services.nodeports".to_owned(), count(nodeports)),
        ("services.loadbalancers".to_owned(), count(balancers)),
    ])
}

fn claim(claim: &Value) -> Amounts {
    let one = Quantity::whole(1);
    let mut usage = Amounts::from([("persistentvolumeclaims".to_owned(), one)]);
    let annotated = claim
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get("volume.beta.kubernetes.io/storage-class"))
        .and_then(Value::as_str);
    let class = annotated.unwrap_or_else(|| read::text(claim, "/spec/storageClassName"));
    let asked = claim.pointer("/spec/resources/requests/storage").and_then(Quantity::of);
    let given = claim
        .pointer("/status/allocatedResources/storage")
        .and_then(Quantity::of);
    // A claim that is being shrunk back after an expansion failed still has what it was given.
    let storage = asked.max(given);
    usage.extend(storage.map(|storage| ("requests.storage".to_owned(), storage)));
    if !class.is_empty() {
        usage.insert(format!("{class}{STORAGE_CLASS}persistentvolumeclaims"), one);
        usage.extend(storage.map(|storage| (format!("{class}{STORAGE_CLASS}requests.storage"), storage)));
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn taken(plural: &str, object: &Value) -> String {
        let counted = Counted { group: "", plural };
        sentence(&counted.usage(object, "2026-01-01T00:00:00Z".parse().expect("a time")))
    }

    #[test]
    fn objects_take_their_count_and_what_is_theirs() {
        let ports = json!([{"port": 1, "nodePort": 30001}, {"port": 2}]);
        let none = "count/services=1,services=1,services.loadbalancers=0,services.nodeports=0";
        for (plural, object, expected) in [
            ("configmaps", json!({}), "configmaps=1,count/configmaps=1"),
            ("endpoints", json!({}), "count/endpoints=1"),
            ("services", json!({"spec": {"type": "ClusterIP", "ports": ports}}), none),
            (
                "services",
                json!({"spec": {"type": "NodePort", "ports": ports}}),
                "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2",
            ),
            (
                "services",
                json!({"spec": {"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false}}),
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1",
            ),
            (
                "persistentvolumeclaims",
                json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}}),
                "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
                 fast.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi",
            ),
        ] {
            assert_eq!(taken(plural, &object), expected, "{plural}");
        }
        let counted = Counted {
            group: "apps",
            plural: "deployments",
        };
        assert_eq!(counted.count_name(), "count/deployments.apps");
        assert!(counted.minds("count/deployments.apps") && !counted.minds("deployments"));
    }
}
