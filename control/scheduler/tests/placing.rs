//! The choice follows upstream's filters, messages and scores.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use k8s_openapi::api::core::v1 as core;
use scheduler::{Cluster, Placement, Pod, Unplaceable, place};
use serde_json::{Value, json};

fn node(name: &str, more: Value) -> core::Node {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi", "pods": "110"}},
    });
    merge(&mut node, more);
    serde_json::from_value(node).unwrap()
}

fn pod(name: &str, spec: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"namespace": "default", "name": name, "uid": name},
        "spec": {"containers": [{"name": "a", "image": "app"}]},
    });
    merge(&mut pod["spec"], spec);
    Pod::read(&serde_json::from_value(pod).unwrap())
}

fn asking(requests: Value) -> Value {
    json!({"containers": [{"name": "a", "image": "app", "resources": {"requests": requests}}]})
}

fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            more.into_iter()
                .for_each(|(key, value)| merge(base.entry(key).or_insert(Value::Null), value));
        }
        (base, more) => *base = more,
    }
}

fn cluster(nodes: impl IntoIterator<Item = core::Node>) -> Cluster {
    let mut cluster = Cluster::new();
    for node in nodes {
        cluster.set_node(&node);
    }
    cluster
}

fn chosen(pod: &Pod, cluster: &Cluster) -> String {
    place(pod, cluster).unwrap().node
}

fn message(pod: &Pod, cluster: &Cluster) -> String {
    place(pod, cluster).unwrap_err().to_string()
}

#[test]
fn each_filter_refuses_in_upstreams_words() {
    let taint = json!({"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}});
    let one = |more| cluster([node("a", more)]);
    let port = json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let mut taken = one(json!({}));
    taken.add_pod(pod("other", {
        let mut spec = port.clone();
        merge(&mut spec, json!({"nodeName": "a"}));
        spec
    }));
    let required = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}]}}}});
    let table = [
        (
            pod("p", json!({})),
            one(json!({"spec": {"unschedulable": true}})),
            "1 node(s) were unschedulable",
        ),
        (
            pod("p", json!({"nodeName": "b"})),
            one(json!({})),
            "1 node(s) didn't match the requested node name",
        ),
        (pod("p", json!({})), one(taint), "1 node(s) had untolerated taint(s)"),
        (
            pod("p", json!({"nodeSelector": {"disk": "ssd"}})),
            one(json!({})),
            "1 node(s) didn't match Pod's node affinity/selector",
        ),
        (
            pod("p", required),
            one(json!({})),
            "1 node(s) didn't match Pod's node affinity/selector",
        ),
        (
            pod("p", port),
            taken,
            "1 node(s) didn't have free ports for the requested pod ports",
        ),
        (
            pod("p", asking(json!({"cpu": "4001m"}))),
            one(json!({})),
            "1 Insufficient cpu",
        ),
        (
            pod("p", asking(json!({"memory": "9Gi"}))),
            one(json!({})),
            "1 Insufficient memory",
        ),
        (
            pod("p", asking(json!({"ephemeral-storage": "11Gi"}))),
            one(json!({})),
            "1 Insufficient ephemeral-storage",
        ),
        (
            pod("p", asking(json!({"example.com/gpu": "1"}))),
            one(json!({})),
            "1 Insufficient example.com/gpu",
        ),
        (
            pod("p", json!({})),
            one(json!({"status": {"allocatable": {"pods": "0"}}})),
            "1 Too many pods",
        ),
        (
            pod("p", asking(json!({"cpu": "5", "memory": "9Gi"}))),
            one(json!({"status": {"allocatable": {"pods": "0"}}})),
            "1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods",
        ),
    ];
    for (pod, cluster, reasons) in table {
        assert_eq!(message(&pod, &cluster), format!("0/1 nodes are available: {reasons}."));
    }
    assert_eq!(
        message(&pod("p", json!({})), &Cluster::new()),
        "no nodes available to schedule pods"
    );
}

#[test]
fn reasons_of_several_nodes_are_counted_and_sorted() {
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}});
    let cluster = cluster([node("a", json!({})), node("b", tainted.clone()), node("c", tainted)]);
    let pod = pod("p", asking(json!({"cpu": "9"})));
    assert_eq!(
        message(&pod, &cluster),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s)."
    );
}

