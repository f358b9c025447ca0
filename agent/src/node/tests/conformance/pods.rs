//! Pods from their making to their end. Upstream: pods.go of test/e2e/common/node and of test/e2e/node.

use super::super::cluster::Cluster;
use super::super::condition;
use super::{create, forever, path, ready, remove, script, try_create_with};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    submitted_and_removed(cluster);
    services_by_variables(cluster);
    streams_over_websockets(cluster);
    deadlines(cluster);
    readiness_gates(cluster);
    collections_go(cluster);
    statuses(cluster);
    generations(cluster);
    many_generations(cluster);
    classes(cluster);
}

fn submitted_and_removed(cluster: &Cluster) {
    create(
        cluster,
        "removed",
        json!({"terminationGracePeriodSeconds": 30, "containers": [script("trap 'exit 0' TERM; sleep 1000 & wait", json!({}))]}),
    );
    let selected = "/api/v1/namespaces/default/pods?labelSelector=walk%3Dremoved";
    let found = || cluster.ask("GET", selected, None).1["items"].as_array().unwrap().len();
    assert_eq!(found(), 1);
    ready(cluster, "removed");
    let labels = json!({"metadata": {"labels": {"time": "now"}}});
    assert_eq!(cluster.merge(&path("removed"), &labels).0, 200);
    let (_, list) = cluster.ask("GET", "/api/v1/namespaces/default/pods?labelSelector=time%3Dnow", None);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let (code, last) = cluster.ask("DELETE", &format!("{}?gracePeriodSeconds=30", path("removed")), None);
    assert_eq!(
        (code, &last["spec"]["terminationGracePeriodSeconds"]),
        (200, &json!(30))
    );
    assert!(last["metadata"]["deletionTimestamp"].is_string(), "{last:#}");
    cluster.wait_until_gone("removed");
    assert_eq!(found(), 0);
    let (_, pods) = cluster.ask("GET", "/api/v1/nodes/n1/proxy/pods", None);
    let mut pods = pods["items"].as_array().unwrap().iter();
    assert!(!pods.any(|pod| pod["metadata"]["name"] == "removed"));
}

fn services_by_variables(cluster: &Cluster) {
    let ports = json!([{"port": 8765, "targetPort": 8080}]);
    cluster.create(
        "services",
        json!({"metadata": {"name": "fooservice"}, "spec": {"ports": ports, "selector": {"name": "none"}}}),
    );
    let (_, service) = cluster.ask("GET", "/api/v1/namespaces/default/services/fooservice", None);
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    // Whether the node has seen the service already is up to its watch.
    let text = "[ -n \"$FOOSERVICE_SERVICE_HOST\" ] || exit 1; busybox env | busybox grep ^FOOSERVICE | busybox sort; sleep 1000";
    let wanted = format!(
        "FOOSERVICE_PORT=tcp://{address}:8765\nFOOSERVICE_PORT_8765_TCP=tcp://{address}:8765\n\
         FOOSERVICE_PORT_8765_TCP_ADDR={address}\nFOOSERVICE_PORT_8765_TCP_PORT=8765\nFOOSERVICE_PORT_8765_TCP_PROTO=tcp\n\
         FOOSERVICE_SERVICE_HOST={address}\nFOOSERVICE_SERVICE_PORT=8765\n"
    );
    let spec = json!({"restartPolicy": "Always", "containers": [script(text, json!({}))]});
    create(cluster, "services", spec);
    cluster.wait_for_log("services", "test", &wanted);
    remove(cluster, &["services"]);
}

fn streams_over_websockets(cluster: &Cluster) {
    let text = "echo container is alive; exec sleep 1000";
    create(cluster, "streamed", json!({"containers": [script(text, json!({}))]}));
    let pod = ready(cluster, "streamed");
    assert_eq!(pod["status"]["hostIP"], "10.77.0.11");
    let path = path("streamed");
    let exec = format!("{path}/exec?stderr=1&stdout=1&container=test&command=echo&command=remote%20execution%20test");
    let mut said = Vec::new();
    for message in cluster.messages(&exec, "channel.k8s.io") {
        match message.split_first() {
            Some((1, rest)) => said.extend_from_slice(rest),
            // Others may only be empty.
            Some((_, rest)) => assert!(rest.is_empty(), "{message:?}"),
            None => {}
        }
    }
    assert_eq!(String::from_utf8(said).unwrap(), "remote execution test\n");
    cluster.wait_for_log("streamed", "test", "container is alive\n");
    let log = format!("{path}/log?container=test");
    assert_eq!(
        cluster.messages(&log, "binary.k8s.io").concat(),
        b"container is alive\n"
    );
    remove(cluster, &["streamed"]);
}

