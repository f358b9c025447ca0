//! What pods are made of on a real node: volumes of images and claims, rejected pods, other limits while they run.

use super::cluster::Cluster;
use super::image;
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    images_and_claims_are_volumes(cluster);
    forbidden_sysctls_and_unknown_runtimes_are_named(cluster);
    labels_reach_a_running_pod(cluster);
    containers_are_resized_while_they_run(cluster);
    filters_in_files_of_the_node_count(cluster);
}

fn create(cluster: &Cluster, name: &str, spec: Value) {
    let mut spec = spec;
    spec["containers"][0]["name"] = json!("a");
    spec["containers"][0]["image"] = json!(image::NAME);
    spec["terminationGracePeriodSeconds"] = json!(0);
    cluster.create(
        "pods",
        json!({"metadata": {"name": name, "labels": {"stage": "one"}}, "spec": spec}),
    );
}

fn remove(cluster: &Cluster, name: &str) {
    cluster.delete(name);
    cluster.wait_until_gone(name);
}

fn images_and_claims_are_volumes(cluster: &Cluster) {
    let disk = cluster.folder().join("disk");
    std::fs::create_dir_all(&disk).unwrap();
    std::fs::write(disk.join("word"), "kept\n").unwrap();
    let (volume, claim) = (
        "/api/v1/persistentvolumes",
        "/api/v1/namespaces/default/persistentvolumeclaims",
    );
    let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions":
        [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}]}});
    let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "none",
        "local": {"path": disk}, "nodeAffinity": affinity});
    let made = cluster.ask(
        "POST",
        volume,
        Some(json!({"metadata": {"name": "disk"}, "spec": spec})),
    );
    assert_eq!(made.0, 201, "{}", made.1);
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "volumeName": "disk",
        "resources": {"requests": {"storage": "1Gi"}}});
    let made = cluster.ask("POST", claim, Some(json!({"metadata": {"name": "data"}, "spec": spec})));
    assert_eq!(made.0, 201, "{}", made.1);
    // No controller of volumes runs here, so the test is it.
    let bound = json!([{"op": "add", "path": "/status/phase", "value": "Bound"}]);
    let made = cluster.ask("PATCH", &format!("{claim}/data/status"), Some(bound));
    assert_eq!(made.0, 200, "{}", made.1);

    let script = "cat /data/word; [ -f /image/bin/sh ] && echo seen; echo new > /data/new; \
        (echo > /image/x) 2>/dev/null || echo image stays; exec sleep 1000";
    create(
        cluster,
        "made-of",
        json!({"containers": [{"command": ["sh", "-c", script], "volumeMounts":
            [{"name": "data", "mountPath": "/data"}, {"name": "image", "mountPath": "/image"}]}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "image", "image": {"reference": image::NAME, "pullPolicy": "IfNotPresent"}}]}),
    );
    cluster.wait_for_log("made-of", "a", "kept\nseen\nimage stays\n");
    remove(cluster, "made-of");
    assert_eq!(std::fs::read_to_string(disk.join("new")).unwrap(), "new\n");
}

fn forbidden_sysctls_and_unknown_runtimes_are_named(cluster: &Cluster) {
    let sleep = json!([{"command": ["sleep", "1000"]}]);
    let context = json!({"sysctls": [{"name": "kernel.msgmax", "value": "1000"}]});
    create(
        cluster,
        "greedy",
        json!({"containers": sleep, "securityContext": context}),
    );
    let pod = cluster.wait_for("greedy", "Failed", |pod| pod["status"]["phase"] == "Failed");
    let status = &pod["status"];
    assert_eq!(status["reason"], "SysctlForbidden");
    let sentence = "forbidden sysctl: \"kernel.msgmax\" not allowlisted";
    assert_eq!(status["message"], format!("Pod was rejected: {sentence}"));
    cluster.wait_for_event("greedy", "SysctlForbidden", sentence);
    remove(cluster, "greedy");

    let context = json!({"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]});
    let show = json!([{"command": ["sh", "-c", "cat /proc/sys/kernel/shm_rmid_forced; exec sleep 1000"]}]);
    create(
        cluster,
        "modest",
        json!({"containers": show, "securityContext": context}),
    );
    cluster.wait_for_log("modest", "a", "1\n");
    remove(cluster, "modest");
}

fn labels_reach_a_running_pod(cluster: &Cluster) {
    let items = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]);
    let script = "until [ \"$(cat /me/labels)\" = 'stage=\"two\"' ]; do sleep 0.1; done; echo two; exec sleep 1000";
    create(
        cluster,
        "labelled",
        json!({"containers": [{"command": ["sh", "-c", script], "volumeMounts": [{"name": "me", "mountPath": "/me"}]}],
        "volumes": [{"name": "me", "downwardAPI": {"items": items}}]}),
    );
    cluster.wait_for("labelled", "Running", |pod| pod["status"]["phase"] == "Running");
    let patch = json!([{"op": "add", "path": "/metadata/labels/stage", "value": "two"}]);
    cluster.ask("PATCH", "/api/v1/namespaces/default/pods/labelled", Some(patch));
    cluster.wait_for_log("labelled", "a", "two\n");
    remove(cluster, "labelled");
}

