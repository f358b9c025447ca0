//! Lives of pods on a real node: probes, hooks, sidecars, ephemeral containers.

use super::cluster::Cluster;
use super::{condition, image};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    probes_start_restart_and_make_ready(cluster);
    probe_to_nowhere_is_named_and_blocks_nobody(cluster);
    hooks_run_after_the_start_and_before_the_stop(cluster);
    failed_hook_is_told(cluster);
    sidecar_goes_when_the_work_is_done(cluster);
    debugger_joins_a_running_pod(cluster);
    containers_know_services_by_variables(cluster);
    containers_see_each_other_if_their_pod_says(cluster);
    pod_has_users_of_its_own(cluster);
    pods_are_called_and_ask_for_names_as_they_say(cluster);
    all_containers_restart_together(cluster);
}

fn create(cluster: &Cluster, name: &str, spec: Value) {
    let mut spec = spec;
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            container["image"] = json!(image::NAME);
        }
    }
    cluster.create("pods", json!({"metadata": {"name": name}, "spec": spec}));
}

fn sh(script: &str) -> Value {
    json!(["sh", "-c", script])
}

fn status(pod: &Value, list: &str, name: &str) -> Value {
    let all = pod["status"][list].as_array().cloned().unwrap_or_default();
    all.into_iter()
        .find(|status| status["name"] == name)
        .unwrap_or_default()
}

fn remove(cluster: &Cluster, name: &str) {
    cluster.delete(name);
    cluster.wait_until_gone(name);
}

fn probes_start_restart_and_make_ready(cluster: &Cluster) {
    let exec = |script: &str| json!({"exec": {"command": sh(script)}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30});
    let mut startup = exec("cat /tmp/started");
    startup["failureThreshold"] = json!(100);
    // Of a pod that says much, later events are dropped.
    startup["periodSeconds"] = json!(3);
    create(
        cluster,
        "probed",
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "a",
        "command": sh("exec sleep 1000"), "startupProbe": startup,
        "livenessProbe": exec("! cat /tmp/dead"), "readinessProbe": exec("cat /tmp/ready")}]}),
    );
    cluster.wait_for_event(
        "probed",
        "Unhealthy",
        "Startup probe failed: cat: /tmp/started: No such file or directory",
    );
    let of = |pod: &Value| status(pod, "containerStatuses", "a");
    let pod = cluster.wait_for("probed", "Running", |pod| pod["status"]["phase"] == "Running");
    assert_eq!(
        (of(&pod)["started"].clone(), of(&pod)["ready"].clone()),
        (json!(false), json!(false))
    );
    cluster.exec("probed", "a", &["sh", "-c", "echo > /tmp/started"], "");
    let pod = cluster.wait_for("probed", "started", |pod| of(pod)["started"] == true);
    assert_eq!(condition(&pod, "Ready"), "False");
    cluster.wait_for_event("probed", "Unhealthy", "Readiness probe failed: ");
    cluster.exec("probed", "a", &["sh", "-c", "echo > /tmp/ready"], "");
    cluster.wait_for("probed", "Ready", |pod| condition(pod, "Ready") == "True");
    cluster.exec("probed", "a", &["sh", "-c", "echo > /tmp/dead"], "");
    let pod = cluster.wait_for("probed", "restarted", |pod| of(pod)["restartCount"] == 1);
    assert_eq!(
        (of(&pod)["started"].clone(), of(&pod)["ready"].clone()),
        (json!(false), json!(false))
    );
    assert_eq!(of(&pod)["lastState"]["terminated"]["exitCode"], 137);
    cluster.wait_for_event(
        "probed",
        "Killing",
        "Container a failed liveness probe, will be restarted",
    );
    remove(cluster, "probed");
}