fn deadlines(cluster: &Cluster) {
    create(cluster, "deadline", json!({"containers": [forever()]}));
    ready(cluster, "deadline");
    assert_eq!(
        cluster
            .merge(&path("deadline"), &json!({"spec": {"activeDeadlineSeconds": 5}}))
            .0,
        200
    );
    cluster.wait_for("deadline", "past its deadline", |pod| {
        (&pod["status"]["phase"], &pod["status"]["reason"]) == (&json!("Failed"), &json!("DeadlineExceeded"))
    });
    remove(cluster, &["deadline"]);
}

fn readiness_gates(cluster: &Cluster) {
    let gates = json!([{"conditionType": "k8s.io/test-condition1"}, {"conditionType": "k8s.io/test-condition2"}]);
    create(
        cluster,
        "gated",
        json!({"readinessGates": gates, "containers": [forever()]}),
    );
    cluster.wait_for("gated", "ready but for its gates", |pod| {
        condition(pod, "ContainersReady") == "True" && condition(pod, "Ready") == "False"
    });
    let set = |gate: &str, status: &str| {
        let change = json!({"status": {"conditions": [{"type": gate, "status": status}]}});
        let (code, reply) = cluster.merge(&format!("{}/status", path("gated")), &change);
        assert_eq!(code, 200, "{reply:#}");
    };
    set("k8s.io/test-condition1", "True");
    cluster.wait_for("gated", "shut by the second gate", |pod| {
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        let ready = conditions
            .iter()
            .find(|condition| condition["type"] == "Ready")
            .unwrap();
        let message = ready["message"].as_str().unwrap_or_default();
        ready["status"] == "False" && message.contains("test-condition2") && !message.contains("test-condition1")
    });
    set("k8s.io/test-condition2", "True");
    ready(cluster, "gated");
    set("k8s.io/test-condition1", "False");
    cluster.wait_for("gated", "shut again", |pod| condition(pod, "Ready") == "False");
    remove(cluster, &["gated"]);
}

fn collections_go(cluster: &Cluster) {
    let names = ["test-pod-1", "test-pod-2", "test-pod-3"];
    for name in names {
        let metadata = json!({"name": name, "labels": {"type": "Testing"}});
        assert_eq!(
            try_create_with(cluster, metadata, json!({"containers": [forever()]})).0,
            201
        );
    }
    names.iter().for_each(|name| drop(ready(cluster, name)));
    let selected = "/api/v1/namespaces/default/pods?labelSelector=type%3DTesting";
    assert_eq!(
        cluster
            .ask("DELETE", selected, Some(json!({"gracePeriodSeconds": 1})))
            .0,
        200
    );
    cluster.eventually("the set is gone", || {
        (cluster.ask("GET", selected, None).1["items"] == json!([])).then_some(())
    });
}

/// The life of a pod and of its status.
fn statuses(cluster: &Cluster) {
    create(
        cluster,
        "pod-test",
        json!({"restartPolicy": "Always", "containers": [forever()]}),
    );
    ready(cluster, "pod-test");
    let change = json!({"metadata": {"labels": {"test-pod": "patched"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "test", "image": super::images::NON_ROOT}]}});
    let (code, pod) = cluster.merge(&path("pod-test"), &change);
    assert_eq!(code, 200, "{pod:#}");
    assert_eq!(pod["metadata"]["labels"]["test-pod"], "patched");
    assert_eq!(pod["spec"]["containers"][0]["image"], super::images::NON_ROOT);
    // Another image is another container.
    cluster.wait_for("pod-test", "restarted with its new image", |pod| {
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"] == 1 && status["image"] == super::images::NON_ROOT && condition(pod, "Ready") == "True"
    });
    let status = format!("{}/status", path("pod-test"));
    let replaced = cluster.eventually("its conditions are replaced", || {
        let (_, mut pod) = cluster.ask("GET", &status, None);
        let mut changed = 0;
        for condition in pod["status"]["conditions"].as_array_mut().unwrap() {
            let kind = condition["type"].as_str().unwrap();
            if ["Ready", "ContainersReady"].contains(&kind) && condition["status"] == "True" {
                condition["status"] = json!("False");
                changed += 1;
            }
        }
        let (code, pod) = cluster.ask("PUT", &status, Some(pod));
        (changed == 2 && code == 200).then_some(pod)
    });
    for kind in ["Ready", "ContainersReady"] {
        assert_eq!(condition(&replaced, kind), "False");
    }
    let (code, pod) = cluster.merge(
        &status,
        &json!({"status": {"message": "Patched by the walk", "reason": "Walk"}}),
    );
    assert_eq!(
        (code, &pod["status"]["message"], &pod["status"]["reason"]),
        (200, &json!("Patched by the walk"), &json!("Walk"))
    );
    remove(cluster, &["pod-test"]);
}

