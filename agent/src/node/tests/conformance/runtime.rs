//! How containers end and begin again, and what they leave to be read. Upstream: runtime.go and kubelet.go of test/e2e/common/node,
//! the containers of pods.go of test/e2e/node.

use super::super::cluster::Cluster;
use super::super::condition;
use super::{create, forever, path, remove, script};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    restart_policies(cluster);
    termination_messages(cluster);
    what_always_fails(cluster);
    pods_deleted_as_they_start(cluster);
    images_that_cannot_be_had(cluster);
}

fn restart_policies(cluster: &Cluster) {
    let text = "f=/count/runs; echo hello >> $f; n=$(busybox wc -l < $f); \
        [ $n -eq 1 ] && exit 1; [ $n -eq 2 ] && exit 0; while true; do sleep 1; done";
    let spec = |policy: &str| {
        json!({"restartPolicy": policy, "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
            "containers": [script(text, json!({"volumeMounts": [{"name": "v", "mountPath": "/count"}]}))]})
    };
    let rows = [
        ("ends-always", "Always", 2, "Running", "running", "True"),
        ("ends-on-failure", "OnFailure", 1, "Succeeded", "terminated", "False"),
        ("ends-never", "Never", 0, "Failed", "terminated", "False"),
    ];
    for (name, policy, ..) in rows {
        create(cluster, name, spec(policy));
    }
    for (name, _, restarts, phase, state, ready) in rows {
        let pod = cluster.wait_for(name, "as its policy says", |pod| {
            let status = &pod["status"]["containerStatuses"][0];
            pod["status"]["phase"] == phase && status["restartCount"] == restarts && status["state"][state].is_object()
        });
        assert_eq!(condition(&pod, "Ready"), ready, "{name}");
    }
    remove(cluster, &rows.map(|(name, ..)| name));
}

fn termination_messages(cluster: &Cluster) {
    let rows = [
        (
            "message-root",
            "echo -n DONE > /dev/termination-log",
            json!({"securityContext": {"runAsUser": 0}}),
            "Succeeded",
            "DONE",
        ),
        (
            "message-user",
            "echo -n DONE > /dev/termination-custom-log",
            json!({"securityContext": {"runAsUser": 10000}, "terminationMessagePath": "/dev/termination-custom-log"}),
            "Succeeded",
            "DONE",
        ),
        (
            "message-log",
            "echo -n DONE; exit 1",
            json!({"terminationMessagePolicy": "FallbackToLogsOnError"}),
            "Failed",
            "DONE",
        ),
        (
            "message-line",
            "echo DONE; exit 1",
            json!({"terminationMessagePolicy": "FallbackToLogsOnError"}),
            "Failed",
            "DONE\n",
        ),
        (
            "message-none",
            "echo -n DONE; exit 0",
            json!({"terminationMessagePolicy": "FallbackToLogsOnError"}),
            "Succeeded",
            "",
        ),
        (
            "message-file",
            "echo -n OK > /dev/termination-log; echo DONE; exit 0",
            json!({"terminationMessagePolicy": "FallbackToLogsOnError"}),
            "Succeeded",
            "OK",
        ),
    ];
    for (name, text, more, ..) in &rows {
        create(cluster, name, json!({"containers": [script(text, more.clone())]}));
    }
    for (name, _, _, phase, said) in &rows {
        let pod = cluster.wait_for(name, phase, |pod| pod["status"]["phase"] == *phase);
        let message = &pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"];
        assert_eq!(message.as_str().unwrap_or_default(), *said, "{name}");
    }
    let names: Vec<&str> = rows.iter().map(|(name, ..)| *name).collect();
    remove(cluster, &names);
}

fn what_always_fails(cluster: &Cluster) {
    create(
        cluster,
        "fails",
        json!({"restartPolicy": "Always", "containers": [script("exit 1", json!({}))]}),
    );
    cluster.wait_for("fails", "terminated for a reason", |pod| {
        let status = &pod["status"]["containerStatuses"][0];
        let ended = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
        ended
            .iter()
            .any(|ended| ended["exitCode"] == 1 && ended["reason"].as_str().is_some_and(|reason| !reason.is_empty()))
    });
    remove(cluster, &["fails"]);
}

/// A pod that ends at once and is deleted at once never seems to have succeeded, and what waits for a failed one never starts.
fn pods_deleted_as_they_start(cluster: &Cluster) {
    let names: Vec<String> = (0..6).map(|nth| format!("short-{nth}")).collect();
    let spec = |nth: usize| match nth % 2 {
        0 => json!({"containers": [script("exit 1", json!({}))]}),
        _ => json!({"initContainers": [script("exit 1", json!({"name": "fail"}))], "containers": [forever()]}),
    };
    for (nth, name) in names.iter().enumerate() {
        create(cluster, name, spec(nth));
    }
    for name in &names {
        cluster.wait_for(name, "begun", |pod| pod["status"]["phase"] != "Pending");
        assert_eq!(cluster.ask("DELETE", &path(name), Some(json!({}))).0, 200);
    }
    cluster.eventually("all of them are gone", || {
        let left: Vec<Value> = names.iter().filter_map(|name| cluster.pod(name)).collect();
        for pod in &left {
            assert_ne!(pod["status"]["phase"], "Succeeded", "{pod:#}");
            let status = &pod["status"]["containerStatuses"][0];
            if pod["spec"]["initContainers"].is_array() {
                assert_ne!(status["started"], true, "{pod:#}");
                assert!(status["lastState"]["terminated"].is_null(), "{pod:#}");
            } else if status["state"]["terminated"].is_object() {
                assert_ne!(status["state"]["terminated"]["exitCode"], 0, "{pod:#}");
            }
        }
        left.is_empty().then_some(())
    });
}

fn images_that_cannot_be_had(cluster: &Cluster) {
    create(
        cluster,
        "no-image",
        json!({"containers": [{"name": "test", "image": "localhost:1/invalid/alpine:3.1"}]}),
    );
    cluster.wait_for("no-image", "waiting for its image", |pod| {
        let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        reason == "ErrImagePull" || reason == "ImagePullBackOff"
    });
    remove(cluster, &["no-image"]);
}
