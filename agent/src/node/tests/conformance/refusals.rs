//! Pods that are not taken, and classes of runtimes. Upstream: sysctl.go, runtimeclass.go and pod_admission.go of
//! test/e2e/common/node, pod_admission.go of test/e2e/node.

use super::super::cluster::Cluster;
use super::super::condition;
use super::{create, forever, path, remove, script, try_create};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    sysctls(cluster);
    runtime_classes(cluster);
    another_system(cluster);
    too_large(cluster);
}

fn sysctls(cluster: &Cluster) {
    let sysctls = json!([{"name": "foo-", "value": "bar"}, {"name": "kernel.shmmax", "value": "100000000"},
        {"name": "safe-and-unsafe", "value": "100000000"}, {"name": "bar..", "value": "42"}]);
    let spec = json!({"securityContext": {"sysctls": sysctls}, "containers": [forever()]});
    let (code, reply) = try_create(cluster, "sysctls", spec);
    let said = reply["message"].as_str().unwrap_or_default();
    assert_eq!(code, 422, "{reply:#}");
    for (word, is_said) in [
        ("Invalid value: \"foo-\"", true),
        ("Invalid value: \"bar..\"", true),
        ("safe-and-unsafe", false),
        ("kernel.shmmax", false),
    ] {
        assert_eq!(said.contains(word), is_said, "{word}: {said}");
    }
}

fn runtime_classes(cluster: &Cluster) {
    let classes = "/apis/node.k8s.io/v1/runtimeclasses";
    let of = |class: &str| json!({"runtimeClassName": class, "containers": [forever()]});
    let (code, reply) = try_create(cluster, "classless", of("no-such"));
    assert_eq!(code, 403, "{reply:#}");
    let class = |name: &str, more: Value| {
        let class = super::with(json!({"metadata": {"name": name}, "handler": "test-handler"}), more);
        let (code, reply) = cluster.ask("POST", classes, Some(class));
        assert_eq!(code, 201, "{reply:#}");
    };
    class("deleted", json!({}));
    assert_eq!(cluster.ask("DELETE", &format!("{classes}/deleted"), None).0, 200);
    cluster.eventually("a deleted class is refused", || {
        (try_create(cluster, "classless", of("deleted")).0 == 403).then_some(())
    });
    class("plain", json!({}));
    class(
        "costly",
        json!({"overhead": {"podFixed": {"cpu": "10m", "memory": "1Mi"}}}),
    );
    for (name, overhead) in [
        ("plain", Value::Null),
        ("costly", json!({"cpu": "10m", "memory": "1Mi"})),
    ] {
        create(cluster, name, of(name));
        let pod = cluster.wait_for(name, "scheduled", |pod| condition(pod, "PodScheduled") == "True");
        assert_eq!(pod["spec"]["overhead"], overhead);
        // The node has no such handler, and says so.
        cluster.wait_for_event(name, "FailedCreatePodSandBox", "test-handler");
        remove(cluster, &[name]);
        assert_eq!(cluster.ask("DELETE", &format!("{classes}/{name}"), None).0, 200);
    }
}

fn another_system(cluster: &Cluster) {
    create(
        cluster,
        "wrong-pod-os",
        json!({"nodeName": "n1", "os": {"name": "windows"}, "containers": [forever()]}),
    );
    cluster.wait_for("wrong-pod-os", "refused", |pod| {
        (&pod["status"]["phase"], &pod["status"]["reason"]) == (&json!("Failed"), &json!("PodOSNotSupported"))
    });
    remove(cluster, &["wrong-pod-os"]);
}

/// The scheduler finds no place, somebody else binds it all the same, and the node refuses.
fn too_large(cluster: &Cluster) {
    let resources = json!({"resources": {"requests": {"cpu": "1000000000000"}}});
    create(
        cluster,
        "pod-out-of-cpu",
        json!({"containers": [script("exit 0", resources)]}),
    );
    let before = cluster.wait_for("pod-out-of-cpu", "unschedulable", |pod| {
        let conditions = pod["status"]["conditions"].as_array();
        conditions.is_some_and(|conditions| conditions.iter().any(|found| found["reason"] == "Unschedulable"))
    });
    let conditions = before["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1, "{conditions:#?}");
    assert_eq!(conditions[0]["type"], "PodScheduled");
    let binding = json!({"metadata": {"name": "pod-out-of-cpu", "uid": before["metadata"]["uid"]},
        "target": {"kind": "Node", "name": "n1"}});
    let (code, reply) = cluster.ask("POST", &format!("{}/binding", path("pod-out-of-cpu")), Some(binding));
    assert_eq!(code, 201, "{reply:#}");
    let after = cluster.wait_for("pod-out-of-cpu", "refused", |pod| pod["status"]["reason"] == "OutOfcpu");
    assert_eq!(
        (&after["metadata"]["generation"], &after["status"]["observedGeneration"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(after["status"]["qosClass"], before["status"]["qosClass"]);
    remove(cluster, &["pod-out-of-cpu"]);
}