fn generations(cluster: &Cluster) {
    let metadata = json!({"name": "generations", "generation": 100, "labels": {"walk": "generations"}});
    let init = script("exit 0", json!({"name": "init-container"}));
    // The tolerations that every pod has.
    let spec =
        json!({"tolerations": [], "restartPolicy": "Always", "initContainers": [init], "containers": [forever()]});
    let (code, pod) = try_create_with(cluster, metadata, spec);
    assert_eq!((code, &pod["metadata"]["generation"]), (201, &json!(1)), "{pod:#}");
    ready(cluster, "generations");
    let toleration = json!([{"key": "foo-1", "operator": "Equal", "value": "bar", "effect": "NoSchedule"}]);
    type Change = fn(&mut Value, &Value);
    let rows: [(&str, Change, u64); 7] = [
        ("nothing", |_, _| {}, 0),
        (
            "tolerations",
            |pod, toleration| pod["spec"]["tolerations"] = toleration.clone(),
            1,
        ),
        (
            "the deadline",
            |pod, _| pod["spec"]["activeDeadlineSeconds"] = json!(5000),
            1,
        ),
        (
            "an image",
            |pod, _| pod["spec"]["containers"][0]["image"] = json!(super::images::ENTRY),
            1,
        ),
        (
            "the first image",
            |pod, _| pod["spec"]["initContainers"][0]["image"] = json!(super::images::ENTRY),
            1,
        ),
        (
            "annotations",
            |pod, _| pod["metadata"]["annotations"] = json!({"key": "value"}),
            0,
        ),
        ("the generation", |pod, _| pod["metadata"]["generation"] = json!(1), 0),
    ];
    let mut generation = 1;
    for (what, change, more) in rows {
        generation += more;
        let pod = cluster.eventually(&format!("{what} is changed"), || {
            let mut pod = cluster.pod("generations")?;
            change(&mut pod, &toleration);
            let (code, pod) = cluster.ask("PUT", &path("generations"), Some(pod));
            assert!(code == 200 || code == 409, "{what}: {pod:#}");
            (code == 200).then_some(pod)
        });
        assert_eq!(pod["metadata"]["generation"], generation, "{what}");
    }
    cluster.wait_for("generations", "seen by the node", |pod| {
        pod["status"]["observedGeneration"] == generation
    });
    let (code, _) = cluster.ask(
        "DELETE",
        &format!("{}?gracePeriodSeconds=20", path("generations")),
        None,
    );
    assert_eq!(
        (code, &cluster.pod("generations").unwrap()["metadata"]["generation"]),
        (200, &json!(generation + 1))
    );
    remove(cluster, &["generations"]);
}

/// 500 changes, of which the node may see as few as it likes, but the last one.
fn many_generations(cluster: &Cluster) {
    create(
        cluster,
        "changed",
        json!({"tolerations": [], "containers": [forever()]}),
    );
    ready(cluster, "changed");
    for nth in 0..499 {
        let toleration =
            json!({"key": format!("foo-{nth}"), "operator": "Equal", "value": "bar", "effect": "NoSchedule"});
        let change = json!([{"op": "add", "path": "/spec/tolerations/-", "value": toleration}]);
        let (code, reply) = cluster.ask("PATCH", &path("changed"), Some(change));
        assert_eq!(code, 200, "{reply:#}");
    }
    assert_eq!(cluster.pod("changed").unwrap()["metadata"]["generation"], 500);
    let pod = cluster.wait_for("changed", "seen by the node", |pod| {
        pod["status"]["observedGeneration"] == 500
    });
    for kind in [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ] {
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
        assert!(found["observedGeneration"].as_u64() >= Some(1), "{found:#}");
    }
    remove(cluster, &["changed"]);
}

fn classes(cluster: &Cluster) {
    let amounts = json!({"cpu": "100m", "memory": "100Mi"});
    let container = script(
        "exec sleep 1000",
        json!({"resources": {"limits": amounts, "requests": amounts}}),
    );
    let pod = create(cluster, "guaranteed", json!({"containers": [container]}));
    assert_eq!(pod["status"]["qosClass"], "Guaranteed");
    remove(cluster, &["guaranteed"]);
}
