//! How pods come up, end and are told about. Upstream: init_container.go, runtime.go, pods.go, kubelet.go, kubelet_etc_hosts.go,
//! ephemeral_containers.go, runtimeclass.go and sysctl.go of test/e2e/common/node.

use super::super::cluster::Cluster;
use super::super::{condition, image};
use super::{create, remove, script, try_create};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    init_containers(cluster);
    restart_policies(cluster);
    termination_messages(cluster);
    what_always_fails(cluster);
    hosts_files(cluster);
    ephemeral_containers(cluster);
    streams_over_websockets(cluster);
    deadlines_and_gates(cluster);
    collections_go(cluster);
    what_the_api_refuses(cluster);
}

fn forever() -> Value {
    script("exec sleep 1000", json!({}))
}

fn init(name: &str, text: &str) -> Value {
    script(text, json!({"name": name}))
}

fn init_containers(cluster: &Cluster) {
    let two = json!([init("init1", "exit 0"), init("init2", "exit 0")]);
    create(
        cluster,
        "init-never",
        json!({"initContainers": two, "containers": [script("exit 0", json!({}))]}),
    );
    create(
        cluster,
        "init-always",
        json!({"restartPolicy": "Always", "initContainers": two, "containers": [forever()]}),
    );
    let fail = json!([init("init1", "exit 1"), init("init2", "exit 0")]);
    create(
        cluster,
        "init-fails",
        json!({"restartPolicy": "Always", "initContainers": fail, "containers": [forever()]}),
    );
    let second = json!([init("init1", "exit 0"), init("init2", "exit 1")]);
    create(
        cluster,
        "init-ends",
        json!({"initContainers": second, "containers": [forever()]}),
    );

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
    // Whatever is looked at on the way, nothing but the first init container has left waiting.
    let pod = cluster.wait_for("init-fails", "restarted three times", |pod| {
        let status = &pod["status"];
        let waits = |status: &Value| {
            assert_eq!(status["state"]["waiting"]["reason"], "PodInitializing", "{status:#}");
            assert_eq!(status["restartCount"], 0);
        };
        status["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(waits);
        let inits = status["initContainerStatuses"].as_array().cloned().unwrap_or_default();
        inits.iter().skip(1).for_each(waits);
        inits
            .first()
            .is_some_and(|first| first["restartCount"].as_u64() >= Some(3))
    });
    assert_eq!(pod["status"]["phase"], "Pending");
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
            &json!("containers with incomplete status: [init1 init2]")
        )
    );
    let pod = cluster.wait_for("init-ends", "Failed", |pod| pod["status"]["phase"] == "Failed");
    assert_eq!(condition(&pod, "Initialized"), "False");
    let status = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
    assert_eq!(status, "PodInitializing");
    for name in ["init-never", "init-always", "init-fails", "init-ends"] {
        remove(cluster, name);
    }
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
        remove(cluster, name);
    }
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
        remove(cluster, name);
    }
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
    remove(cluster, "fails");
}

fn hosts_files(cluster: &Cluster) {
    let named = |name: &str, mounts: Value| script("exec sleep 1000", json!({"name": name, "volumeMounts": mounts}));
    let original = json!({"name": "hosts", "mountPath": "/etc/hosts-original"});
    let volumes = json!([{"name": "hosts", "hostPath": {"path": "/etc/hosts", "type": "FileOrCreate"}}]);
    let both = json!([original, {"name": "hosts", "mountPath": "/etc/hosts"}]);
    let spec = |host: bool, second: Value| {
        json!({"hostNetwork": host, "volumes": volumes,
            "containers": [named("one", json!([original])), named("two", second)]})
    };
    create(cluster, "hosts-own", spec(false, both));
    create(cluster, "hosts-machine", spec(true, json!([original])));
    let is_managed = |pod: &str, container: &str| {
        let read = |file: &str| cluster.exec(pod, container, &["cat", file], "").0;
        let hosts = read("/etc/hosts");
        hosts.starts_with("# Kubernetes-managed hosts file.") && hosts != read("/etc/hosts-original")
    };
    for (pod, container, managed) in [
        ("hosts-own", "one", true),
        ("hosts-own", "two", false),
        ("hosts-machine", "one", false),
        ("hosts-machine", "two", false),
    ] {
        cluster.wait_for(pod, "Ready", |pod| condition(pod, "Ready") == "True");
        assert_eq!(is_managed(pod, container), managed, "{pod}/{container}");
    }
    ["hosts-own", "hosts-machine"]
        .iter()
        .for_each(|name| remove(cluster, name));
}

fn ephemeral_containers(cluster: &Cluster) {
    create(cluster, "looked-into", json!({"containers": [forever()]}));
    let pod = cluster.wait_for("looked-into", "Ready", |pod| condition(pod, "Ready") == "True");
    assert_eq!(pod["metadata"]["generation"], 1);
    let path = "/api/v1/namespaces/default/pods/looked-into/ephemeralcontainers";
    let debugger = json!([{"name": "debugger", "image": image::NAME, "stdin": true, "tty": true,
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
        "value": {"name": "debugger2", "image": image::NAME, "command": ["sh", "-c", "exit 0"]}}));
    let (_, pod) = cluster.ask("GET", path, None);
    assert_eq!(pod["spec"]["ephemeralContainers"].as_array().map(Vec::len), Some(2));
    remove(cluster, "looked-into");
}

