//! What upstream's conformance tests of volumes do (test/e2e/common/storage), step by step with the tests' own shell: modes, owners,
//! what changes while a pod runs, parts of volumes.

use super::cluster::Cluster;
use super::image;
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    things(cluster);
    files_have_the_modes_that_the_pod_says(cluster);
    empty_folders_are_everybodys(cluster);
    pods_see_themselves_and_their_limits(cluster);
    changes_reach_running_pods(cluster);
    parts_of_volumes_are_mounted(cluster);
    many_volumes_do_not_get_in_each_others_way(cluster);
}

fn things(cluster: &Cluster) {
    let data = json!({"data-1": "value-1", "data-2": "value-2", "data-3": "value-3"});
    cluster.create(
        "configmaps",
        json!({"metadata": {"name": "three"}, "data": data, "binaryData": {"dump.bin": "3q3+7w=="}}),
    );
    cluster.create("secrets", json!({"metadata": {"name": "three"}, "stringData": data}));
}

/// A pod with one container that runs a script and sleeps, and what it says.
fn says(cluster: &Cluster, name: &str, script: &str, more: Value, expected: &str) {
    start(cluster, name, script, more);
    cluster.wait_for_log(name, "a", expected);
    remove(cluster, name);
}

fn start(cluster: &Cluster, name: &str, script: &str, more: Value) {
    let script = format!("{script}; exec sleep 1000");
    let mut spec = more;
    let mut container = json!({"name": "a", "image": image::NAME, "command": ["sh", "-c", script]});
    for key in ["volumeMounts", "resources", "env"] {
        if let Some(value) = spec.as_object_mut().unwrap().remove(key) {
            container[key] = value;
        }
    }
    spec["terminationGracePeriodSeconds"] = json!(0);
    spec["nodeName"] = json!("n1");
    spec["containers"] = json!([container]);
    let labels = json!({"key1": "value1", "key2": "value2"});
    cluster.create(
        "pods",
        json!({"metadata": {"name": name, "labels": labels, "annotations": {"builder": "bar"}}, "spec": spec}),
    );
}

fn remove(cluster: &Cluster, name: &str) {
    cluster.delete(name);
    cluster.wait_until_gone(name);
}

fn mounted(volumes: Value) -> Value {
    let names = volumes.as_array().unwrap().iter().map(|volume| volume["name"].clone());
    let mounts = names.map(|name| json!({"name": name, "mountPath": format!("/v/{}", name.as_str().unwrap())}));
    let mounts: Vec<Value> = mounts.collect();
    json!({"volumes": volumes, "volumeMounts": mounts})
}

fn with(mut spec: Value, key: &str, value: Value) -> Value {
    spec[key] = value;
    spec
}

fn files_have_the_modes_that_the_pod_says(cluster: &Cluster) {
    let mapped = json!([{"key": "data-2", "path": "path/to/data-2", "mode": 0o400}]);
    let script = "cat /v/plain/data-1 /v/twice/data-1; cat /v/mapped/path/to/data-2; cat /v/secret/data-3; echo; \
        show() { set -- $(ls -lnL $1); echo $1 $3 $4; }; \
        show /v/plain/data-1; show /v/mapped/path/to/data-2; show /v/secret/data-1; show /v/all/m/data-1; show /v/all/s/data-2; \
        ls -ld /v/plain/dump.bin | { read mode rest; echo $mode; }";
    let volumes = json!([
        {"name": "plain", "configMap": {"name": "three"}},
        {"name": "twice", "configMap": {"name": "three"}},
        {"name": "mapped", "configMap": {"name": "three", "items": mapped}},
        {"name": "secret", "secret": {"secretName": "three", "defaultMode": 0o400}},
        {"name": "all", "projected": {"defaultMode": 0o440, "sources": [
            {"configMap": {"name": "three", "items": [{"key": "data-1", "path": "m/data-1"}]}},
            {"secret": {"name": "three", "items": [{"key": "data-2", "path": "s/data-2", "mode": 0o400}]}}]}}]);
    says(
        cluster,
        "modes",
        script,
        mounted(volumes.clone()),
        "value-1value-1value-2value-3\n-rw-r--r-- 0 0\n-r-------- 0 0\n-r-------- 0 0\n-r--r----- 0 0\n-r-------- 0 0\nlrwxrwxrwx\n",
    );
    // As somebody else, who may read by the pod's group.
    let context = json!({"runAsUser": 1000, "fsGroup": 1001});
    says(
        cluster,
        "grouped",
        script,
        with(mounted(volumes), "securityContext", context),
        "value-1value-1value-2value-3\n-rw-r--r-- 0 1001\n-r--r----- 0 1001\n-r--r----- 0 1001\n-r--r----- 0 1001\n-r--r----- 0 1001\nlrwxrwxrwx\n",
    );
}