fn probe_to_nowhere_is_named_and_blocks_nobody(cluster: &Cluster) {
    let nowhere = |handler: &str, action: Value| {
        json!({"name": handler.to_lowercase(), "command": sh("exec sleep 1000"),
            "readinessProbe": {handler: action, "periodSeconds": 1, "timeoutSeconds": 1}})
    };
    create(
        cluster,
        "nowhere",
        json!({"terminationGracePeriodSeconds": 1, "containers": [
        nowhere("httpGet", json!({"port": 81, "path": "/x"})), nowhere("tcpSocket", json!({"port": 82})),
        nowhere("grpc", json!({"port": 83})), nowhere("exec", json!({"command": ["sleep", "1000"]}))]}),
    );
    let pod = cluster.wait_for("nowhere", "Running", |pod| pod["status"]["phase"] == "Running");
    let ip = pod["status"]["podIP"].as_str().unwrap();
    for wanted in [
        format!("Get \"http://{ip}:81/x\": dial tcp {ip}:81: connect: connection refused"),
        format!("Readiness probe failed: dial tcp {ip}:82: connect: connection refused"),
        format!("dial tcp {ip}:83: connect: connection refused"),
        "command timed out: \"sleep 1000\" timed out after 1s".to_owned(),
    ] {
        cluster.wait_for_event("nowhere", "Unhealthy", &wanted);
    }
    assert_eq!(condition(&pod, "ContainersReady"), "False");
    remove(cluster, "nowhere");
}

