//! What is known of a node and its pods. Upstream: node_lease.go of test/e2e/common/node, events.go
//! and node_lifecycle.go of test/e2e/node.

use super::super::cluster::Cluster;
use super::{create, forever, ready, remove};
use serde_json::json;

pub fn all(cluster: &Cluster) {
    leases(cluster);
    events(cluster);
    life_of_a_node(cluster);
}

fn leases(cluster: &Cluster) {
    let lease = || {
        cluster
            .ask(
                "GET",
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1",
                None,
            )
            .1
    };
    let first = lease();
    assert_eq!(first["spec"]["holderIdentity"], "n1");
    assert_eq!(first["spec"]["leaseDurationSeconds"], 40);
    let owners = first["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!(
        (owners.len(), &owners[0]["kind"], &owners[0]["name"]),
        (1, &json!("Node"), &json!("n1"))
    );
    cluster.eventually("the lease is renewed", || {
        (lease()["spec"]["renewTime"] != first["spec"]["renewTime"]).then_some(())
    });
}

fn events(cluster: &Cluster) {
    let pod = create(cluster, "told", json!({"containers": [forever()]}));
    ready(cluster, "told");
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    for source in ["default-scheduler", "kubelet"] {
        let fields = format!(
            "involvedObject.kind%3DPod,involvedObject.uid%3D{uid},involvedObject.namespace%3Ddefault,source%3D{source}"
        );
        let list = format!("/api/v1/namespaces/default/events?fieldSelector={fields}");
        cluster.eventually(&format!("{source} has told something"), || {
            let (_, events) = cluster.ask("GET", &list, None);
            (!events["items"].as_array()?.is_empty()).then_some(())
        });
    }
    remove(cluster, &["told"]);
}

fn life_of_a_node(cluster: &Cluster) {
    let nodes = "/api/v1/nodes";
    let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    let node = json!({"metadata": {"name": "e2e-fake-node", "labels": {"e2e": "fake"}}, "status": status});
    let (code, made) = cluster.ask("POST", nodes, Some(node));
    assert_eq!(code, 201, "{made:#}");
    let one = format!("{nodes}/e2e-fake-node");
    let (code, patched) = cluster.merge(&one, &json!({"metadata": {"labels": {"e2e-fake-node": "patched"}}}));
    assert_eq!(
        (code, &patched["metadata"]["labels"]["e2e-fake-node"]),
        (200, &json!("patched"))
    );
    let (_, list) = cluster.ask("GET", &format!("{nodes}?labelSelector=e2e-fake-node%3Dpatched"), None);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let conditions = json!([{"type": "Walked", "status": "True", "reason": "Tested", "message": "set from a test"}]);
    let (code, patched) = cluster.merge(&format!("{one}/status"), &json!({"status": {"conditions": conditions}}));
    let found = patched["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .any(|found| found["type"] == "Walked");
    assert!(code == 200 && found, "{patched:#}");
    let (code, _) = cluster.ask(
        "DELETE",
        &format!("{nodes}?labelSelector=e2e-fake-node%3Dpatched"),
        None,
    );
    assert_eq!(code, 200);
    assert_eq!(cluster.ask("GET", &one, None).0, 404);
}