#[test]
fn tolerations_let_pods_onto_tainted_and_cordoned_nodes() {
    let tainted = cluster([node(
        "a",
        json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}}),
    )]);
    let with = |toleration: Value| pod("p", json!({"tolerations": [toleration]}));
    let table = [
        (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), true),
        (json!({"key": "k", "operator": "Exists"}), true),
        (json!({"operator": "Exists"}), true),
        (json!({"key": "k", "operator": "Equal", "value": "other"}), false),
        (json!({"key": "k", "value": "v", "effect": "NoExecute"}), false),
        (json!({"key": "other", "operator": "Exists"}), false),
    ];
    for (toleration, fits) in table {
        assert_eq!(place(&with(toleration.clone()), &tainted).is_ok(), fits, "{toleration}");
    }
    let cordoned = cluster([node("a", json!({"spec": {"unschedulable": true}}))]);
    let toleration = json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"});
    assert!(place(&with(toleration), &cordoned).is_ok());
}

#[test]
fn affinity_operators_are_upstreams() {
    let labels = json!({"metadata": {"labels": {"zone": "x", "cores": "8"}}});
    let cluster = cluster([node("a", labels)]);
    let table = [
        (json!({"key": "zone", "operator": "In", "values": ["w", "x"]}), true),
        (json!({"key": "zone", "operator": "NotIn", "values": ["x"]}), false),
        (json!({"key": "none", "operator": "NotIn", "values": ["x"]}), true),
        (json!({"key": "zone", "operator": "Exists"}), true),
        (json!({"key": "none", "operator": "DoesNotExist"}), true),
        (json!({"key": "cores", "operator": "Gt", "values": ["7"]}), true),
        (json!({"key": "cores", "operator": "Lt", "values": ["8"]}), false),
        (json!({"key": "zone", "operator": "Gt", "values": ["7"]}), false),
    ];
    let required = |terms: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}});
    for (expression, fits) in table {
        let pod = pod("p", required(json!([{"matchExpressions": [expression]}])));
        assert_eq!(place(&pod, &cluster).is_ok(), fits, "{expression}");
    }
    let by_name = |name: &str| {
        let field = json!({"key": "metadata.name", "operator": "In", "values": [name]});
        pod("p", required(json!([{"matchFields": [field]}])))
    };
    assert!(place(&by_name("a"), &cluster).is_ok());
    assert!(place(&by_name("b"), &cluster).is_err());
    assert!(
        place(&pod("p", required(json!([{}]))), &cluster).is_err(),
        "an empty term matches nothing"
    );
}

#[test]
fn what_pods_use_is_counted_once_and_given_back() {
    let mut cluster = cluster([node("a", json!({}))]);
    let mut big = asking(json!({"cpu": "3"}));
    merge(&mut big, json!({"nodeName": "a"}));
    let placed = pod("first", big);
    cluster.add_pod(placed.clone());
    cluster.add_pod(placed);
    let second = pod("second", asking(json!({"cpu": "2"})));
    assert_eq!(
        message(&second, &cluster),
        "0/1 nodes are available: 1 Insufficient cpu."
    );
    assert!(cluster.remove_pod("first"));
    assert!(!cluster.remove_pod("first"));
    assert_eq!(chosen(&second, &cluster), "a");
}

#[test]
fn pods_of_a_node_that_is_not_known_yet_are_counted_when_it_comes() {
    let mut cluster = Cluster::new();
    let mut big = asking(json!({"cpu": "3"}));
    merge(&mut big, json!({"nodeName": "a"}));
    cluster.add_pod(pod("first", big));
    assert_eq!(cluster.len(), 0);
    assert!(cluster.set_node(&node("a", json!({}))));
    assert!(place(&pod("second", asking(json!({"cpu": "2"}))), &cluster).is_err());
    cluster.remove_node("a");
    assert_eq!(
        message(&pod("p", json!({})), &cluster),
        "no nodes available to schedule pods"
    );
}

#[test]
fn init_containers_and_overhead_count_as_upstream_counts_them() {
    let container = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
    let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}});
    let table = [
        (
            json!({"initContainers": [container("4")], "containers": [container("1")]}),
            true,
        ),
        (
            json!({"initContainers": [container("4100m")], "containers": [container("1")]}),
            false,
        ),
        (
            json!({"initContainers": [sidecar], "containers": [container("3")]}),
            true,
        ),
        (
            json!({"initContainers": [sidecar], "containers": [container("3100m")]}),
            false,
        ),
        (
            json!({"initContainers": [sidecar, container("3100m")], "containers": [container("1")]}),
            false,
        ),
        (
            json!({"initContainers": [container("4"), sidecar], "containers": [container("1")]}),
            true,
        ),
        (
            json!({"overhead": {"cpu": "1"}, "containers": [container("3100m")]}),
            false,
        ),
        (
            json!({"resources": {"requests": {"cpu": "5"}}, "containers": [container("1")]}),
            false,
        ),
    ];
    for (spec, fits) in table {
        assert_eq!(
            place(&pod("p", spec.clone()), &cluster([node("a", json!({}))])).is_ok(),
            fits,
            "{spec}"
        );
    }
}

