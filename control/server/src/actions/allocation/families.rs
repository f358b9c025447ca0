//! Which address families a Service has: decided from what it says, from what it had and from what the cluster has
//! (upstream `initIPFamilyFields`).

use super::{Refused, has_address, is_headless};
use api::FieldError;
use api::read::{self, entries, list, some, text};
use serde_json::{Value, json};

const POLICY: &str = "spec.ipFamilyPolicy";

/// Fills in `ipFamilyPolicy` and `ipFamilies`. `cluster` has the cluster's families, the first one first.
pub(super) fn decide(service: &mut Value, old: Option<&Value>, cluster: &[&'static str]) -> Result<(), Refused> {
    if !has_address(service) || old.is_some_and(|old| stays_as_preferred(service, old)) {
        return Ok(());
    }
    if some(service, "/spec/ipFamilyPolicy").is_none() {
        let before = old
            .and_then(|old| some(old, "/spec/ipFamilyPolicy"))
            .and_then(Value::as_str);
        let policy = match before {
            Some(policy) => policy.to_owned(),
            None if is_headless(service) && !selects(service) => "RequireDualStack".to_owned(),
            None => "SingleStack".to_owned(),
        };
        service["spec"]["ipFamilyPolicy"] = policy.into();
    }
    let wrong = api::kinds::service::address_fields(service);
    refuse(wrong)?;
    let policy = text(service, "/spec/ipFamilyPolicy").to_owned();
    let mut errors = old.map_or_else(Vec::new, |old| reduce(service, old, &policy));
    errors.extend(single(service, &policy));
    errors.extend(infer(service, cluster));
    refuse(errors)?;
    let single = policy == "SingleStack";
    if is_headless(service) && !selects(service) {
        // It names addresses of any family, whatever the cluster has.
        start(service, cluster);
        if !single {
            add_other(service);
        }
        return Ok(());
    }
    refuse(not_of_the_cluster(service, cluster, &policy))?;
    start(service, cluster);
    if !single && cluster.len() == 2 {
        add_other(service);
    }
    Ok(())
}

fn refuse(errors: Vec<FieldError>) -> Result<(), Refused> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Refused::Fields(errors))
    }
}

fn selects(service: &Value) -> bool {
    entries(service, "/spec/selector").next().is_some()
}

fn policy_error(policy: &str, why: &str) -> FieldError {
    FieldError::invalid(POLICY, policy, why)
}

/// A Service that prefers two families keeps what it has, whatever the cluster has become, until it says otherwise.
fn stays_as_preferred(service: &Value, old: &Value) -> bool {
    let prefers = |service: &Value| text(service, "/spec/ipFamilyPolicy") == "PreferDualStack";
    let same = |pointer: &str| list(service, pointer) == list(old, pointer);
    has_address(old) && prefers(service) && prefers(old) && same("/spec/clusterIPs") && same("/spec/ipFamilies")
}

/// An update may give up the second family; it must say so by its policy.
fn reduce(service: &mut Value, old: &Value, policy: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (member, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        let pointer = format!("/spec/{member}");
        let (before, now) = (list(old, &pointer), list(service, &pointer));
        if policy == "SingleStack" {
            if before == now && now.len() > 1 {
                let first = now[0].clone();
                service["spec"][member] = json!([first]);
            }
        } else if before.len() == 2 && now.len() == 1 {
            let why = format!("must be 'SingleStack' to release the secondary {what}");
            errors.push(policy_error(policy, &why));
        }
    }
    errors
}

fn single(service: &Value, policy: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (member, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if policy == "SingleStack" && list(service, &format!("/spec/{member}")).len() == 2 {
            let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            errors.push(policy_error(policy, &why));
        }
    }
    errors
}

/// Addresses say their families where `ipFamilies` does not.
fn infer(service: &mut Value, cluster: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let ips = list(service, "/spec/clusterIPs").to_vec();
    for (index, ip) in ips.iter().enumerate() {
        let Some(family) = ip.as_str().and_then(api::addresses::family) else {
            break;
        };
        if index < list(service, "/spec/ipFamilies").len() {
            continue;
        }
        if cluster.contains(&family) {
            push_family(service, family);
        } else {
            let why = format!("{family} is not configured on this cluster");
            let path = format!("spec.clusterIPs[{index}]");
            errors.push(FieldError::invalid(path, ips.clone(), why));
        }
    }
    errors
}

