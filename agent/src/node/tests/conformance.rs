//! What upstream's conformance tests of nodes do and assert, by name, as far as it needs no network of services: pods that run
//! to their end and say what they see. Their programs are the shell's here; what is compared is upstream's.

mod pods;
mod sees;

use super::cluster::Cluster;
use super::image;
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    if image::found("busybox").is_none() {
        return eprintln!("SKIPPED: conformance was not tried, because there is no busybox in PATH");
    }
    sees::all(cluster);
    pods::all(cluster);
}

/// A pod that runs once.
struct Case {
    /// Its name, after upstream's test.
    name: &'static str,
    /// Its spec; image and restart policy are added where they are missing.
    spec: Value,
    /// What its first container says, exactly.
    says: String,
}

fn case(name: &'static str, spec: Value, says: &str) -> Case {
    Case {
        name,
        spec,
        says: says.to_owned(),
    }
}

/// One container that runs a script, and whatever else it has.
fn script(text: &str, more: Value) -> Value {
    let mut container = json!({"name": "test", "command": ["sh", "-c", text]});
    container
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    container
}

/// A container that sees a volume `v` at /v.
fn sees(text: &str) -> Value {
    script(text, json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
}

/// Makes all pods at once, waits until each has succeeded, compares what it said, and takes it away.
fn run(cluster: &Cluster, cases: Vec<Case>) {
    for case in &cases {
        create(cluster, case.name, case.spec.clone());
    }
    for case in &cases {
        let container = case.spec["containers"][0]["name"].as_str().unwrap();
        cluster.wait_for(case.name, "over", |pod| pod["status"]["phase"] == "Succeeded");
        cluster.wait_for_log(case.name, container, &case.says);
    }
    for case in &cases {
        cluster.delete(case.name);
    }
    for case in &cases {
        cluster.wait_until_gone(case.name);
    }
}

fn create(cluster: &Cluster, name: &str, spec: Value) {
    let (code, reply) = try_create(cluster, name, spec);
    assert_eq!(code, 201, "{name}: {reply:#}");
}

fn try_create(cluster: &Cluster, name: &str, spec: Value) -> (u16, Value) {
    let mut spec = spec;
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            if container["image"].is_null() {
                container["image"] = json!(image::NAME);
            }
        }
    }
    for (key, value) in [
        ("restartPolicy", json!("Never")),
        ("terminationGracePeriodSeconds", json!(1)),
        ("tolerations", json!([{"operator": "Exists"}])),
    ] {
        if spec[key].is_null() {
            spec[key] = value;
        }
    }
    let labels = json!({"walk": name});
    let pod = json!({"metadata": {"name": name, "labels": labels, "annotations": {"builder": "bar"}}, "spec": spec});
    cluster.ask("POST", "/api/v1/namespaces/default/pods", Some(pod))
}

fn remove(cluster: &Cluster, name: &str) {
    cluster.delete(name);
    cluster.wait_until_gone(name);
}
