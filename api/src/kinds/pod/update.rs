//! What may change in a pod (core `validation.ValidatePodUpdate`, `ValidatePodStatusUpdate`).

use super::validate::validate_spec;
use crate::{
    field::FieldError,
    read::{self, int, list, text},
};
use serde_json::Value;

const MUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let nothing = Value::Null;
    let (new, old) = (new.get("spec").unwrap_or(&nothing), old.get("spec").unwrap_or(&nothing));
    let mut errors = Vec::new();
    for kind in ["containers", "initContainers"] {
        if list(new, &format!("/{kind}")).len() != list(old, &format!("/{kind}")).len() {
            errors.push(FieldError::forbidden(
                format!("spec.{kind}"),
                "pod updates may not add or remove containers",
            ));
        }
    }
    if !errors.is_empty() {
        return errors;
    }
    deadline(new, old, &mut errors);
    tolerations(new, old, &mut errors);
    scheduling_gates(new, old, &mut errors);
    let changed = frozen(new, old);
    if !changed.is_empty() {
        errors.push(FieldError::forbidden(
            "spec",
            format!("{MUTABLE}\n{}", changed.join("\n")),
        ));
    }
    errors.extend(validate_spec(new, "spec"));
    errors
}

fn deadline(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let field = "spec.activeDeadlineSeconds";
    let seconds = |spec: &Value| read::some(spec, "/activeDeadlineSeconds").and_then(Value::as_i64);
    match (seconds(old), seconds(new)) {
        (Some(old), Some(new)) if new > old => {
            errors.push(FieldError::invalid(
                field,
                new,
                "must be less than or equal to previous value",
            ));
        }
        (Some(_), None) => {
            errors.push(FieldError::invalid(
                field,
                Value::Null,
                "must not update from a positive integer to nil value",
            ));
        }
        _ => {}
    }
}

/// A toleration without its seconds, which may change.
fn without_seconds(toleration: &Value) -> Value {
    let mut same = toleration.clone();
    same.as_object_mut().map(|t| t.shift_remove("tolerationSeconds"));
    same
}

fn tolerations(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let kept: Vec<Value> = list(new, "/tolerations").iter().map(without_seconds).collect();
    if list(old, "/tolerations")
        .iter()
        .any(|t| !kept.contains(&without_seconds(t)))
    {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", why));
    }
}

fn scheduling_gates(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let before = list(old, "/schedulingGates");
    for gate in list(new, "/schedulingGates").iter().filter(|g| !before.contains(g)) {
        let why = format!(
            "only deletion is allowed, but found new scheduling gate '{}'",
            text(gate, "/name")
        );
        errors.push(FieldError::forbidden("spec.schedulingGates", why));
    }
}

/// What may not change and did, one line each.
fn frozen(new: &Value, old: &Value) -> Vec<String> {
    let mut allowed = new.clone();
    if let (Some(allowed), Some(old)) = (allowed.as_object_mut(), old.as_object()) {
        let mut take = |member: &str| {
            match old.get(member) {
                Some(value) => allowed.insert(member.to_owned(), value.clone()),
                None => allowed.shift_remove(member),
            };
        };
        for member in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
            take(member);
        }
        if int_of(old, "terminationGracePeriodSeconds") < 0 && int(new, "/terminationGracePeriodSeconds") == 1 {
            take("terminationGracePeriodSeconds");
        }
        // A pod that is held back may still narrow where it goes.
        if old
            .get("schedulingGates")
            .and_then(Value::as_array)
            .is_some_and(|g| !g.is_empty())
        {
            take("nodeSelector");
            take("affinity");
        }
    }
    for kind in ["containers", "initContainers"] {
        let images: Vec<Value> = list(old, &format!("/{kind}"))
            .iter()
            .map(|c| c["image"].clone())
            .collect();
        let containers = allowed
            .get_mut(kind)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten();
        for (container, image) in containers.zip(images) {
            container["image"] = image;
        }
    }
    let keys = |v: &Value| {
        v.as_object()
            .into_iter()
            .flatten()
            .map(|(k, _)| k.clone())
            .collect::<Vec<_>>()
    };
    let mut names = keys(&allowed);
    names.extend(keys(old));
    names.sort();
    names.dedup();
    let shown = |v: Option<&Value>| v.map_or_else(|| "(none)".to_owned(), Value::to_string);
    let differs = |name: &&String| allowed.get(name.as_str()) != old.get(name.as_str());
    let line = |name: &String| format!("spec.{name}: {} -> {}", shown(old.get(name)), shown(allowed.get(name)));
    names.iter().filter(differs).map(line).collect()
}

fn int_of(map: &serde_json::Map<String, Value>, key: &str) -> i64 {
    map.get(key).and_then(Value::as_i64).unwrap_or_default()
}

pub(super) fn validate_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (now, before) = (text(new, "/status/qosClass"), text(old, "/status/qosClass"));
    if !before.is_empty() && now != before {
        errors.push(FieldError::invalid("status.qosClass", now, "field is immutable"));
    }
    for (index, ip) in list(new, "/status/podIPs").iter().enumerate() {
        let address = text(ip, "/ip");
        let wrong = crate::names::ip(address);
        errors.extend(
            wrong
                .into_iter()
                .map(|m| FieldError::invalid(format!("status.podIPs[{index}]"), address, m)),
        );
    }
    let phase = text(new, "/status/phase");
    let phases = ["Failed", "Pending", "Running", "Succeeded", "Unknown"];
    if !phase.is_empty() && !phases.contains(&phase) {
        errors.push(FieldError::not_supported("status.phase", phase, &phases));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;
    use serde_json::json;

    fn errors(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let pods = find("", "v1", "pods").expect("pods are served");
        let mut old = json!({
            "metadata": { "name": "p", "namespace": "n" },
            "spec": {
                "containers": [{ "name": "a", "image": "i" }], "activeDeadlineSeconds": 10,
                "tolerations": [{ "key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5 }],
            },
        });
        pods.default(&mut old);
        let mut new = old.clone();
        change(&mut new["spec"]);
        pods.validate_update(&new, &old, "")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_may_change_may_change() {
        assert!(errors(|spec| spec["containers"][0]["image"] = "j".into()).is_empty());
        assert!(errors(|spec| spec["activeDeadlineSeconds"] = 5.into()).is_empty());
        assert!(errors(|spec| spec["tolerations"][0]["tolerationSeconds"] = 9.into()).is_empty());
        let toleration = json!({ "key": "x", "operator": "Exists" });
        assert!(errors(|spec| spec["tolerations"].as_array_mut().expect("a list").push(toleration)).is_empty());
    }

    #[test]
    fn everything_else_may_not() {
        let frozen = errors(|spec| spec["nodeName"] = "n".into());
        assert_eq!(
            frozen,
            [format!("spec: Forbidden: {MUTABLE}\nspec.nodeName: (none) -> \"n\"")]
        );
        let longer = errors(|spec| spec["activeDeadlineSeconds"] = 11.into());
        assert_eq!(
            longer,
            ["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"]
        );
        let gone = errors(|spec| spec["tolerations"] = json!([]));
        assert_eq!(
            gone,
            ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
        );
        let more = errors(|spec| {
            spec["containers"]
                .as_array_mut()
                .expect("a list")
                .push(json!({ "name": "b", "image": "i" }))
        });
        assert_eq!(
            more,
            ["spec.containers: Forbidden: pod updates may not add or remove containers"]
        );
    }
}
