//! `pods/NAME/ephemeralcontainers`: containers that join a running pod to look at it, and never leave (core
//! `ValidatePodEphemeralContainersUpdate`).

use super::{
    annotations,
    container::{self, Around},
    validate::{metadata_and_spec, spec_of},
};
use crate::{
    at::At,
    field::FieldError,
    kinds::amount::is_same,
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
    if is_static(old) {
        let why = "static pods do not support ephemeral containers";
        return vec![FieldError::forbidden("", why)];
    }
    let mut errors = metadata_and_spec(new);
    errors.extend(annotations::validate_update(new, old, &spec_of(new)));
    for before in list(old, "/spec/ephemeralContainers") {
        let name = text(before, "/name");
        let mut now = list(new, "/spec/ephemeralContainers").iter();
        match now.find(|c| text(c, "/name") == name) {
            None => errors.push(FieldError::forbidden(
                PATH,
                format!("existing ephemeral containers {name:?} may not be removed\n"),
            )),
            Some(now) if !is_same(Some(now), Some(before)) => errors.push(FieldError::forbidden(
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
    annotations.and_then(|a| a.get(annotations::MIRROR)).is_some()
}

/// What is wrong with the ephemeral containers of a spec (core `validateEphemeralContainers`).
pub(super) fn containers(around: &Around<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let names = |kind: &str| {
        let containers = around.spec.items(kind).into_iter();
        containers.map(|c| c.text("name")).collect::<Vec<_>>()
    };
    let others = [names("containers"), names("initContainers")].concat();
    let mut seen: HashSet<&str> = others.iter().copied().collect();
    for one in around.spec.items("ephemeralContainers") {
        errors.extend(container::common(&one, around));
        errors.extend(container::image_of_pod(&one));
        let name = one.text("name");
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(one.path("name"), name));
        }
        let target = one.text("targetContainerName");
        if !target.is_empty() && !others.contains(&target) {
            errors.push(FieldError::not_found(one.path("targetContainerName"), target));
        }
        errors.extend(only_allowed(&one));
    }
    errors
}

fn only_allowed(one: &At<'_>) -> Vec<FieldError> {
    let why = "cannot be set for an Ephemeral Container";
    // Defaulting writes an empty `resources`, as Go does.
    let said = entries(one.value, "").filter(|(_, value)| !is_same(Some(value), None));
    let strange = said.filter(|(member, _)| !ALLOWED.contains(member));
    let mut errors: Vec<FieldError> = strange.map(|(member, _)| one.forbidden(member, why)).collect();
    for mount in one.items("volumeMounts") {
        for member in ["subPath", "subPathExpr"] {
            if !mount.text(member).is_empty() {
                errors.push(mount.forbidden(member, why));
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
