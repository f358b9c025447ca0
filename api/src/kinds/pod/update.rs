//! What may change in a pod (core `validation.ValidatePodUpdate`).

mod gated;

use super::{
    annotations, container, placement,
    validate::{metadata_and_spec, spec_of},
};
use crate::{
    at::At,
    field::FieldError,
    kinds::amount::is_same,
    read::{int, list, text},
};
use serde_json::Value;

const MUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// `spec.activeDeadlineSeconds` was longer than it may be: upstream looks no further.
enum Deadline {
    Fine(Option<FieldError>),
    Wrong(FieldError),
}

pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let (now, before) = (spec_of(new), spec_of(old));
    let mut errors = metadata_and_spec(new);
    errors.extend(annotations::validate_update(new, old, &now));
    for kind in ["containers", "initContainers"] {
        if now.list(kind).len() != before.list(kind).len() {
            errors.push(now.forbidden(kind, "pod updates may not add or remove containers"));
            return errors;
        }
        for container in now.items(kind) {
            errors.extend(container.need("image"));
            errors.extend(container::image_of_pod(&container));
        }
    }
    match deadline(&now, &before) {
        Deadline::Fine(error) => errors.extend(error),
        Deadline::Wrong(error) => {
            errors.push(error);
            return errors;
        }
    }
    errors.extend(tolerations(&now, &before));
    errors.extend(scheduling_gates(&now, &before));
    let gated = !before.list("schedulingGates").is_empty();
    if gated {
        errors.extend(gated::validate(&now, &before));
    }
    let changed = frozen(now.value, before.value, gated);
    if !changed.is_empty() {
        errors.push(now.forbidden("", format!("{MUTABLE}\n{}", changed.join("\n"))));
    }
    errors
}

fn deadline(new: &At<'_>, old: &At<'_>) -> Deadline {
    let member = "activeDeadlineSeconds";
    let wrong = |why: &str| {
        let value = new.value.get(member).cloned().unwrap_or_default();
        FieldError::invalid(new.path(member), value, why)
    };
    match (old.number(member), new.number(member)) {
        (_, Some(now)) if !(0..=i64::from(i32::MAX)).contains(&now) => {
            Deadline::Wrong(wrong("must be between 0 and 2147483647, inclusive"))
        }
        (Some(before), Some(now)) if now > before => {
            Deadline::Wrong(wrong("must be less than or equal to previous value"))
        }
        (Some(_), None) => Deadline::Fine(Some(wrong("must not update from a positive integer to nil value"))),
        _ => Deadline::Fine(None),
    }
}

/// A toleration without its seconds, which may change.
fn without_seconds(toleration: &Value) -> Value {
    let mut same = toleration.clone();
    same.as_object_mut().map(|t| t.shift_remove("tolerationSeconds"));
    same
}

fn tolerations(new: &At<'_>, old: &At<'_>) -> Vec<FieldError> {
    let kept: Vec<Value> = new.list("tolerations").iter().map(without_seconds).collect();
    let lost = |t: &Value| !kept.contains(&without_seconds(t));
    if old.list("tolerations").iter().any(lost) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        return vec![new.forbidden("tolerations", why)];
    }
    placement::tolerations(new)
}

fn scheduling_gates(new: &At<'_>, old: &At<'_>) -> Vec<FieldError> {
    let before: Vec<&str> = old.list("schedulingGates").iter().map(|g| text(g, "/name")).collect();
    let gates = new.items("schedulingGates").into_iter();
    gates
        .filter(|gate| !before.contains(&gate.text("name")))
        .map(|gate| {
            let name = gate.text("name");
            gate.forbidden(
                "name",
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            )
        })
        .collect()
}

/// What may not change and did, one line each.
fn frozen(new: &Value, old: &Value, gated: bool) -> Vec<String> {
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
        // A pod that is held back may still narrow where it goes: judged on its own.
        if gated {
            take("nodeSelector");
        }
    }
    if gated {
        gated::take_node_affinity(&mut allowed, old);
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
    let members = allowed.as_object().into_iter().flatten().map(|(k, _)| k);
    let mut names: Vec<&String> = members
        .chain(old.as_object().into_iter().flatten().map(|(k, _)| k))
        .collect();
    names.sort();
    names.dedup();
    let shown = |v: Option<&Value>| v.map_or_else(|| "(none)".to_owned(), Value::to_string);
    let both = |name: &str| (old.get(name), allowed.get(name));
    let differs = |name: &&&String| !is_same(both(name).0, both(name).1);
    let line = |name: &&String| format!("spec.{name}: {} -> {}", shown(both(name).0), shown(both(name).1));
    names.iter().filter(differs).map(line).collect()
}

fn int_of(map: &serde_json::Map<String, Value>, key: &str) -> i64 {
    map.get(key).and_then(Value::as_i64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;
    use serde_json::json;

    fn said(new: &Value, old: &Value) -> Vec<String> {
        let pods = find("", "v1", "pods").expect("pods are served");
        pods.validate_update(new, old, "")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn errors(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let (old, mut new) = (base(), base());
        change(&mut new["spec"]);
        find("", "v1", "pods").expect("pods are served").default(&mut new);
        said(&new, &old)
    }

    fn base() -> Value {
        let pods = find("", "v1", "pods").expect("pods are served");
        let mut old = json!({
            "metadata": { "name": "p", "namespace": "n" },
            "spec": {
                "containers": [{ "name": "a", "image": "i" }], "activeDeadlineSeconds": 10,
                "tolerations": [{ "key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5 }],
            },
        });
        pods.default(&mut old);
        old
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

    #[test]
    fn a_pod_that_is_held_back_may_narrow_where_it_goes() {
        let gate = |spec: &mut Value| spec["schedulingGates"] = json!([{ "name": "g" }]);
        let added = json!([{ "name": "g" }, { "name": "h" }]);
        assert_eq!(
            errors(|spec| spec["schedulingGates"] = added),
            [
                "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'",
                "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'",
            ]
        );
        let (mut old, terms) = (
            base(),
            json!([{ "matchExpressions": [{ "key": "a", "operator": "Exists" }] }]),
        );
        gate(&mut old["spec"]);
        old["spec"]["nodeSelector"] = json!({ "a": "b" });
        let affinity = |terms: &Value| json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } });
        let mut new = old.clone();
        new["spec"]["nodeSelector"]["c"] = "d".into();
        new["spec"]["affinity"] = affinity(&terms);
        assert_eq!(said(&new, &old), Vec::<String>::new());
        let narrowed = new.clone();
        new["spec"]["affinity"] = affinity(&json!([terms[0], terms[0]]));
        new["spec"]["nodeSelector"] = json!({});
        assert_eq!(
            said(&new, &narrowed),
            [
                "spec.nodeSelector: Invalid value: {}: only additions to spec.nodeSelector are allowed (no mutations or deletions)".to_owned(),
                format!("spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Invalid value: {}: no additions/deletions to non-empty NodeSelectorTerms list are allowed", json!([terms[0], terms[0]])),
            ]
        );
    }
}
