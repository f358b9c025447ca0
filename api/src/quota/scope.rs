//! Which pods and volume claims a quota is about: its scopes and its scope selector.

use crate::kinds::pod::qos_class;
use crate::read;
use serde_json::{Value, json};

/// Whether `holds` is so for every scope of the quota.
pub(super) fn all_hold(quota: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    let plain = read::list(quota, "/spec/scopes").iter();
    let mut plain = plain.map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
    let selectors = read::list(quota, "/spec/scopeSelector/matchExpressions");
    plain.all(|selector| holds(&selector)) && selectors.iter().all(holds)
}

/// Whether a pod is in one scope.
pub(super) fn has_pod(selector: &Value, pod: &Value) -> bool {
    match read::text(selector, "/scopeName") {
        "Terminating" => has_deadline(pod),
        "NotTerminating" => !has_deadline(pod),
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => has_class(
            selector,
            Some(read::text(pod, "/spec/priorityClassName")).filter(|class| !class.is_empty()),
        ),
        "CrossNamespacePodAffinity" => looks_elsewhere(pod),
        _ => false,
    }
}

/// Whether a volume claim is in one scope: that of the attributes classes that it wishes, has, or is on its way to.
pub(super) fn has_claim(selector: &Value, claim: &Value) -> bool {
    if read::text(selector, "/scopeName") != "VolumeAttributesClass" {
        return false;
    }
    let classes = [
        "/spec/volumeAttributesClassName",
        "/status/currentVolumeAttributesClassName",
        "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
    ];
    let classes = classes.map(|pointer| read::text(claim, pointer));
    let mut named = classes.into_iter().filter(|class| !class.is_empty()).peekable();
    if named.peek().is_none() {
        return has_class(selector, None);
    }
    named.any(|class| has_class(selector, Some(class)))
}

fn is_best_effort(pod: &Value) -> bool {
    match read::text(pod, "/status/qosClass") {
        "" => pod.get("spec").is_some_and(|spec| qos_class(spec) == "BestEffort"),
        class => class == "BestEffort",
    }
}

fn has_deadline(pod: &Value) -> bool {
    read::some(pod, "/spec/activeDeadlineSeconds")
        .and_then(Value::as_i64)
        .is_some_and(|seconds| seconds >= 0)
}

fn has_class(selector: &Value, class: Option<&str>) -> bool {
    let named = |class| read::list(selector, "/values").iter().any(|value| value == class);
    match read::text(selector, "/operator") {
        "Exists" => class.is_some(),
        "DoesNotExist" => class.is_none(),
        "In" => class.is_some_and(named),
        "NotIn" => !class.is_some_and(named),
        _ => false,
    }
}

fn looks_elsewhere(pod: &Value) -> bool {
    let term =
        |term: &Value| !read::list(term, "/namespaces").is_empty() || read::some(term, "/namespaceSelector").is_some();
    ["podAffinity", "podAntiAffinity"].iter().any(|affinity| {
        let list = |rule: &str| read::list(pod, &format!("/spec/affinity/{affinity}/{rule}IgnoredDuringExecution"));
        let weighted = |term: &Value| term.get("podAffinityTerm").cloned().unwrap_or_default();
        list("requiredDuringScheduling").iter().any(term)
            || list("preferredDuringScheduling")
                .iter()
                .map(weighted)
                .any(|inner| term(&inner))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_in_the_scopes_that_fit_them() {
        let idle = json!({"spec": {"containers": [{"name": "a"}]}});
        let mut busy = json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]}});
        busy["spec"]["activeDeadlineSeconds"] = 5.into();
        busy["spec"]["priorityClassName"] = "high".into();
        let classes = |operator: &str| {
            json!({"spec": {"scopeSelector": {"matchExpressions":
            [{"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]}}})
        };
        let scopes = |scopes: &[&str]| json!({"spec": {"scopes": scopes}});
        for (quota, of_idle, of_busy) in [
            (scopes(&[]), true, true),
            (scopes(&["BestEffort"]), true, false),
            (scopes(&["NotBestEffort", "Terminating"]), false, true),
            (scopes(&["NotTerminating"]), true, false),
            (classes("In"), false, true),
            (classes("NotIn"), true, false),
            (scopes(&["PriorityClass"]), false, true),
        ] {
            let holds = |pod: &Value| all_hold(&quota, |selector| has_pod(selector, pod));
            assert_eq!((holds(&idle), holds(&busy)), (of_idle, of_busy), "{quota}");
        }
    }

    #[test]
    fn claims_are_in_the_scopes_of_all_their_attributes_classes() {
        let scope =
            |operator: &str| json!({"scopeName": "VolumeAttributesClass", "operator": operator, "values": ["gold"]});
        let plain = json!({"spec": {}});
        let leaving = json!({"spec": {"volumeAttributesClassName": "silver"},
            "status": {"currentVolumeAttributesClassName": "gold"}});
        for (operator, of_plain, of_leaving) in [
            ("In", false, true),
            ("NotIn", true, true),
            ("Exists", false, true),
            ("DoesNotExist", true, false),
        ] {
            let of = |claim: &Value| has_claim(&scope(operator), claim);
            assert_eq!((of(&plain), of(&leaving)), (of_plain, of_leaving), "{operator}");
        }
        assert!(!has_claim(&json!({"scopeName": "BestEffort"}), &plain));
    }
}