#[test]
fn host_ports_collide_by_protocol_and_address() {
    let port = |address: &str, protocol: &str| {
        json!({"containers": [{"name": "a", "ports": [
            {"containerPort": 80, "hostPort": 80, "hostIP": address, "protocol": protocol}]}]})
    };
    let table = [
        ("127.0.0.1", "TCP", false),
        ("0.0.0.0", "TCP", false),
        ("127.0.0.2", "TCP", true),
        ("127.0.0.1", "UDP", true),
    ];
    for (address, protocol, fits) in table {
        let mut cluster = cluster([node("a", json!({}))]);
        let mut first = port("127.0.0.1", "TCP");
        merge(&mut first, json!({"nodeName": "a"}));
        cluster.add_pod(pod("first", first));
        assert_eq!(
            place(&pod("p", port(address, protocol)), &cluster).is_ok(),
            fits,
            "{address} {protocol}"
        );
    }
}

#[test]
fn the_emptier_node_wins() {
    let mut cluster = cluster([node("a", json!({})), node("b", json!({}))]);
    let mut big = asking(json!({"cpu": "2", "memory": "4Gi"}));
    merge(&mut big, json!({"nodeName": "a"}));
    cluster.add_pod(pod("first", big));
    let second = pod("second", asking(json!({"cpu": "1", "memory": "2Gi"})));
    // LeastAllocated 75; balanced 75, for the pod changes nothing; no soft taints: 3 × 100.
    assert_eq!(
        place(&second, &cluster),
        Ok(Placement {
            node: "b".into(),
            score: 75 + 75 + 300,
            fitting: 2
        })
    );
}

#[test]
fn soft_taints_preferences_and_images_weigh_in() {
    let soft = json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}});
    let plain = pod("p", json!({}));
    assert_eq!(chosen(&plain, &cluster([node("a", soft), node("b", json!({}))])), "b");

    let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}});
    let ssd = json!({"metadata": {"labels": {"disk": "ssd"}}});
    assert_eq!(
        chosen(&pod("p", preferred), &cluster([node("a", json!({})), node("b", ssd)])),
        "b"
    );

    let image = json!({"status": {"images": [{"names": ["app:latest"], "sizeBytes": 900 << 20}]}});
    let with_image = cluster([node("a", json!({})), node("b", image)]);
    // Half of the nodes have it: (450 − 23) of (1000 − 23) MiB.
    assert_eq!(
        place(&plain, &with_image),
        Ok(Placement {
            node: "b".into(),
            score: 97 + 300 + 43,
            fitting: 2
        })
    );
}

#[test]
fn equal_nodes_share_pods_and_the_same_pod_gets_the_same_node() {
    let cluster = cluster((0..4).map(|number| node(&format!("n{number}"), json!({}))));
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for number in 0..400 {
        let pod = pod(&format!("p{number}"), json!({}));
        let node = chosen(&pod, &cluster);
        assert_eq!(chosen(&pod, &cluster), node);
        *counts.entry(node).or_default() += 1;
    }
    assert!(
        counts.len() == 4 && counts.values().all(|count| *count > 50),
        "{counts:?}"
    );
}

#[test]
fn heartbeats_wake_nobody_and_changes_that_matter_do() {
    let mut cluster = cluster([node("a", json!({}))]);
    assert!(!cluster.set_node(&node(
        "a",
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    )));
    assert!(cluster.set_node(&node("a", json!({"status": {"allocatable": {"cpu": "8"}}}))));
    assert!(cluster.set_node(&node("a", json!({"metadata": {"labels": {"zone": "x"}}}))));
    assert!(cluster.set_node(&node("a", json!({"spec": {"unschedulable": true}}))));
    let unplaceable: Unplaceable = place(&pod("p", json!({})), &cluster).unwrap_err();
    assert_eq!(unplaceable.nodes, 1);
}
