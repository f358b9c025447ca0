//! Pods that cannot run say why in one sentence, where kubectl shows it, and the node goes on.

use crate::{apply, eventually, kubectl, shared, text};

fn waiting_message(pod: &str, manifest: &str, reason: &str, words: &[&str]) {
    let cluster = shared();
    apply(cluster, manifest);
    let path = "jsonpath={.status.containerStatuses[0].state.waiting.reason}{.status.containerStatuses[0].state.terminated.reason}{.status.containerStatuses[0].lastState.terminated.reason}: {.status.containerStatuses[0].state.waiting.message}{.status.containerStatuses[0].state.terminated.message}{.status.containerStatuses[0].lastState.terminated.message}";
    let accept = |said: &str| said.contains(reason) && words.iter().all(|word| said.contains(word));
    eventually(cluster, &["get", "pod", pod, "-o", path], accept);
    kubectl(cluster, &["delete", "pod", pod]);
    assert!(cluster.problems().unwrap().is_empty());
}

#[test]
fn an_impossible_command_is_named() {
    let image = qemu::oci_images::reference("demo");
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: impossible}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: main\n    image: {image}\n    command: [/no/such/program]\n"
    );
    waiting_message("impossible", &manifest, "StartError", &["/no/such/program"]);
}

#[test]
fn an_unreachable_registry_is_named() {
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: unreachable}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: 127.0.0.1:9/nothing:1\n";
    waiting_message("unreachable", manifest, "ErrImagePull", &["127.0.0.1:9"]);
}

#[test]
fn an_image_that_does_not_exist_is_named() {
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: absent}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: registry.test:5000/absent:9\n";
    waiting_message("absent", manifest, "ErrImagePull", &["registry.test:5000/absent:9"]);
}

#[test]
fn a_missing_config_map_is_named() {
    let image = qemu::oci_images::reference("demo");
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: unset}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: {image}\n    env: [{{name: A, valueFrom: {{configMapKeyRef: {{name: nowhere, key: a}}}}}}]\n"
    );
    waiting_message(
        "unset",
        &manifest,
        "CreateContainerConfigError",
        &["configmap \"nowhere\" not found"],
    );
}

#[test]
fn a_pod_that_breaks_the_rules_is_refused_by_field() {
    let cluster = shared();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pod.json");
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"Bad_Name"},"spec":{"containers":[]}}"#;
    std::fs::write(&file, pod).unwrap();
    let output = cluster.kubectl(&["create", "-f", &file.display().to_string()]).unwrap();
    let said = text(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("metadata.name") && said.contains("spec.containers: Required value"),
        "{said}"
    );
}
