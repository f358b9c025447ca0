//! A whole node against a whole control plane, natively: the real API server, the real pod-init, real containers.
//!
//! It runs in network and mount namespaces of its own, made by re-executing this test under `unshare`, and needs root and
//! the programs `control` and `pod-init` beside it; what is missing is said.

mod clients;
mod cluster;
mod conformance;
mod cri;
mod csi;
mod devices;
mod face;
mod image;
mod life;
mod limits;
mod ports;
mod probing;
mod programs;
mod registry;
mod servers;
mod static_pods;
mod storage;
mod streams;
mod volumes;

use cluster::{Cluster, INSIDE};
use programs::programs;
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn node_runs_pods() {
    in_namespaces("node::tests::inside");
}

/// Runs another test in network and mount namespaces of its own.
fn in_namespaces(inside: &str) {
    let missing = programs().err();
    let root = nix::unistd::geteuid().is_root();
    if let Some(missing) = missing.or((!root).then(|| "root".to_owned())) {
        eprintln!("SKIPPED: a node needs {missing}");
        return;
    }
    let myself = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "--propagation", "private"])
        .arg(myself);
    command.args(["--exact", inside, "--nocapture"]).env(INSIDE, "1");
    let ended = command.status().expect("unshare is part of every Linux host");
    assert!(ended.success(), "the node's life failed: {ended}");
}

/// What `node_runs_pods` runs in its namespaces; alone it does nothing.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let mut cluster = Cluster::start();
    pod_runs_logs_and_executes(&cluster);
    troubles_are_named(&cluster);
    streams::all(&cluster);
    clients::all(&cluster);
    face::all(&cluster);
    volumes::all(&cluster);
    storage::all(&cluster);
    cri::all(&cluster);
    devices::all(&cluster);
    life::all(&cluster);
    probing::all(&cluster);
    limits::all(&cluster);
    ports::all(&cluster);
    static_pods::all(&cluster);
    cluster.kill_agent();
    ports::lead_on(&cluster);
    static_pods::without_the_api(&mut cluster);
    pod_outlives_the_agent(&cluster);
    ports::lead_on(&cluster);
    ports::close(&cluster);
    streams::attached_again_by_another_agent(&cluster);
    cri::another_agent_finds_them(&cluster);
    devices::another_agent_remembers(&cluster);
    deleted_pod_leaves_nothing(&cluster);
    limits::pods_end_with_the_machine(&cluster);
}

fn pod_runs_logs_and_executes(cluster: &Cluster) {
    cluster.create(
        "configmaps",
        json!({"metadata": {"name": "map"}, "data": {"color": "blue", "shape": "round"}}),
    );
    cluster.create(
        "secrets",
        json!({"metadata": {"name": "secret"}, "data": {"key": "czNjcmV0"}}),
    );
    let script = "echo $COLOR; cat /config/shape; cat /secret/key; echo; echo x > /shared/x; exec sleep 1000";
    let helper = "while ! cat /shared/x 2>/dev/null; do sleep 0.1; done; exec sleep 1000";
    cluster.create("pods", json!({"metadata": {"name": "web"}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "initContainers": [{"name": "init", "image": image::NAME, "command": ["sh", "-c", "echo ready > /shared/init"],
            "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}],
        "containers": [
            {"name": "a", "image": image::NAME, "command": ["sh", "-c", script],
             "env": [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "color"}}}],
             "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "secret", "mountPath": "/secret"},
                {"name": "shared", "mountPath": "/shared"}]},
            {"name": "b", "image": image::NAME, "command": ["sh", "-c", helper],
             "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}],
        "volumes": [{"name": "config", "configMap": {"name": "map"}}, {"name": "secret", "secret": {"secretName": "secret"}},
            {"name": "shared", "emptyDir": {}}]}}));
    let pod = cluster.wait_for("web", "Ready", |pod| condition(pod, "Ready") == "True");
    assert_eq!(pod["status"]["phase"], "Running");
    assert!(
        pod["status"]["podIP"].as_str().unwrap().starts_with("10.244."),
        "{pod:#}"
    );
    assert_eq!(
        pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"],
        "Completed"
    );
    cluster.wait_for_log("web", "a", "blue\nrounds3cret\n");
    cluster.wait_for_log("web", "b", "x\n");
    let hosts = cluster.exec("web", "a", &["cat", "/etc/hosts"], "");
    assert!(hosts.0.contains(pod["status"]["podIP"].as_str().unwrap()), "{hosts:?}");
    assert_eq!(
        cluster.exec("web", "a", &["sh", "-c", "cat; echo err >&2; exit 3"], "in"),
        ("in".to_owned(), "err\n".to_owned(), 3)
    );
    cluster.wait_for_events("web", "spec.containers{a}", &["Pulled", "Created", "Started"]);
}

