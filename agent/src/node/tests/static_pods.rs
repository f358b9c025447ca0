//! Pods of the machine config: they run without the API, which shows a mirror of each.

use super::cluster::Cluster;
use super::{condition, image};
use serde_json::{Value, json};
use std::path::Path;

/// On every mirror: the hash of its manifest.
const MIRROR: &str = "kubernetes.io/config.mirror";

fn manifest(name: &str, policy: &str, folder: &Path, script: &str) -> String {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "restartPolicy": policy, "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "a", "image": image::NAME, "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "said", "mountPath": "/said"}]}],
        "volumes": [{"name": "said", "hostPath": {"path": folder}}]}});
    pod.to_string()
}

fn lasting(folder: &Path, word: &str) -> String {
    let script = format!("echo {word}; echo {word} >> /said/lasting; exec sleep 1000");
    manifest("lasting", "Always", folder, &script)
}

fn once(folder: &Path) -> String {
    manifest("once", "Never", folder, "echo ran >> /said/once")
}

fn said(cluster: &Cluster, file: &str, wanted: &str) {
    let path = cluster.folder().join("static").join(file);
    cluster.eventually(&format!("{file} has {wanted:?}"), || {
        (std::fs::read_to_string(&path).unwrap_or_default() == wanted).then_some(())
    });
}

fn started(pod: &Value) -> Value {
    pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].clone()
}

/// The config gets pods while everything runs, and changes them.
pub fn all(cluster: &Cluster) {
    let folder = cluster.folder().join("static");
    std::fs::create_dir_all(&folder).unwrap();
    cluster.configure(&[lasting(&folder, "one"), once(&folder)]);
    let ready = |pod: &Value| condition(pod, "Ready") == "True";
    let pod = cluster.wait_for("lasting-n1", "Ready", ready);
    let meta = &pod["metadata"];
    let (hash, node) = (
        meta["annotations"][MIRROR].clone(),
        cluster.ask("GET", "/api/v1/nodes/n1", None).1,
    );
    assert_eq!(meta["annotations"]["kubernetes.io/config.hash"], hash);
    assert_eq!(meta["annotations"]["kubernetes.io/config.source"], "file");
    assert!(meta["annotations"]["kubernetes.io/config.seen"].is_string(), "{meta:#}");
    let owner =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": node["metadata"]["uid"], "controller": true}]);
    assert_eq!(meta["ownerReferences"], owner);
    cluster.wait_for_log("lasting-n1", "a", "one\n");
    assert_eq!(cluster.exec("lasting-n1", "a", &["echo", "in"], "").0, "in\n");
    let over = cluster.wait_for("once-n1", "over", |pod| pod["status"]["phase"] == "Succeeded");
    assert_eq!(over["status"]["containerStatuses"][0]["restartCount"], 0);

    // Whoever deletes a mirror has deleted nothing else.
    cluster.delete("lasting-n1");
    let again = cluster.wait_for("lasting-n1", "there again", |again| {
        again["metadata"]["uid"] != meta["uid"] && ready(again)
    });
    assert_eq!(started(&pod), started(&again));
    assert_eq!(again["metadata"]["annotations"][MIRROR], hash);

    // Another manifest is another pod, once the one before has ended.
    cluster.configure(&[lasting(&folder, "two"), once(&folder)]);
    let other = cluster.wait_for("lasting-n1", "another", |other| {
        other["metadata"]["annotations"][MIRROR] != hash && ready(other)
    });
    assert_ne!(started(&pod), started(&other));
    cluster.wait_for_log("lasting-n1", "a", "two\n");
    said(cluster, "lasting", "one\ntwo\n");
    said(cluster, "once", "ran\n");
}

/// An agent that begins while no API answers: what runs goes on, what has ended does not run again, what is new begins.
pub fn without_the_api(cluster: &mut Cluster) {
    let folder = cluster.folder().join("static");
    let before = cluster.pod("lasting-n1").expect("the mirror is there");
    cluster.stop_control();
    cluster.start_agent();
    let more = manifest("more", "Always", &folder, "echo begun >> /said/more; exec sleep 1000");
    cluster.configure(&[lasting(&folder, "two"), once(&folder), more]);
    said(cluster, "more", "begun\n");
    cluster.start_control();
    cluster.wait_for("more-n1", "Ready", |pod| condition(pod, "Ready") == "True");
    let after = cluster.wait_for("lasting-n1", "Ready", |pod| condition(pod, "Ready") == "True");
    assert_eq!(
        (started(&before), &before["metadata"]["uid"]),
        (started(&after), &after["metadata"]["uid"])
    );
    said(cluster, "lasting", "one\ntwo\n");
    said(cluster, "once", "ran\n");
    cluster.configure(&[]);
    for name in ["lasting-n1", "once-n1", "more-n1"] {
        cluster.wait_until_gone(name);
    }
    cluster.eventually("static pods leave nothing", || {
        let uid = |pod: &Value| pod["metadata"]["annotations"][MIRROR].as_str().unwrap().to_owned();
        (!cluster.paths().kubelet.join(uid(&before)).exists()).then_some(())
    });
    cluster.kill_agent();
}