fn hooks_run_after_the_start_and_before_the_stop(cluster: &Cluster) {
    let folder = cluster.folder().join("hooks");
    std::fs::create_dir_all(&folder).unwrap();
    let hook = |word: &str| json!({"exec": {"command": sh(&format!("echo {word} >> /hooks/said"))}});
    create(
        cluster,
        "hooked",
        json!({"containers": [
        {"name": "a", "command": sh("exec sleep 1000"), "lifecycle": {"postStart": hook("begun"), "preStop": hook("ends")},
            "volumeMounts": [{"name": "hooks", "mountPath": "/hooks"}]},
        {"name": "b", "command": sh("cat /hooks/said; exec sleep 1000"), "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            "volumeMounts": [{"name": "hooks", "mountPath": "/hooks"}]}],
        "volumes": [{"name": "hooks", "hostPath": {"path": folder}}]}),
    );
    cluster.wait_for("hooked", "Ready", |pod| condition(pod, "Ready") == "True");
    cluster.wait_for_log("hooked", "b", "begun\n");
    cluster.delete("hooked");
    cluster.wait_until_gone("hooked");
    assert_eq!(std::fs::read_to_string(folder.join("said")).unwrap(), "begun\nends\n");
}

fn failed_hook_is_told(cluster: &Cluster) {
    create(
        cluster,
        "badhook",
        json!({"terminationGracePeriodSeconds": 1, "restartPolicy": "Never", "containers": [
        {"name": "a", "command": sh("exec sleep 1000"), "lifecycle": {"postStart": {"exec": {"command": ["/no/such"]}}}}]}),
    );
    cluster.wait_for_event("badhook", "FailedPostStartHook", "PostStartHook failed");
    cluster.wait_for_event("badhook", "Killing", "FailedPostStartHook");
    let pod = cluster.wait_for("badhook", "Failed", |pod| pod["status"]["phase"] == "Failed");
    assert_eq!(
        status(&pod, "containerStatuses", "a")["state"]["terminated"]["exitCode"],
        137
    );
    remove(cluster, "badhook");
}

fn sidecar_goes_when_the_work_is_done(cluster: &Cluster) {
    create(
        cluster,
        "work",
        json!({"terminationGracePeriodSeconds": 1, "restartPolicy": "Never",
        "initContainers": [{"name": "s", "restartPolicy": "Always", "command": sh("echo up > /shared/up; exec sleep 1000"),
            "startupProbe": {"exec": {"command": ["cat", "/shared/up"]}, "periodSeconds": 1, "timeoutSeconds": 30},
            "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}],
        "containers": [{"name": "a", "command": sh("cat /shared/up"), "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}],
        "volumes": [{"name": "shared", "emptyDir": {}}]}),
    );
    let is_over = |pod: &Value| !status(pod, "initContainerStatuses", "s")["state"]["terminated"].is_null();
    let pod = cluster.wait_for("work", "over", |pod| {
        pod["status"]["phase"] == "Succeeded" && is_over(pod)
    });
    assert_eq!(
        status(&pod, "containerStatuses", "a")["state"]["terminated"]["reason"],
        "Completed"
    );
    cluster.wait_for_log("work", "a", "up\n");
    remove(cluster, "work");
}

fn debugger_joins_a_running_pod(cluster: &Cluster) {
    create(
        cluster,
        "sick",
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "a", "command": sh("exec sleep 1000")}]}),
    );
    cluster.wait_for("sick", "Ready", |pod| condition(pod, "Ready") == "True");
    let path = "/api/v1/namespaces/default/pods/sick/ephemeralcontainers";
    let mut pod = cluster.ask("GET", path, None).1;
    pod["spec"]["ephemeralContainers"] =
        json!([{"name": "debugger", "image": image::NAME, "command": sh("echo here; exit 3")}]);
    let (code, reply) = cluster.ask("PUT", path, Some(pod));
    assert_eq!(code, 200, "{reply:#}");
    let of = |pod: &Value| status(pod, "ephemeralContainerStatuses", "debugger");
    let pod = cluster.wait_for("sick", "debugged", |pod| {
        of(pod)["state"]["terminated"]["exitCode"] == 3
    });
    assert_eq!(of(&pod)["restartCount"], 0);
    assert_eq!(condition(&pod, "Ready"), "True");
    cluster.wait_for_log("sick", "debugger", "here\n");
    remove(cluster, "sick");
}

fn containers_know_services_by_variables(cluster: &Cluster) {
    let service = json!({"metadata": {"name": "my-db"}, "spec": {"ports": [{"name": "sql", "port": 5432}]}});
    cluster.create("services", service);
    let script = sh("echo $MY_DB_SERVICE_PORT_SQL $KUBERNETES_SERVICE_PORT $GIVEN; exec sleep 1000");
    let containers = |name: &str| {
        json!([{"name": name, "command": script,
            "env": [{"name": "GIVEN", "value": "$(MY_DB_SERVICE_PORT)"}]}])
    };
    create(
        cluster,
        "linked",
        json!({"terminationGracePeriodSeconds": 1, "containers": containers("a")}),
    );
    cluster.wait_for_log("linked", "a", "5432 443 5432\n");
    let spec = json!({"terminationGracePeriodSeconds": 1, "enableServiceLinks": false, "containers": containers("a")});
    create(cluster, "unlinked", spec);
    cluster.wait_for_log("unlinked", "a", "443 $(MY_DB_SERVICE_PORT)\n");
    remove(cluster, "linked");
    remove(cluster, "unlinked");
}

fn containers_see_each_other_if_their_pod_says(cluster: &Cluster) {
    // The number is put together so that the finder does not find itself.
    let finder = "n=9870; until case $(cat /proc/[0-9]*/cmdline) in *${n}01*) ;; *) false;; esac; do sleep 0.1; done; echo found; exec sleep 1000";
    let spec = json!({"shareProcessNamespace": true, "terminationGracePeriodSeconds": 1, "containers": [
        {"name": "a", "command": sh("exec sleep 987001")}, {"name": "b", "command": sh(finder)}]});
    create(cluster, "together", spec);
    cluster.wait_for_log("together", "b", "found\n");
    let (first, ..) = cluster.exec("together", "a", &["sh", "-c", "cat /proc/1/cmdline"], "");
    assert!(!first.contains("sleep"), "{first}");
    remove(cluster, "together");
}

fn pod_has_users_of_its_own(cluster: &Cluster) {
    let script = "echo x > /data/x && echo wrote; exec sleep 1000";
    let spec = json!({"hostUsers": false, "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "a", "command": sh(script), "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumes": [{"name": "data", "emptyDir": {}}]});
    create(cluster, "mapped", spec);
    cluster.wait_for_log("mapped", "a", "wrote\n");
    let (map, ..) = cluster.exec("mapped", "a", &["sh", "-c", "cat /proc/self/uid_map"], "");
    let map: Vec<u64> = map
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    assert!(map[0] == 0 && map[1] >= 65536 && map[2] == 65536, "{map:?}");
    let (_, metrics) = cluster.ask("GET", "/api/v1/nodes/n1/proxy/metrics", None);
    let metrics = metrics.as_str().unwrap_or_default();
    for line in [
        "\nkubelet_started_user_namespaced_pods_total 1\n",
        "\nkubelet_started_user_namespaced_pods_errors_total 0\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    remove(cluster, "mapped");
}

fn pods_are_called_and_ask_for_names_as_they_say(cluster: &Cluster) {
    let spec = |more: Value| {
        let mut spec = json!({"terminationGracePeriodSeconds": 1,
            "containers": [{"name": "a", "command": sh("exec sleep 1000")}]});
        let (spec_fields, more) = (spec.as_object_mut().unwrap(), more.as_object().unwrap().clone());
        spec_fields.extend(more);
        spec
    };
    let many = json!({"dnsConfig": {"nameservers": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]}});
    create(cluster, "called", spec(many));
    create(cluster, "host", spec(json!({"hostNetwork": true})));
    create(
        cluster,
        "overridden",
        spec(json!({"hostnameOverride": "db.example.test"})),
    );
    let read = |pod: &str, file: &str| cluster.exec(pod, "a", &["cat", file], "").0;
    let kernel = "/proc/sys/kernel/hostname";
    for (pod, name) in [
        ("called", "called\n"),
        ("host", "n1\n"),
        ("overridden", "db.example.test\n"),
    ] {
        cluster.wait_for(pod, "Ready", |pod| condition(pod, "Ready") == "True");
        assert_eq!(
            (read(pod, kernel), read(pod, "/etc/hostname")),
            (name.to_owned(), name.to_owned())
        );
    }
    let cluster_first = read("called", "/etc/resolv.conf");
    let search = "search default.svc.cluster.local svc.cluster.local cluster.local";
    let servers = "\nnameserver 10.96.0.10\nnameserver 10.0.0.1\nnameserver 10.0.0.2\noptions ndots:5\n";
    assert!(
        cluster_first.starts_with(search) && cluster_first.ends_with(servers),
        "{cluster_first}"
    );
    cluster.wait_for_event("called", "DNSConfigForming", "Nameserver limits were exceeded, ");
    assert!(!read("host", "/etc/resolv.conf").contains("cluster.local"));
    ["called", "host", "overridden"]
        .iter()
        .for_each(|name| remove(cluster, name));
}

fn all_containers_restart_together(cluster: &Cluster) {
    // The second time there is nothing to restart for.
    let source = "[ -f /shared/once ] && exec sleep 1000; echo > /shared/once; exit 42";
    let mounts = json!([{"name": "shared", "mountPath": "/shared"}]);
    let rules = json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]);
    create(
        cluster,
        "gang",
        json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "initContainers": [{"name": "i", "command": sh("echo init >> /shared/runs"), "volumeMounts": mounts}],
        "containers": [{"name": "a", "command": sh("exec sleep 1000"), "volumeMounts": mounts},
            {"name": "b", "command": sh(source), "restartPolicy": "Never", "restartPolicyRules": rules, "volumeMounts": mounts}],
        "volumes": [{"name": "shared", "emptyDir": {}}]}),
    );
    let counts = |pod: &Value| {
        let of = |list: &str, name: &str| status(pod, list, name)["restartCount"].clone();
        [
            of("initContainerStatuses", "i"),
            of("containerStatuses", "a"),
            of("containerStatuses", "b"),
        ]
    };
    let pod = cluster.wait_for("gang", "Ready again", |pod| {
        counts(pod) == [json!(1), json!(1), json!(1)] && condition(pod, "Ready") == "True"
    });
    let last = &status(&pod, "containerStatuses", "a")["lastState"]["terminated"];
    assert_eq!(
        (&last["reason"], &last["exitCode"]),
        (&json!("RestartingAllContainers"), &json!(137))
    );
    assert_eq!(condition(&pod, "AllContainersRestarting"), "False");
    let (runs, ..) = cluster.exec("gang", "a", &["cat", "/shared/runs"], "");
    assert_eq!(runs, "init\ninit\n");
    remove(cluster, "gang");
}
