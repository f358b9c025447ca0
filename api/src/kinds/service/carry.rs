//! What a write of a Service carries over from before, and what it drops: clients leave out what the server has allocated
//! (registry/core/service `patchAllocatedValues`, `normalizeClusterIPs`, `dropTypeDependentFields`).

use crate::read::{self, int, list, some, text};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// A new Service: `clusterIP` says the first of `clusterIPs` too.
pub(super) fn create(spec: &mut Value) {
    let one = text(spec, "/clusterIP").to_owned();
    if !one.is_empty() && list(spec, "/clusterIPs").is_empty() {
        spec["clusterIPs"] = vec![one].into();
    }
}

/// A changed Service.
pub(super) fn update(new: &mut Value, old: &Value) {
    allocated(&mut new["spec"], &old["spec"]);
    cluster_ips(&mut new["spec"], &old["spec"]);
    of_type(&mut new["spec"], &old["spec"]);
    if text(new, "/spec/type") != "LoadBalancer" {
        new["status"]["loadBalancer"] = Value::Object(Map::new());
    }
}

fn has_address(spec: &Value) -> bool {
    matches!(text(spec, "/type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(spec: &Value) -> bool {
    let gives = || some(spec, "/allocateLoadBalancerNodePorts").is_none_or(|v| v == true);
    match text(spec, "/type") {
        "NodePort" => true,
        "LoadBalancer" => gives(),
        _ => false,
    }
}

/// Whether a load balancer asks each node for its health.
pub(super) fn has_health_check(spec: &Value) -> bool {
    text(spec, "/type") == "LoadBalancer" && text(spec, "/externalTrafficPolicy") == "Local"
}

/// Whether clients outside reach it, so that it matters how their traffic goes.
pub(super) fn is_reached_from_outside(spec: &Value) -> bool {
    match text(spec, "/type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !list(spec, "/externalIPs").is_empty(),
        _ => false,
    }
}

fn allocated(new: &mut Value, old: &Value) {
    if has_address(new) && has_address(old) {
        let before = text(old, "/clusterIP");
        if text(new, "/clusterIP").is_empty() && !before.is_empty() {
            new["clusterIP"] = before.into();
        }
        if list(new, "/clusterIPs").is_empty() && text(new, "/clusterIP") == before {
            keep(new, old, "clusterIPs");
        }
    }
    if has_node_ports(new) && has_node_ports(old) {
        node_ports(new, old);
    }
    if has_health_check(new) && has_health_check(old) && int(new, "/healthCheckNodePort") == 0 {
        keep(new, old, "healthCheckNodePort");
    }
}

/// A port that is left without a node port keeps the one that its name had, unless another has taken it.
fn node_ports(new: &mut Value, old: &Value) {
    let used = |spec: &Value| -> HashSet<i64> {
        let all = list(spec, "/ports").iter().map(|port| int(port, "/nodePort"));
        all.filter(|port| *port != 0).collect()
    };
    let kept: HashSet<i64> = used(new).intersection(&used(old)).copied().collect();
    let by_name: HashMap<&str, i64> = list(old, "/ports")
        .iter()
        .map(|port| (text(port, "/name"), int(port, "/nodePort")))
        .collect();
    for port in new.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let before = by_name.get(text(port, "/name")).copied().unwrap_or_default();
        if int(port, "/nodePort") == 0 && before != 0 && !kept.contains(&before) {
            port["nodePort"] = before.into();
        }
    }
}

fn cluster_ips(new: &mut Value, old: &Value) {
    let (before, now) = (text(old, "/clusterIP").to_owned(), text(new, "/clusterIP").to_owned());
    if before == now {
        if list(new, "/clusterIPs").is_empty() {
            keep(new, old, "clusterIPs");
        }
    } else if list(new, "/clusterIPs") == list(old, "/clusterIPs") {
        if now.is_empty() {
            drop_member(new, "clusterIPs");
        } else {
            new["clusterIPs"] = vec![now].into();
        }
    }
}

/// What the new type has no use for goes, unless the client changed it: then its check says why it may not be there.
fn of_type(new: &mut Value, old: &Value) {
    let same = |new: &Value, member: &str| new.get(member) == old.get(member);
    if has_address(old) && !has_address(new) {
        if same(new, "clusterIPs") {
            drop_member(new, "clusterIP");
            drop_member(new, "clusterIPs");
        }
        for member in ["ipFamilies", "ipFamilyPolicy"] {
            if same(new, member) {
                drop_member(new, member);
            }
        }
    }
    let numbers = |spec: &Value| -> Vec<i64> { list(spec, "/ports").iter().map(|p| int(p, "/nodePort")).collect() };
    if has_node_ports(old) && !has_node_ports(new) && numbers(new) == numbers(old) {
        crate::at::each_mut(new, "/ports", |port| drop_member(port, "nodePort"));
    }
    if has_health_check(old) && !has_health_check(new) && same(new, "healthCheckNodePort") {
        drop_member(new, "healthCheckNodePort");
    }
    let balanced = |spec: &Value| text(spec, "/type") == "LoadBalancer";
    for member in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if balanced(old) && !balanced(new) && same(new, member) {
            drop_member(new, member);
        }
    }
    if is_reached_from_outside(old) && !is_reached_from_outside(new) && same(new, "externalTrafficPolicy") {
        drop_member(new, "externalTrafficPolicy");
    }
}

fn keep(new: &mut Value, old: &Value, member: &str) {
    if let Some(value) = old.get(member) {
        read::set_default(new, member, Value::Null);
        new[member] = value.clone();
    }
}

fn drop_member(object: &mut Value, member: &str) {
    object.as_object_mut().map(|o| o.shift_remove(member));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn old() -> Value {
        json!({ "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
            "ports": [{ "name": "a", "port": 80, "protocol": "TCP", "nodePort": 30080 }],
        }, "status": { "loadBalancer": {} } })
    }

    #[test]
    fn what_was_allocated_stays_when_the_client_leaves_it_out() {
        let mut new = json!({ "spec": { "type": "NodePort", "ports": [{ "name": "a", "port": 81 }, { "name": "b", "port": 82 }] } });
        update(&mut new, &old());
        assert_eq!(
            (
                &new["spec"]["clusterIP"],
                &new["spec"]["clusterIPs"],
                &new["spec"]["ports"][0]["nodePort"]
            ),
            (&json!("10.96.0.9"), &json!(["10.96.0.9"]), &json!(30080))
        );
        assert_eq!(new["spec"]["ports"][1].get("nodePort"), None);
    }

    #[test]
    fn what_the_new_type_has_no_use_for_goes() {
        let mut new = old();
        new["spec"]["type"] = "ClusterIP".into();
        update(&mut new, &old());
        let members = |spec: &Value| ["externalTrafficPolicy", "clusterIP"].map(|m| spec.get(m).is_some());
        assert_eq!(members(&new["spec"]), [false, true]);
        assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
        let mut new = old();
        new["spec"]["type"] = "ExternalName".into();
        update(&mut new, &old());
        for gone in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            assert_eq!(new["spec"].get(gone), None, "{gone}");
        }
    }
}