fn not_of_the_cluster(service: &Value, cluster: &[&str], policy: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if policy == "RequireDualStack" && cluster.len() < 2 {
        errors.push(policy_error(
            policy,
            "this cluster is not configured for dual-stack services",
        ));
    }
    for (index, family) in list(service, "/spec/ipFamilies").iter().enumerate() {
        if !family.as_str().is_some_and(|family| cluster.contains(&family)) {
            let path = format!("spec.ipFamilies[{index}]");
            errors.push(FieldError::invalid(
                path,
                family.clone(),
                "not configured on this cluster",
            ));
        }
    }
    errors
}

/// Without a wish, the cluster's first family.
fn start(service: &mut Value, cluster: &[&'static str]) {
    if list(service, "/spec/ipFamilies").is_empty() {
        push_family(service, cluster.first().copied().unwrap_or("IPv4"));
    }
}

fn add_other(service: &mut Value) {
    if let [only] = list(service, "/spec/ipFamilies") {
        let other = if only == "IPv4" { "IPv6" } else { "IPv4" };
        push_family(service, other);
    }
}

fn push_family(service: &mut Value, family: &str) {
    let spec = &mut service["spec"];
    read::set_default(spec, "ipFamilies", json!([]));
    if let Some(families) = spec["ipFamilies"].as_array_mut() {
        families.push(family.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(spec: Value, old: Option<Value>, cluster: &[&'static str]) -> Result<Value, Vec<String>> {
        let mut service = json!({ "spec": spec });
        let old = old.map(|spec| json!({ "spec": spec }));
        match decide(&mut service, old.as_ref(), cluster) {
            Ok(()) => Ok(json!([
                service["spec"]["ipFamilyPolicy"],
                service["spec"]["ipFamilies"]
            ])),
            Err(Refused::Fields(errors)) => Err(errors.iter().map(ToString::to_string).collect()),
            Err(Refused::Exhausted(why)) => Err(vec![why]),
        }
    }

    #[test]
    fn families_come_from_the_service_and_the_cluster() {
        let (four, both) = (&["IPv4"][..], &["IPv6", "IPv4"][..]);
        for (spec, cluster, expected) in [
            (json!({}), four, json!(["SingleStack", ["IPv4"]])),
            (json!({}), both, json!(["SingleStack", ["IPv6"]])),
            (json!({ "type": "ExternalName" }), both, json!([null, null])),
            (
                json!({ "ipFamilyPolicy": "PreferDualStack" }),
                four,
                json!(["PreferDualStack", ["IPv4"]]),
            ),
            (
                json!({ "ipFamilyPolicy": "PreferDualStack" }),
                both,
                json!(["PreferDualStack", ["IPv6", "IPv4"]]),
            ),
            (
                json!({ "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4"] }),
                both,
                json!(["RequireDualStack", ["IPv4", "IPv6"]]),
            ),
            (
                json!({ "clusterIP": "fd00::9", "clusterIPs": ["fd00::9"] }),
                both,
                json!(["SingleStack", ["IPv6"]]),
            ),
            (
                json!({ "clusterIP": "None", "clusterIPs": ["None"] }),
                four,
                json!(["RequireDualStack", ["IPv4", "IPv6"]]),
            ),
            (
                json!({ "clusterIP": "None", "clusterIPs": ["None"], "selector": { "a": "b" } }),
                four,
                json!(["SingleStack", ["IPv4"]]),
            ),
        ] {
            assert_eq!(decided(spec.clone(), None, cluster), Ok(expected), "{spec}");
        }
    }

    #[test]
    fn impossible_families_are_refused_as_upstream() {
        let four = &["IPv4"][..];
        for (spec, message) in [
            (
                json!({ "ipFamilyPolicy": "RequireDualStack" }),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ),
            (
                json!({ "ipFamilies": ["IPv6"] }),
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
            ),
            (
                json!({ "clusterIP": "fd00::1", "clusterIPs": ["fd00::1"] }),
                "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
            ),
            (
                json!({ "ipFamilies": ["IPv4", "IPv6"] }),
                "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
            ),
        ] {
            assert_eq!(
                decided(spec.clone(), None, four),
                Err(vec![message.to_owned()]),
                "{spec}"
            );
        }
    }

    #[test]
    fn the_second_family_goes_only_by_the_policy() {
        let both = &["IPv4", "IPv6"][..];
        let ips = json!(["10.0.0.1", "fd00::1"]);
        let old = json!({ "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"], "clusterIP": "10.0.0.1", "clusterIPs": ips });
        let mut new = old.clone();
        new["ipFamilyPolicy"] = "SingleStack".into();
        assert_eq!(
            decided(new, Some(old.clone()), both),
            Ok(json!(["SingleStack", ["IPv4"]]))
        );
        let mut new = old.clone();
        new["ipFamilies"] = json!(["IPv4"]);
        assert_eq!(
            decided(new, Some(old), both),
            Err(vec!["spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary IP family".to_owned()])
        );
    }
}
