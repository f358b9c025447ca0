//! What containers are told by variables and arguments. Upstream: configmap.go, secrets.go, downwardapi.go, containers.go and
//! expansion.go of test/e2e/common/node.

use super::super::cluster::Cluster;
use super::{Case, case, create, images, path, ready, remove, script, try_create_with, with};
use serde_json::{Value, json};

pub fn cases(cluster: &Cluster) -> Vec<Case> {
    let data = json!({"data-1": "value-1", "data_2": "value-2"});
    cluster.create(
        "configmaps",
        json!({"metadata": {"name": "walk"}, "data": data, "binaryData": {"dump.bin": "3q2+7w=="}}),
    );
    cluster.create("secrets", json!({"metadata": {"name": "walk"}, "stringData": data}));
    for (kind, field) in [("configmaps", "data"), ("secrets", "stringData")] {
        let object = json!({"metadata": {"name": "empty-key"}, field: {"": "value-1"}});
        let (code, reply) = cluster.ask("POST", &format!("/api/v1/namespaces/default/{kind}"), Some(object));
        assert_eq!(code, 422, "{reply:#}");
    }
    objects_live(cluster);
    let mut cases = from_objects();
    cases.extend(from_the_pod(cluster));
    cases.extend(command_lines());
    cases.extend(expanded());
    cases
}

/// The lives of both kinds, as far as the API is concerned.
fn objects_live(cluster: &Cluster) {
    for (kind, value, next) in [("configmaps", "value", "value1"), ("secrets", "dmFsdWU=", "dmFsdWUx")] {
        let all = format!("/api/v1/namespaces/default/{kind}");
        let one = format!("{all}/lives");
        let made = json!({"metadata": {"name": "lives", "labels": {"static": "true"}}, "data": {"valueName": value}});
        assert_eq!(cluster.ask("POST", &all, Some(made)).0, 201);
        let (_, mut object) = cluster.ask("GET", &one, None);
        object["data"] = json!({"data": value});
        assert_eq!(cluster.ask("PUT", &one, Some(object)).0, 200);
        assert_eq!(cluster.ask("GET", &one, None).1["data"], json!({"data": value}));
        let change = json!({"metadata": {"labels": {"walked": "patched"}}, "data": {"valueName": next}});
        assert_eq!(cluster.merge(&one, &change).0, 200);
        let (_, list) = cluster.ask("GET", &format!("/api/v1/{kind}?labelSelector=walked%3Dpatched"), None);
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list:#}");
        assert_eq!(list["items"][0]["data"], json!({"data": value, "valueName": next}));
        assert_eq!(
            cluster
                .ask("DELETE", &format!("{all}?labelSelector=static%3Dtrue"), None)
                .0,
            200
        );
        assert_eq!(cluster.ask("GET", &one, None).0, 404);
    }
}

fn from_objects() -> Vec<Case> {
    let variable = |source: &str| {
        let variable = json!({"name": "DATA", "valueFrom": {source: {"name": "walk", "key": "data-1"}}});
        json!({"containers": [script("echo $DATA", json!({"env": [variable]}))]})
    };
    let whole = |source: &str| {
        let prefixed = json!({"prefix": "p-", source: {"name": "walk"}});
        // Shells drop what is no name of theirs. `$$$$` is what Kubernetes makes `$$` of.
        let text = "busybox tr '\\0' '\\n' < /proc/$$$$/environ | busybox grep -e ^data -e ^p- | busybox sort";
        json!({"containers": [script(text, json!({"envFrom": [{source: {"name": "walk"}}, prefixed]}))]})
    };
    let all = "data-1=value-1\ndata_2=value-2\np-data-1=value-1\np-data_2=value-2\n";
    vec![
        case("configmap-via-variable", variable("configMapKeyRef"), "value-1\n"),
        case("secret-via-variable", variable("secretKeyRef"), "value-1\n"),
        case("secret-via-environment", whole("secretRef"), all),
        case("configmap-via-environment", whole("configMapRef"), all),
    ]
}

