//! `pods/NAME/resize`: other amounts of processor and memory for the containers of a running pod (core `ValidatePodResize`).

use super::{ephemeral::is_static, is_sidecar, qos_class, validate::metadata_and_spec};
use crate::{
    field::FieldError,
    kinds::amount::is_same,
    read::{self, entries, list, text},
};
use serde_json::{Value, json};

const KINDS: [&str; 2] = ["initContainers", "containers"];
/// What may be resized.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// Takes the containers' resources and resize policies of `new`, everything else of `old`. Containers that came, went or
/// were renamed stay as they were sent, so that validation refuses them.
pub(super) fn keep_the_rest(new: &mut Value, old: &Value) {
    let wished: Vec<Value> = KINDS.iter().map(|kind| new["spec"][*kind].take()).collect();
    let pod_resources = new["spec"].get("resources").cloned();
    let kept = new["metadata"].take();
    *new = old.clone();
    for member in ["resourceVersion", "uid", "managedFields"] {
        if let Some(value) = kept.get(member) {
            new["metadata"][member] = value.clone();
        }
    }
    for (kind, wished) in KINDS.iter().zip(wished) {
        let names = |containers: &Value| -> Vec<String> {
            let all = containers.as_array().into_iter().flatten();
            all.map(|c| text(c, "/name").to_owned()).collect()
        };
        if names(&wished) != names(&old["spec"][*kind]) {
            new["spec"][*kind] = wished;
            continue;
        }
        let containers = new["spec"]
            .get_mut(*kind)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten();
        for (container, wish) in containers.zip(wished.as_array().into_iter().flatten()) {
            for member in ["resources", "resizePolicy"] {
                set(container, member, wish.get(member).cloned());
            }
        }
    }
    if pod_resources.is_some() {
        set(&mut new["spec"], "resources", pod_resources);
    }
}

fn set(object: &mut Value, member: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => map.insert(member.to_owned(), value),
            None => map.shift_remove(member),
        };
    }
}

pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    if is_static(old) {
        return vec![FieldError::forbidden("", "static pods cannot be resized")];
    }
    if text(old, "/spec/os/name") == "windows" {
        return vec![FieldError::forbidden("", "windows pods cannot be resized")];
    }
    let mut errors = metadata_and_spec(new);
    let class = match text(old, "/status/qosClass") {
        "" => qos_class(&old["spec"]),
        class => class,
    };
    if qos_class(&new["spec"]) != class {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid("spec", text(new, "/status/qosClass"), why));
    }
    if !node_can(old) {
        errors.push(FieldError::forbidden(
            "spec",
            "Pod running on node without support for resize",
        ));
    }
    let order = ordering(new, old);
    if !order.is_empty() {
        errors.extend(order);
        return errors;
    }
    errors.extend(removals(new, old));
    if !is_same(
        Some(&without_resizable(&new["spec"])),
        Some(&without_resizable(&old["spec"])),
    ) {
        let why = format!(
            "only cpu and memory resources are mutable\n{} -> {}",
            without_resizable(&old["spec"]),
            without_resizable(&new["spec"])
        );
        errors.push(FieldError::forbidden("spec", why));
    }
    errors
}

/// A node that reports what its running containers have can change it.
fn node_can(pod: &Value) -> bool {
    let statuses = list(pod, "/status/containerStatuses");
    let running = statuses.iter().find(|c| read::some(c, "/state/running").is_some());
    running.is_none_or(|container| read::some(container, "/resources").is_some())
}

fn ordering(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        let at = format!("/spec/{kind}");
        let (now, before) = (list(new, &at), list(old, &at));
        if now.len() != before.len() {
            let why = format!("{kind} may not be added or removed on resize");
            errors.push(FieldError::forbidden(format!("spec.{kind}"), why));
            continue;
        }
        for (index, (now, before)) in now.iter().zip(before).enumerate() {
            if text(now, "/name") != text(before, "/name") {
                let why = format!("{kind} may not be renamed or reordered on resize");
                errors.push(FieldError::forbidden(format!("spec.{kind}[{index}].name"), why));
            }
        }
    }
    errors
}

