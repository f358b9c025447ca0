//! `pods/NAME/ephemeralcontainers`: containers that join a running pod to look at it, and never leave (core
//! `ValidatePodEphemeralContainersUpdate`).

use super::container;
use crate::{
    field::FieldError,
    metadata,
    read::{entries, list, text},
};
use serde_json::Value;
use std::collections::HashSet;

/// What such a container may say of itself.
const ALLOWED: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];
const PATH: &str = "spec.ephemeralContainers";

/// Takes the ephemeral containers of `new` and everything else of `old`.
pub(super) fn keep_the_rest(new: &mut Value, old: &Value) {
    let containers = new["spec"].get("ephemeralContainers").cloned();
    let kept = new["metadata"].take();
    *new = old.clone();
    for member in ["resourceVersion", "uid", "managedFields"] {
        if let Some(value) = kept.get(member) {
            new["metadata"][member] = value.clone();
        }
    }
    if let Some(spec) = new["spec"].as_object_mut() {
        match containers {
            Some(containers) => spec.insert("ephemeralContainers".to_owned(), containers),
            None => spec.shift_remove("ephemeralContainers"),
        };
    }
}

pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if is_static(new) {
        errors.push(FieldError::forbidden(
            "",
            "static pods do not support ephemeral containers",
        ));
    }
    errors.extend(validate_all(&new["spec"]));
    for before in list(old, "/spec/ephemeralContainers") {
        let name = text(before, "/name");
        let now = list(new, "/spec/ephemeralContainers")
            .iter()
            .find(|c| text(c, "/name") == name);
        match now {
            None => errors.push(FieldError::forbidden(
                PATH,
                format!("existing ephemeral containers {name:?} may not be removed\n"),
            )),
            Some(now) if now != before => errors.push(FieldError::forbidden(
                PATH,
                format!("existing ephemeral containers {name:?} may not be changed\n{before} -> {now}"),
            )),
            Some(_) => {}
        }
    }
    errors
}

/// Whether its node found it in a file and only mirrors it here.
pub(super) fn is_static(pod: &Value) -> bool {
    let annotations = pod.pointer("/metadata/annotations");
    annotations.and_then(|a| a.get("kubernetes.io/config.mirror")).is_some() && !metadata::name(pod).is_empty()
}

fn validate_all(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let names = |kind: &str| list(spec, kind).iter().map(|c| text(c, "/name")).collect::<Vec<_>>();
    let others = [names("/containers"), names("/initContainers")].concat();
    let mut seen: HashSet<&str> = others.iter().copied().collect();
    let volumes: HashSet<&str> = names("/volumes").into_iter().collect();
    for (index, one) in list(spec, "/ephemeralContainers").iter().enumerate() {
        let path = format!("{PATH}[{index}]");
        container::one(one, &path, &volumes, &mut errors);
        let name = text(one, "/name");
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        let target = text(one, "/targetContainerName");
        if !target.is_empty() && !others.contains(&target) {
            errors.push(FieldError::not_found(format!("{path}.targetContainerName"), target));
        }
        // Defaulting writes an empty `resources`, as Go does.
        let said = entries(one, "").filter(|(_, value)| !crate::kinds::amount::is_same(Some(value), None));
        for (member, _) in said.filter(|(member, _)| !ALLOWED.contains(member)) {
            let why = "cannot be set for an Ephemeral Container";
            errors.push(FieldError::forbidden(format!("{path}.{member}"), why));
        }
        for (index, mount) in list(one, "/volumeMounts").iter().enumerate() {
            for member in ["subPath", "subPathExpr"] {
                if !text(mount, &format!("/{member}")).is_empty() {
                    let why = "cannot be set for an Ephemeral Container";
                    errors.push(FieldError::forbidden(
                        format!("{path}.volumeMounts[{index}].{member}"),
                        why,
                    ));
                }
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, find};
    use serde_json::json;

    fn pod(ephemeral: Value) -> Value {
        let mut pod = json!({
            "metadata": { "name": "p", "namespace": "n", "generation": 1 },
            "spec": { "containers": [{ "name": "a", "image": "i" }], "ephemeralContainers": ephemeral },
        });
        find("", "v1", "pods").expect("pods are served").default(&mut pod);
        pod
    }

    fn messages(new: Value, old: Value) -> Vec<String> {
        validate(&pod(new), &pod(old)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn they_come_and_never_go() {
        let debug = json!([{ "name": "d", "image": "i", "targetContainerName": "a" }]);
        assert_eq!(messages(debug.clone(), json!([])), Vec::<String>::new());
        assert_eq!(
            messages(json!([]), debug.clone()),
            ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n"]
        );
        let changed = messages(
            json!([{ "name": "d", "image": "j", "targetContainerName": "a" }]),
            debug,
        );
        assert!(changed[0].starts_with(
            "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be changed\n"
        ));
    }

    #[test]
    fn they_may_say_little_of_themselves() {
        for (container, message) in [
            (
                json!({ "name": "d", "image": "i", "ports": [{ "containerPort": 1 }] }),
                "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            ),
            (
                json!({ "name": "a", "image": "i" }),
                "spec.ephemeralContainers[0].name: Duplicate value: \"a\"",
            ),
            (
                json!({ "name": "d", "image": "i", "targetContainerName": "x" }),
                "spec.ephemeralContainers[0].targetContainerName: Not found: \"x\"",
            ),
        ] {
            assert_eq!(messages(json!([container]), json!([])), [message]);
        }
    }

    #[test]
    fn nothing_else_is_written_and_the_generation_counts() {
        let (old, mut new) = (pod(json!([])), pod(json!([{ "name": "d", "image": "i" }])));
        new["spec"]["nodeName"] = "x".into();
        new["metadata"]["labels"] = json!({ "a": "b" });
        let context = Context {
            now: "",
            uid: "",
            suffix: "",
            namespace: "n",
            subresource: "ephemeralcontainers",
        };
        find("", "v1", "pods")
            .expect("pods are served")
            .before_update(&mut new, &old, &context);
        assert_eq!(
            (new["spec"].get("nodeName"), new["metadata"].get("labels")),
            (None, None)
        );
        assert_eq!(
            (
                &new["metadata"]["generation"],
                &new["spec"]["ephemeralContainers"][0]["name"]
            ),
            (&json!(2), &json!("d"))
        );
    }
}