fn empty_folders_are_everybodys(cluster: &Cluster) {
    let script = "show() { set -- $(ls -ldn $1); echo $1 $3 $4; }; show /v/disk; show /v/memory; \
        umask 0; echo x > /v/disk/f; echo x > /v/memory/f; show /v/disk/f; show /v/memory/f; \
        while read d p t o; do case $p in /v/memory) echo $t;; esac; done < /proc/mounts";
    let volumes =
        mounted(json!([{"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]));
    says(
        cluster,
        "empty",
        script,
        volumes.clone(),
        "drwxrwxrwx 0 0\ndrwxrwxrwx 0 0\n-rw-rw-rw- 0 0\n-rw-rw-rw- 0 0\ntmpfs\n",
    );
    let context = json!({"runAsUser": 1001, "runAsGroup": 1001});
    says(
        cluster,
        "empty-others",
        script,
        with(volumes, "securityContext", context),
        "drwxrwxrwx 0 0\ndrwxrwxrwx 0 0\n-rw-rw-rw- 1001 1001\n-rw-rw-rw- 1001 1001\ntmpfs\n",
    );
}

fn pods_see_themselves_and_their_limits(cluster: &Cluster) {
    let of = |resource: &str, divisor: &str| json!({"containerName": "a", "resource": resource, "divisor": divisor});
    let items = json!([
        {"path": "podname", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400},
        {"path": "cpu_limit", "resourceFieldRef": of("limits.cpu", "1m")},
        {"path": "memory_limit", "resourceFieldRef": of("limits.memory", "1Mi")},
        {"path": "cpu_request", "resourceFieldRef": of("requests.cpu", "1m")},
        {"path": "memory_request", "resourceFieldRef": of("requests.memory", "1Mi")}]);
    let projected = json!({"sources": [{"downwardAPI": {"items": items}}]});
    let volumes = json!([{"name": "own", "downwardAPI": {"items": items, "defaultMode": 0o444}},
        {"name": "projected", "projected": projected}]);
    let script = "for v in own projected; do for f in podname cpu_limit memory_limit cpu_request memory_request; do \
        cat /v/$v/$f; echo -n ' '; done; set -- $(ls -lL /v/$v/podname); echo $1; done";
    let resources =
        json!({"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}});
    let line = "self 1250 64 250 32 -r--------\n";
    says(
        cluster,
        "self",
        script,
        with(mounted(volumes.clone()), "resources", resources),
        &format!("{line}{line}"),
    );
    // Without limits they are what the node has for pods.
    let node = cluster.ask("GET", "/api/v1/nodes/n1", None).1;
    let allocatable = |name: &str| node["status"]["allocatable"][name].as_str().unwrap().to_owned();
    let cpu = allocatable("cpu");
    let cpu = match cpu.strip_suffix('m') {
        Some(milli) => milli.parse::<u64>().unwrap(),
        None => cpu.parse::<u64>().unwrap() * 1000,
    };
    let memory: u64 = allocatable("memory").strip_suffix("Ki").unwrap().parse().unwrap();
    let memory = memory.div_ceil(1024);
    let line = format!("boundless {cpu} {memory} 0 0 -r--------\n");
    says(cluster, "boundless", script, mounted(volumes), &format!("{line}{line}"));
}

fn changes_reach_running_pods(cluster: &Cluster) {
    for kind in ["configmaps", "secrets"] {
        for (name, value) in [("to-delete", "1"), ("to-update", "1")] {
            let object = json!({"metadata": {"name": name}, data_of(kind): {"data": value}});
            cluster.create(kind, object);
        }
    }
    let volume = |name: &str, source: &str| match source {
        "configmaps" => json!({"name": format!("m-{name}"), "configMap": {"name": name, "optional": true}}),
        _ => {
            json!({"name": format!("s-{name}"), "projected": {"sources": [{"secret": {"name": name, "optional": true}}]}})
        }
    };
    let names = ["to-delete", "to-update", "to-create"];
    let volumes = names
        .iter()
        .flat_map(|name| [volume(name, "configmaps"), volume(name, "secrets")]);
    let volumes: Vec<Value> = volumes
        .chain([json!({"name": "me", "downwardAPI": {"items": [
        {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}]}})])
        .collect();
    let script = "cat /v/m-to-delete/data /v/s-to-update/data; echo; \
        wait() { until [ \"$(cat $1 2>/dev/null)\" = \"$2\" ]; do sleep 0.1; done; }; \
        for v in m s; do wait /v/$v-to-update/data 2; wait /v/$v-to-create/data 1; \
        while [ -e /v/$v-to-delete/data ]; do sleep 0.1; done; done; wait /v/me/annotations 'builder=\"foo\"'; echo all";
    start(cluster, "changing", script, mounted(json!(volumes)));
    cluster.wait_for_log("changing", "a", "11\n");
    for kind in ["configmaps", "secrets"] {
        let all = format!("/api/v1/namespaces/default/{kind}");
        assert_eq!(cluster.ask("DELETE", &format!("{all}/to-delete"), None).0, 200);
        let two = if kind == "secrets" { "Mg==" } else { "2" };
        let patch = json!([{"op": "replace", "path": "/data/data", "value": two}]);
        assert_eq!(cluster.ask("PATCH", &format!("{all}/to-update"), Some(patch)).0, 200);
        cluster.create(
            kind,
            json!({"metadata": {"name": "to-create"}, data_of(kind): {"data": "1"}}),
        );
    }
    let patch = json!([{"op": "replace", "path": "/metadata/annotations/builder", "value": "foo"}]);
    cluster.ask("PATCH", "/api/v1/namespaces/default/pods/changing", Some(patch));
    cluster.wait_for_log("changing", "a", "11\nall\n");
    remove(cluster, "changing");
}

fn data_of(kind: &str) -> &'static str {
    match kind {
        "secrets" => "stringData",
        _ => "data",
    }
}

fn parts_of_volumes_are_mounted(cluster: &Cluster) {
    let items = json!([{"path": "downward/podname", "fieldRef": {"fieldPath": "metadata.name"}}]);
    let volumes = json!([
        {"name": "map", "configMap": {"name": "three"}}, {"name": "secret", "secret": {"secretName": "three"}},
        {"name": "me", "downwardAPI": {"items": items}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "three", "items": [{"key": "data-2", "path": "deep/x"}]}}]}}]);
    let mount = |name: &str, path: &str, part: &str| json!({"name": name, "mountPath": path, "subPath": part});
    let mounts = json!([
        mount("map", "/etc/passwd", "data-1"),
        mount("secret", "/part/secret", "data-2"),
        mount("me", "/part/me", "downward/podname"),
        mount("all", "/part/all", "deep")
    ]);
    says(
        cluster,
        "parts",
        "cat /etc/passwd /part/secret /part/me /part/all/x; echo",
        json!({"volumes": volumes, "volumeMounts": mounts}),
        "value-1value-2partsvalue-2\n",
    );
}

fn many_volumes_do_not_get_in_each_others_way(cluster: &Cluster) {
    const MAPS: usize = 50;
    let names: Vec<String> = (0..MAPS).map(|nth| format!("racey-{nth}")).collect();
    for name in &names {
        cluster.create(
            "configmaps",
            json!({"metadata": {"name": name}, "data": {"data-1": "value-1"}}),
        );
    }
    let volumes: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "configMap": {"name": name, "items": [{"key": "data-1", "path": "data-1"}]}}))
        .collect();
    let pods: Vec<String> = (0..5).map(|nth| format!("race-{nth}")).collect();
    let script = "set -- /v/*/data-1; echo $#; cat /v/racey-49/data-1; echo";
    for pod in &pods {
        start(cluster, pod, script, mounted(json!(volumes)));
    }
    for pod in &pods {
        cluster.wait_for_log(pod, "a", "50\nvalue-1\n");
    }
    for pod in &pods {
        remove(cluster, pod);
    }
}
