//! Pods with init containers. Upstream: init_container.go of test/e2e/common/node.

use super::super::cluster::Cluster;
use super::super::condition;
use super::{create, forever, remove, script};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    made(cluster);
    succeeded(cluster);
    failing_for_ever(cluster);
    failed(cluster);
    remove(cluster, &["init-never", "init-always", "init-fails", "init-ends"]);
}

fn init(name: &str, text: &str) -> Value {
    script(text, json!({"name": name}))
}

fn made(cluster: &Cluster) {
    let two = json!([init("init1", "exit 0"), init("init2", "exit 0")]);
    let fail = json!([init("init1", "exit 1"), init("init2", "exit 0")]);
    let second = json!([init("init1", "exit 0"), init("init2", "exit 1")]);
    let end = script("exit 0", json!({}));
    for (name, policy, inits, container) in [
        ("init-never", "Never", &two, end),
        ("init-always", "Always", &two, forever()),
        ("init-fails", "Always", &fail, forever()),
        ("init-ends", "Never", &second, forever()),
    ] {
        let spec = json!({"restartPolicy": policy, "initContainers": inits, "containers": [container]});
        create(cluster, name, spec);
    }
}

fn succeeded(cluster: &Cluster) {
    for (name, phase) in [("init-never", "Succeeded"), ("init-always", "Running")] {
        let pod = cluster.wait_for(name, phase, |pod| pod["status"]["phase"] == phase);
        assert_eq!(condition(&pod, "Initialized"), "True");
        let statuses = pod["status"]["initContainerStatuses"].as_array().unwrap();
        assert_eq!(statuses.len(), 2);
        for status in statuses {
            assert_eq!(
                (&status["ready"], &status["state"]["terminated"]["exitCode"]),
                (&json!(true), &json!(0))
            );
        }
    }
}

/// Whatever is looked at on the way, nothing but the first init container has left waiting.
fn failing_for_ever(cluster: &Cluster) {
    let waits = |status: &Value| {
        assert_eq!(status["state"]["waiting"]["reason"], "PodInitializing", "{status:#}");
        assert_eq!(status["restartCount"], 0);
    };
    let pod = cluster.wait_for("init-fails", "restarted three times", |pod| {
        let list = |name: &str| pod["status"][name].as_array().cloned().unwrap_or_default();
        list("containerStatuses").iter().for_each(waits);
        let inits = list("initContainerStatuses");
        inits.iter().skip(1).for_each(waits);
        inits
            .first()
            .is_some_and(|first| first["restartCount"].as_u64() >= Some(3))
    });
    assert_eq!(pod["status"]["phase"], "Pending");
    is_not_initialized(&pod, "init1 init2");
}

/// The condition says that `names` have not ended well.
fn is_not_initialized(pod: &Value, names: &str) {
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let initialized = conditions
        .iter()
        .find(|condition| condition["type"] == "Initialized")
        .unwrap();
    assert_eq!(
        (&initialized["status"], &initialized["reason"], &initialized["message"]),
        (
            &json!("False"),
            &json!("ContainersNotInitialized"),
            &json!(format!("containers with incomplete status: [{names}]"))
        )
    );
}

fn failed(cluster: &Cluster) {
    let pod = cluster.wait_for("init-ends", "Failed", |pod| pod["status"]["phase"] == "Failed");
    is_not_initialized(&pod, "init2");
    let codes: Vec<&Value> = pod["status"]["initContainerStatuses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|status| &status["state"]["terminated"]["exitCode"])
        .collect();
    assert_eq!(codes, [&json!(0), &json!(1)]);
    let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
    assert_eq!(reason, "PodInitializing");
}
