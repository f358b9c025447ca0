//! Containers that are added to a pod that runs. Upstream: ephemeral_containers.go of test/e2e/common/node.

use super::super::cluster::Cluster;
use super::{create, forever, images, ready, remove};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    create(cluster, "looked-into", json!({"containers": [forever()]}));
    let pod = ready(cluster, "looked-into");
    assert_eq!(pod["metadata"]["generation"], 1);
    let path = "/api/v1/namespaces/default/pods/looked-into/ephemeralcontainers";
    let debugger = json!([{"name": "debugger", "image": images::SHELL, "stdin": true, "tty": true,
        "command": ["sh", "-c", "while true; do echo polo; sleep 2; done"]}]);
    let add = |operation: Value| {
        let (code, reply) = cluster.ask("PATCH", path, Some(json!([operation])));
        assert_eq!(code, 200, "{reply:#}");
    };
    add(json!({"op": "add", "path": "/spec/ephemeralContainers", "value": debugger}));
    let pod = cluster.wait_for("looked-into", "debugged", |pod| {
        pod["status"]["ephemeralContainerStatuses"][0]["state"]["running"].is_object()
    });
    assert_eq!(pod["metadata"]["generation"], 2);
    assert_eq!(
        cluster.exec("looked-into", "debugger", &["echo", "marco"], "").0,
        "marco\n"
    );
    let log = "/api/v1/namespaces/default/pods/looked-into/log?container=debugger";
    cluster.eventually("the debugger has said polo", || {
        let (_, said) = cluster.ask("GET", log, None);
        said.as_str().is_some_and(|said| said.contains("polo")).then_some(())
    });
    add(json!({"op": "add", "path": "/spec/ephemeralContainers/-",
        "value": {"name": "debugger2", "image": images::SHELL, "command": ["sh", "-c", "exit 0"]}}));
    let (_, pod) = cluster.ask("GET", path, None);
    assert_eq!(pod["spec"]["ephemeralContainers"].as_array().map(Vec::len), Some(2));
    remove(cluster, &["looked-into"]);
}