fn troubles_are_named(cluster: &Cluster) {
    let pod = |name: &str, container: Value| {
        let mut container = container;
        container["name"] = json!("a");
        container["image"] = container["image"]
            .as_str()
            .map_or(json!(image::NAME), |image| json!(image));
        cluster.create(
            "pods",
            json!({"metadata": {"name": name}, "spec": {"containers": [container]}}),
        );
    };
    pod("no-command", json!({"command": ["/no/such/program"]}));
    pod(
        "no-map",
        json!({"command": ["sh"], "envFrom": [{"configMapRef": {"name": "no-such"}}]}),
    );
    pod(
        "no-image",
        json!({"image": "localhost:1/no/such:1", "imagePullPolicy": "IfNotPresent"}),
    );
    pod(
        "crash",
        json!({"command": ["sh", "-c", "echo bad > /dev/termination-log; exit 4"]}),
    );
    let state = |pod: &Value, which: &str| pod["status"]["containerStatuses"][0][which].clone();
    let waits = |pod: &Value, reason: &str| state(pod, "state")["waiting"]["reason"] == reason;
    let pod = cluster.wait_for("no-command", "StartError", |pod| waits(pod, "CrashLoopBackOff"));
    let last = state(&pod, "lastState")["terminated"].clone();
    assert_eq!(
        (last["reason"].clone(), last["exitCode"].clone()),
        (json!("StartError"), json!(128))
    );
    assert!(last["message"].as_str().unwrap().contains("/no/such/program"), "{last}");
    let pod = cluster.wait_for("no-map", "CreateContainerConfigError", |pod| {
        waits(pod, "CreateContainerConfigError")
    });
    assert_eq!(
        state(&pod, "state")["waiting"]["message"],
        "configmap \"no-such\" not found"
    );
    let pod = cluster.wait_for("no-image", "ErrImagePull", |pod| waits(pod, "ErrImagePull"));
    assert!(
        state(&pod, "state")["waiting"]["message"]
            .as_str()
            .unwrap()
            .contains("localhost:1"),
        "{pod:#}"
    );
    let pod = cluster.wait_for("crash", "CrashLoopBackOff", |pod| waits(pod, "CrashLoopBackOff"));
    let last = state(&pod, "lastState")["terminated"].clone();
    assert_eq!(
        (last["exitCode"].clone(), last["message"].clone()),
        (json!(4), json!("bad\n"))
    );
    for name in ["no-command", "no-map", "no-image", "crash"] {
        cluster.delete(name);
        cluster.wait_until_gone(name);
    }
}

fn pod_outlives_the_agent(cluster: &Cluster) {
    let before = cluster.pod("web").expect("the pod is there");
    let running = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].clone();
    cluster.start_agent();
    cluster.wait_for_log("web", "a", "blue\nrounds3cret\n");
    let (out, _, code) = cluster.exec("web", "a", &["echo", "still here"], "");
    assert_eq!((out.as_str(), code), ("still here\n", 0));
    let after = cluster.pod("web").expect("the pod is there");
    assert_eq!(running(&before), running(&after));
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 0);
    assert_eq!(
        (before["status"]["podIP"].clone(), condition(&after, "Ready")),
        (after["status"]["podIP"].clone(), "True".to_owned())
    );
}

fn deleted_pod_leaves_nothing(cluster: &Cluster) {
    cluster.delete("web");
    cluster.wait_until_gone("web");
    let left = |folder: &std::path::Path| std::fs::read_dir(folder).map_or(0, Iterator::count);
    let paths = cluster.paths();
    cluster.eventually("nothing is left on disk", || {
        [&paths.run, &paths.kubelet, &paths.pods, &paths.logs]
            .iter()
            .all(|folder| left(folder) == 0)
            .then_some(())
    });
    assert_eq!(std::fs::read_to_string(paths.boot.join("addresses")).unwrap(), "");
}

fn condition(pod: &Value, kind: &str) -> String {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or_default()
        .to_owned()
}