fn from_the_pod(cluster: &Cluster) -> Vec<Case> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let resource =
        |name: &str, resource: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource}}});
    let own = json!([
        field("NAME", "metadata.name"),
        field("NAMESPACE", "metadata.namespace"),
        field("IP", "status.podIP"),
        field("HOST", "status.hostIP"),
        field("HOSTS", "status.hostIPs"),
        field("ID", "metadata.uid")
    ]);
    let hosts = json!([field("IP", "status.podIP"), field("HOST", "status.hostIP")]);
    let four = json!([
        resource("A", "limits.cpu"),
        resource("B", "limits.memory"),
        resource("C", "requests.cpu"),
        resource("D", "requests.memory")
    ]);
    let amounts = json!({"limits": {"cpu": "1250m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}});
    let (cpus, memory) = allocatable(cluster);
    let tells = "echo $NAME $NAMESPACE; [ $IP = $(busybox hostname -i) ] && echo own; echo $HOST $HOSTS; echo ${#ID}";
    vec![
        case(
            "downward-env",
            json!({"containers": [script(tells, json!({"env": own}))]}),
            "downward-env default\nown\n10.77.0.11 10.77.0.11\n36\n",
        ),
        case(
            "downward-host-network",
            json!({"hostNetwork": true, "containers": [script("echo $IP $HOST", json!({"env": hosts}))]}),
            "10.77.0.11 10.77.0.11\n",
        ),
        case(
            "downward-amounts",
            json!({"containers": [script("echo $A $B $C $D", json!({"env": four, "resources": amounts}))]}),
            "2 67108864 1 33554432\n",
        ),
        case(
            "downward-allocatable",
            json!({"containers": [script("echo $A $B", json!({"env": four}))]}),
            format!("{cpus} {memory}\n"),
        ),
    ]
}

/// What the node has for pods: CPUs and bytes of memory.
pub fn allocatable(cluster: &Cluster) -> (String, u64) {
    let (_, node) = cluster.ask("GET", "/api/v1/nodes/n1", None);
    let amount = |name: &str| node["status"]["allocatable"][name].as_str().unwrap().to_owned();
    let memory: u64 = amount("memory").strip_suffix("Ki").unwrap().parse().unwrap();
    (amount("cpu"), memory << 10)
}

fn command_lines() -> Vec<Case> {
    let entry = |more: Value| json!({"containers": [with(json!({"name": "test", "image": images::ENTRY}), more)]});
    let arguments = json!(["override", "arguments"]);
    let command = json!(["echo", "replaced"]);
    vec![
        case("image-defaults", entry(json!({})), "entrypoint default arguments\n"),
        case(
            "override-arguments",
            entry(json!({"args": arguments})),
            "entrypoint override arguments\n",
        ),
        case("override-command", entry(json!({"command": command})), "replaced\n"),
        case(
            "override-all",
            entry(json!({"command": command, "args": arguments})),
            "replaced override arguments\n",
        ),
    ]
}

fn expanded() -> Vec<Case> {
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    let test = json!([value("TEST_VAR", "test-value")]);
    let composed = json!([
        value("FOO", "foo-value"),
        value("BAR", "bar-value"),
        value("FOOBAR", "$(FOO);;$(BAR)")
    ]);
    let text = "TEST_VAR=wrong echo \"$(TEST_VAR)\"";
    let arguments = json!({"name": "test", "env": test, "command": ["sh", "-c"], "args": [text]});
    let escaped = json!({"name": "test", "env": test, "command": ["echo"], "args": ["$$(TEST_VAR)", "$(NONE)"]});
    let mounts = json!([{"name": "v", "mountPath": "/logscontainer", "subPathExpr": "$(POD_NAME)"},
        {"name": "v", "mountPath": "/testcontainer"}]);
    let part = json!({"env": [value("POD_NAME", "expansion-subpath")], "volumeMounts": mounts});
    let part = script("test -d /testcontainer/expansion-subpath; echo $?", part);
    vec![
        case(
            "expansion-env",
            json!({"containers": [script("echo $FOOBAR", json!({"env": composed}))]}),
            "foo-value;;bar-value\n",
        ),
        case(
            "expansion-command",
            json!({"containers": [script(text, json!({"env": test}))]}),
            "test-value\n",
        ),
        case("expansion-args", json!({"containers": [arguments]}), "test-value\n"),
        case(
            "expansion-escaped",
            json!({"containers": [escaped]}),
            "$(TEST_VAR) $(NONE)\n",
        ),
        case(
            "expansion-subpath",
            json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [part]}),
            "0\n",
        ),
    ]
}

/// The tests of expansion.go that wait for a container that cannot be made, and those that write into what was expanded.
pub fn parts_of_volumes_by_variables(cluster: &Cluster) {
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    let bad = |name: &str, value: &str| {
        let mounts = json!([{"name": "v", "mountPath": "/logscontainer", "subPathExpr": "$(POD_NAME)"}]);
        let env = json!([{"name": "POD_NAME", "value": value}]);
        let container = json!({"name": "test", "image": images::SHELL, "env": env, "volumeMounts": mounts});
        create(cluster, name, json!({"volumes": volumes, "containers": [container]}));
    };
    bad("subpath-backticks", "..");
    bad("subpath-absolute", "/tmp");
    let annotated = |name: &str, annotation: &str| {
        let env = json!([{"name": "POD_NAME", "value": "foo"},
            {"name": "ANNOTATION", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations['mysubpath']"}}}]);
        let mounts = json!([{"name": "v", "mountPath": "/subpath_mount", "subPathExpr": "$(ANNOTATION)/$(POD_NAME)"},
            {"name": "v", "mountPath": "/volume_mount"}]);
        let container = script("busybox tail -f /dev/null", json!({"env": env, "volumeMounts": mounts}));
        let metadata = json!({"name": name, "annotations": {annotation: "mypath"}});
        let (code, reply) = try_create_with(
            cluster,
            metadata,
            json!({"volumes": volumes, "containers": [container]}),
        );
        assert_eq!(code, 201, "{reply:#}");
    };
    annotated("subpath-mended", "notmysubpath");
    annotated("subpath-written", "mysubpath");
    let cannot = |name: &str| {
        cluster.wait_for(name, "without a container", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        });
    };
    ["subpath-backticks", "subpath-absolute", "subpath-mended"]
        .iter()
        .for_each(|name| cannot(name));
    let annotate = |name: &str, value: &str| {
        let (code, reply) = cluster.merge(&path(name), &json!({"metadata": {"annotations": {"mysubpath": value}}}));
        assert_eq!(code, 200, "{reply:#}");
    };
    annotate("subpath-mended", "mypath");
    ready(cluster, "subpath-mended");
    ready(cluster, "subpath-written");
    let shell = |text: &str| cluster.exec("subpath-written", "test", &["sh", "-c", text], "").2;
    assert_eq!(shell("echo > /volume_mount/mypath/foo/test.log"), 0);
    assert_eq!(shell("test -f /subpath_mount/test.log"), 0);
    annotate("subpath-written", "mynewpath");
    ready(cluster, "subpath-written");
    remove(
        cluster,
        &[
            "subpath-backticks",
            "subpath-absolute",
            "subpath-mended",
            "subpath-written",
        ],
    );
}
