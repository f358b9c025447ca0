//! What is wrong with the addresses of a Service and their families (core `validation.ValidateServiceClusterIPsRelatedFields`).

use crate::{
    addresses,
    at::{At, root},
    field::FieldError,
    names,
    read::{list, some, text},
};
use serde_json::Value;
use std::collections::HashSet;

const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const ONCE: &str = "may not change once set";

/// What is wrong; nothing of an ExternalName is judged here.
pub fn check(service: &Value) -> Vec<FieldError> {
    let spec = root(service).child("spec");
    if spec.text("type") == "ExternalName" {
        return Vec::new();
    }
    let mut errors = in_step(&spec);
    let mut seen = HashSet::new();
    for family in spec.items("ipFamilies") {
        if !FAMILIES.contains(&family.as_text()) {
            errors.push(FieldError::not_supported(family.path(""), family.as_text(), FAMILIES));
        }
        if !seen.insert(family.as_text()) {
            errors.push(FieldError::duplicate(family.path(""), family.as_text()));
        }
    }
    errors.extend(spec.one_of("ipFamilyPolicy", POLICIES));
    let wrong = ips(&spec);
    let are_good = wrong.is_empty();
    errors.extend(wrong);
    if spec.list("clusterIPs").len() > 2 {
        errors.extend(spec.invalid("clusterIPs", ["may only hold up to 2 values"]));
    }
    // Of what is no address there is nothing more to say.
    if are_good {
        errors.extend(families(&spec));
    }
    errors
}

/// `clusterIP` and `clusterIPs` say the same.
fn in_step(spec: &At<'_>) -> Vec<FieldError> {
    let (one, all) = (spec.text("clusterIP"), spec.items("clusterIPs"));
    match (one, all.first().map(At::as_text)) {
        ("", None) => Vec::new(),
        ("", Some(_)) => spec.invalid("clusterIPs", ["must be empty when `clusterIP` is not specified"]),
        (_, None) => vec![spec.required("clusterIPs", "")],
        (one, Some(first)) if one != first => spec.invalid("clusterIPs", ["first value must match `clusterIP`"]),
        _ => Vec::new(),
    }
}

fn ips(spec: &At<'_>) -> Vec<FieldError> {
    let all = spec.items("clusterIPs");
    let mut errors = Vec::new();
    for (index, ip) in all.iter().enumerate() {
        if index == 0 && ip.as_text() == "None" {
            if all.len() > 1 {
                errors.extend(spec.invalid("clusterIPs", ["'None' must be the first and only value"]));
            }
            continue;
        }
        errors.extend(ip.invalid_text("", names::ip(ip.as_text())));
    }
    errors
}

fn families(spec: &At<'_>) -> Vec<FieldError> {
    let all = spec.items("clusterIPs");
    let of: Vec<Option<&str>> = all.iter().map(|ip| addresses::family(ip.as_text())).collect();
    let mut errors = Vec::new();
    if of.len() > 2 || of.len() == 2 && of[0] == of[1] {
        let why = "may specify no more than one IP for each IP family";
        errors.extend(spec.invalid("clusterIPs", [why]));
    }
    let wanted = spec.items("ipFamilies");
    for (index, ((ip, family), wanted)) in all.iter().zip(&of).zip(&wanted).enumerate() {
        let wanted = wanted.as_text();
        if family.is_some_and(|family| family != wanted) && FAMILIES.contains(&wanted) {
            let why = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            errors.extend(ip.invalid("", [why]));
        }
    }
    errors
}

/// What may not change: the first address and family; the second ones come and go by the policy.
pub(super) fn check_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let outside = |service: &Value| text(service, "/spec/type") == "ExternalName";
    if outside(new) || outside(old) {
        return Vec::new();
    }
    let spec = root(new).child("spec");
    let mut errors = Vec::new();
    let headless = |service: &Value| matches!(list(service, "/spec/clusterIPs"), [only] if only == "None");
    let (now, before) = (headless(new), headless(old));
    if !(now && before) {
        errors.extend(steady(&spec, list(old, "/spec/clusterIPs"), "clusterIPs", "clusterIP"));
    }
    // Families may change together with whether it has addresses at all.
    if !now && !before {
        errors.extend(steady(&spec, list(old, "/spec/ipFamilies"), "ipFamilies", "ipFamily"));
    }
    errors
}

fn steady(spec: &At<'_>, before: &[Value], member: &str, one: &str) -> Vec<FieldError> {
    let now = spec.items(member);
    let whole = || spec.child(member).value.clone();
    let at = |index: usize| format!("{}[{index}]", spec.path(member));
    let changed = |index: usize| now[index].value != &before[index];
    let mut errors = Vec::new();
    let common = if now.len() == before.len() {
        now.len()
    } else {
        now.len().min(before.len()).min(1)
    };
    for index in (0..common).filter(|index| changed(*index)) {
        errors.push(FieldError::invalid(at(index), whole(), ONCE));
    }
    if before.len() > now.len() {
        if now.is_empty() {
            errors.push(FieldError::invalid(
                at(0),
                whole(),
                format!("primary {one} can not be unset"),
            ));
        }
        let single = some(spec.value, "/ipFamilyPolicy").is_some_and(|policy| policy == "SingleStack");
        if now.len() == 1 && !single {
            let why = format!("must be set to 'SingleStack' when releasing the secondary {one}");
            errors.extend(spec.invalid("ipFamilyPolicy", [why]));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_judged_as_upstream() {
        for (spec, message) in [
            (json!({ "clusterIP": "10.0.0.1" }), "spec.clusterIPs: Required value"),
            (
                json!({ "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"] }),
                "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`",
            ),
            (
                json!({ "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"] }),
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
            ),
            (
                json!({ "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv6"] }),
                "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
            ),
            (
                json!({ "ipFamilies": ["IPv4", "IPv4"] }),
                "spec.ipFamilies[1]: Duplicate value: \"IPv4\"",
            ),
            (
                json!({ "ipFamilyPolicy": "X" }),
                "spec.ipFamilyPolicy: Unsupported value: \"X\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"",
            ),
        ] {
            let messages: Vec<String> = check(&json!({ "spec": spec }))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, [message], "{spec}");
        }
    }

    #[test]
    fn the_first_address_stays() {
        let service = |ips: &[&str], policy: &str| json!({ "spec": { "type": "ClusterIP", "clusterIPs": ips, "ipFamilyPolicy": policy } });
        let old = service(&["10.0.0.1", "fd00::1"], "RequireDualStack");
        for (new, messages) in [
            (service(&["10.0.0.1"], "SingleStack"), &[][..]),
            (
                service(&["10.0.0.1"], "RequireDualStack"),
                &[
                    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be set to 'SingleStack' when releasing the secondary clusterIP",
                ],
            ),
            (
                service(&["10.0.0.2", "fd00::1"], "RequireDualStack"),
                &["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\",\"fd00::1\"]: may not change once set"],
            ),
            (
                service(&[], "SingleStack"),
                &["spec.clusterIPs[0]: Invalid value: []: primary clusterIP can not be unset"],
            ),
        ] {
            let found: Vec<String> = check_update(&new, &old).iter().map(ToString::to_string).collect();
            assert_eq!(found, messages);
        }
    }
}