fn streams_over_websockets(cluster: &Cluster) {
    let text = "echo container is alive; exec sleep 1000";
    create(cluster, "streamed", json!({"containers": [script(text, json!({}))]}));
    let pod = cluster.wait_for("streamed", "Ready", |pod| condition(pod, "Ready") == "True");
    assert_eq!(pod["status"]["hostIP"], "10.77.0.11");
    let path = "/api/v1/namespaces/default/pods/streamed";
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
    let log = cluster
        .messages(&format!("{path}/log?container=test"), "binary.k8s.io")
        .concat();
    assert_eq!(log, b"container is alive\n");
    remove(cluster, "streamed");
}

fn deadlines_and_gates(cluster: &Cluster) {
    create(cluster, "deadline", json!({"containers": [forever()]}));
    let gates = json!([{"conditionType": "k8s.io/one"}, {"conditionType": "k8s.io/two"}]);
    create(
        cluster,
        "gated",
        json!({"readinessGates": gates, "containers": [forever()]}),
    );
    cluster.wait_for("deadline", "Ready", |pod| condition(pod, "Ready") == "True");
    let path = "/api/v1/namespaces/default/pods/deadline";
    let deadline = json!([{"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 5}]);
    assert_eq!(cluster.ask("PATCH", path, Some(deadline)).0, 200);
    cluster.wait_for("deadline", "past its deadline", |pod| {
        (&pod["status"]["phase"], &pod["status"]["reason"]) == (&json!("Failed"), &json!("DeadlineExceeded"))
    });
    cluster.wait_for("gated", "ready but for its gates", |pod| {
        condition(pod, "ContainersReady") == "True"
    });
    let path = "/api/v1/namespaces/default/pods/gated/status";
    let open = |gate: &str, status: &str| {
        let value = json!({"type": gate, "status": status});
        // By place, since this is no strategic patch: found where it stands, else added.
        let (_, pod) = cluster.ask("GET", path, None);
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        let place = conditions.iter().position(|condition| condition["type"] == gate);
        let (op, place) = place.map_or(("add", "-".to_owned()), |place| ("replace", place.to_string()));
        let test =
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": pod["metadata"]["resourceVersion"]});
        let patch = json!([test, {"op": op, "path": format!("/status/conditions/{place}"), "value": value}]);
        (cluster.ask("PATCH", path, Some(patch)).0 == 200).then_some(())
    };
    let set = |gate: &str, status: &str| cluster.eventually("a gate is set", || open(gate, status));
    set("k8s.io/one", "True");
    cluster.wait_for("gated", "shut by the second gate", |pod| {
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        let ready = conditions
            .iter()
            .find(|condition| condition["type"] == "Ready")
            .unwrap();
        ready["status"] == "False" && !ready["message"].as_str().unwrap_or_default().contains("k8s.io/one")
    });
    set("k8s.io/two", "True");
    cluster.wait_for("gated", "Ready", |pod| condition(pod, "Ready") == "True");
    set("k8s.io/one", "False");
    cluster.wait_for("gated", "shut again", |pod| condition(pod, "Ready") == "False");
    ["deadline", "gated"].iter().for_each(|name| remove(cluster, name));
}

fn collections_go(cluster: &Cluster) {
    let pods = "/api/v1/namespaces/default/pods";
    for name in ["set-1", "set-2", "set-3"] {
        create(cluster, name, json!({"containers": [forever()]}));
    }
    for name in ["set-1", "set-2", "set-3"] {
        cluster.wait_for(name, "Ready", |pod| condition(pod, "Ready") == "True");
    }
    let selected = format!("{pods}?labelSelector=walk%20in%20(set-1,set-2,set-3)");
    assert_eq!(
        cluster.ask("GET", &selected, None).1["items"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(
        cluster
            .ask("DELETE", &selected, Some(json!({"gracePeriodSeconds": 1})))
            .0,
        200
    );
    cluster.eventually("the set is gone", || {
        let left = cluster.ask("GET", &selected, None).1;
        (left["items"] == json!([])).then_some(())
    });
}

fn what_the_api_refuses(cluster: &Cluster) {
    let sysctls = json!([{"name": "foo-", "value": "bar"}, {"name": "kernel.shmmax", "value": "100000000"},
        {"name": "safe-and-unsafe", "value": "100000000"}, {"name": "bar..", "value": "42"}]);
    let (code, reply) = try_create(
        cluster,
        "sysctls",
        json!({"securityContext": {"sysctls": sysctls}, "containers": [forever()]}),
    );
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

    let classes = "/apis/node.k8s.io/v1/runtimeclasses";
    let of = |class: &str| json!({"runtimeClassName": class, "containers": [forever()]});
    assert_eq!(try_create(cluster, "classless", of("no-such")).0, 403);
    let class = |name: &str, more: Value| {
        let mut class = json!({"metadata": {"name": name}, "handler": "test-handler"});
        class.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
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
        remove(cluster, name);
        assert_eq!(cluster.ask("DELETE", &format!("{classes}/{name}"), None).0, 200);
    }
}