/// What was asked for or limited may change, but not end.
fn removals(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for kind in KINDS {
        let at = format!("/spec/{kind}");
        for (index, (now, before)) in list(new, &at).iter().zip(list(old, &at)).enumerate() {
            let path = format!("spec.{kind}[{index}].resources");
            if kind == "initContainers" && !is_sidecar(before) {
                if !is_same(now.get("resources"), before.get("resources")) {
                    let why = "resources for non-sidecar init containers are immutable";
                    errors.push(FieldError::forbidden(path, why));
                }
                continue;
            }
            for part in ["requests", "limits"] {
                let has = |container: &Value, resource: &str| {
                    container
                        .pointer(&format!("/resources/{part}"))
                        .and_then(|p| p.get(resource))
                        .is_some()
                };
                let mut gone = entries(before, "/resources")
                    .filter(|(name, _)| *name == part)
                    .flat_map(|(_, amounts)| {
                        amounts
                            .as_object()
                            .into_iter()
                            .flatten()
                            .filter(|(resource, _)| !has(now, resource))
                    });
                if gone.next().is_some() {
                    let why = format!("resource {part} cannot be removed");
                    errors.push(FieldError::forbidden(format!("{path}.{part}"), why));
                }
            }
        }
    }
    errors
}

/// A spec without what a resize may change.
fn without_resizable(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let strip = |holder: &mut Value| {
        for part in ["requests", "limits"] {
            if let Some(amounts) = holder
                .pointer_mut(&format!("/resources/{part}"))
                .and_then(Value::as_object_mut)
            {
                amounts.retain(|resource, _| !RESIZABLE.contains(&resource.as_str()));
            }
        }
    };
    strip(&mut spec);
    for kind in KINDS {
        for container in spec.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten() {
            strip(container);
            set(container, "resizePolicy", Some(json!(null)));
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, find};

    fn pod(resources: Value) -> Value {
        let mut pod = json!({
            "metadata": { "name": "p", "namespace": "n", "generation": 1 },
            "spec": { "containers": [{ "name": "a", "image": "i", "resources": resources }] },
        });
        find("", "v1", "pods").expect("pods are served").default(&mut pod);
        pod
    }

    fn base() -> Value {
        pod(json!({ "requests": { "cpu": "100m", "memory": "1Mi" }, "limits": { "cpu": "200m" } }))
    }

    fn messages(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let (old, mut new) = (base(), base());
        change(&mut new["spec"]);
        let context = Context {
            now: "",
            uid: "",
            suffix: "",
            namespace: "n",
            subresource: "resize",
        };
        find("", "v1", "pods")
            .expect("pods are served")
            .before_update(&mut new, &old, &context);
        let lines = validate(&new, &old);
        lines
            .iter()
            .map(|e| e.to_string().lines().next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn processor_and_memory_may_change() {
        assert_eq!(
            messages(|spec| spec["containers"][0]["resources"]["requests"]["cpu"] = "150m".into()),
            Vec::<String>::new()
        );
        // What is no resource is not taken at all.
        assert_eq!(
            messages(|spec| spec["containers"][0]["image"] = "j".into()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn everything_else_is_refused_as_upstream_refuses_it() {
        let removed = messages(|spec| {
            spec["containers"][0]["resources"]["requests"]
                .as_object_mut()
                .map(|r| r.shift_remove("memory"));
        });
        assert_eq!(
            removed,
            ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"]
        );
        let other = messages(|spec| spec["containers"][0]["resources"]["limits"]["ephemeral-storage"] = "1Gi".into());
        assert_eq!(other, ["spec: Forbidden: only cpu and memory resources are mutable"]);
        let renamed = messages(|spec| spec["containers"][0]["name"] = "b".into());
        assert_eq!(
            renamed,
            ["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"]
        );
        let above = messages(|spec| spec["containers"][0]["resources"]["requests"]["cpu"] = "1".into());
        assert_eq!(
            above,
            [
                "spec.containers[0].resources.requests: Invalid value: \"1\": must be less than or equal to cpu limit of 200m"
            ]
        );
        let class = messages(|spec| {
            spec["containers"][0]["resources"] =
                json!({ "requests": { "cpu": "200m", "memory": "1Mi" }, "limits": { "cpu": "200m", "memory": "1Mi" } })
        });
        assert_eq!(
            class,
            ["spec: Invalid value: \"\": Pod QOS Class may not change as a result of resizing"]
        );
    }
}