fn containers_are_resized_while_they_run(cluster: &Cluster) {
    let resources = json!({"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}});
    create(
        cluster,
        "grown",
        json!({"containers": [{"command": ["sleep", "1000"], "resources": resources}]}),
    );
    let of = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
    let pod = cluster.wait_for("grown", "Running", |pod| pod["status"]["phase"] == "Running");
    assert_eq!(of(&pod)["resources"], resources);
    let resize = |cpu: &str, request: &str| {
        let path = "/api/v1/namespaces/default/pods/grown/resize";
        let patch = |list: &str, value: &str| json!({"op": "replace", "path": format!("/spec/containers/0/resources/{list}/cpu"), "value": value});
        let answer = cluster.ask(
            "PATCH",
            path,
            Some(json!([patch("limits", cpu), patch("requests", request)])),
        );
        assert_eq!(answer.0, 200, "{}", answer.1);
    };
    resize("300m", "150m");
    let pod = cluster.wait_for("grown", "resized", |pod| {
        of(pod)["resources"]["limits"]["cpu"] == "300m"
    });
    assert_eq!(of(&pod)["allocatedResources"]["cpu"], "150m");
    assert_eq!(of(&pod)["restartCount"], 0);

    // More than any machine has: the container keeps what it has, and the pod says why.
    resize("9000", "9000");
    let pending = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let mut pending = conditions
            .into_iter()
            .filter(|condition| condition["type"] == "PodResizePending");
        pending.next()
    };
    let pod = cluster.wait_for("grown", "pending", |pod| pending(pod).is_some());
    let condition = pending(&pod).unwrap();
    assert_eq!(condition["reason"], "Infeasible");
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.starts_with("Node didn't have enough capacity: cpu, requested: 9000000, capacity: "),
        "{message}"
    );
    assert_eq!(of(&pod)["resources"]["limits"]["cpu"], "300m");
    resize("250m", "100m");
    cluster.wait_for("grown", "settled", |pod| {
        pending(pod).is_none() && of(pod)["resources"]["limits"]["cpu"] == "250m"
    });
    remove(cluster, "grown");
}

fn filters_in_files_of_the_node_count(cluster: &Cluster) {
    let folder = cluster.paths().seccomp;
    std::fs::create_dir_all(&folder).unwrap();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getdents", "getdents64"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]});
    std::fs::write(folder.join("full.json"), profile.to_string()).unwrap();
    let of = |name: &str| json!({"seccompProfile": {"type": "Localhost", "localhostProfile": name}});
    let script = json!([{"command": ["sh", "-c", "ls /tmp 2>&1; exec sleep 1000"]}]);
    create(
        cluster,
        "filtered",
        json!({"containers": script, "securityContext": of("full.json")}),
    );
    cluster.wait_for_log(
        "filtered",
        "a",
        "ls: reading directory '/tmp': No space left on device\n",
    );
    remove(cluster, "filtered");

    create(
        cluster,
        "unfiltered",
        json!({"containers": script, "securityContext": of("none.json")}),
    );
    let waiting = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    let pod = cluster.wait_for("unfiltered", "waiting", |pod| waiting(pod)["message"].is_string());
    let message = waiting(&pod)["message"].to_string();
    assert!(
        message.contains("cannot load seccomp profile") && message.contains("none.json"),
        "{message}"
    );
    remove(cluster, "unfiltered");
}
