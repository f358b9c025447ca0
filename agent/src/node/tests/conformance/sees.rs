//! What containers see: environment, command line, files, who they are. Upstream: configmap.go, secrets.go, downwardapi.go,
//! containers.go, expansion.go, security_context.go, sysctl.go and kubelet.go of test/e2e/common/node; empty_dir.go,
//! configmap_volume.go, secrets_volume.go, downwardapi_volume.go and projected_*.go of test/e2e/common/storage.

use super::super::cluster::Cluster;
use super::super::image;
use super::{Case, case, run, script, sees};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    cluster.create(
        "configmaps",
        json!({"metadata": {"name": "walk"}, "data": {"data-1": "value-1", "data_2": "value-2"},
        "binaryData": {"dump.bin": "3q2+7w=="}}),
    );
    cluster.create(
        "secrets",
        json!({"metadata": {"name": "walk"}, "stringData": {"data-1": "value-1", "data_2": "value-2"}}),
    );
    run(cluster, environment());
    run(cluster, command_lines());
    run(cluster, who_they_are());
    run(cluster, empty_dirs());
    run(cluster, files("configmap", json!({"name": "walk"})));
    run(cluster, files("secret", json!({"secretName": "walk"})));
    run(cluster, others());
    downward(cluster);
}

fn environment() -> Vec<Case> {
    let from = |source: &str| json!({"valueFrom": {source: {"name": "walk", "key": "data-1"}}});
    let variable = |source: &str| {
        let mut variable = from(source);
        variable["name"] = json!("DATA");
        script("echo $DATA", json!({"env": [variable]}))
    };
    let whole = |source: &str| {
        let prefixed = json!({"prefix": "p_", source: {"name": "walk"}});
        // Shells drop what is no name of theirs.
        let text = "busybox tr '\\0' '\\n' < /proc/$$/environ | busybox grep -e data -e p_ | busybox sort";
        script(text, json!({"envFrom": [{source: {"name": "walk"}}, prefixed]}))
    };
    // A key that is no name of a variable by the old rules is one by the new.
    let all = "data-1=value-1\ndata_2=value-2\np_data-1=value-1\np_data_2=value-2\n";
    vec![
        case(
            "configmap-via-variable",
            json!({"containers": [variable("configMapKeyRef")]}),
            "value-1\n",
        ),
        case(
            "secret-via-variable",
            json!({"containers": [variable("secretKeyRef")]}),
            "value-1\n",
        ),
        case(
            "secret-via-environment",
            json!({"containers": [whole("secretRef")]}),
            all,
        ),
        case(
            "configmap-via-environment",
            json!({"containers": [whole("configMapRef")]}),
            all,
        ),
        case(
            "expansion-env",
            json!({"containers": [script("echo $FOOBAR", json!({"env": [{"name": "FOO", "value": "foo-value"},
                {"name": "BAR", "value": "bar-value"}, {"name": "FOOBAR", "value": "$(FOO);;$(BAR)"}]}))]}),
            "foo-value;;bar-value\n",
        ),
    ]
}

fn command_lines() -> Vec<Case> {
    let entry = |more: Value| {
        let mut container = json!({"name": "test", "image": image::ENTRY});
        container
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"containers": [container]})
    };
    let env = json!([{"name": "TEST_VAR", "value": "test-value"}]);
    let arguments = json!(["override", "arguments"]);
    vec![
        case("image-defaults", entry(json!({})), "entrypoint default arguments\n"),
        case(
            "override-arguments",
            entry(json!({"args": arguments})),
            "entrypoint override arguments\n",
        ),
        case(
            "override-command",
            entry(json!({"command": ["echo", "replaced"]})),
            "replaced\n",
        ),
        case(
            "override-all",
            entry(json!({"command": ["echo", "replaced"], "args": arguments})),
            "replaced override arguments\n",
        ),
        case(
            "expansion-command",
            entry(json!({"env": env, "command": ["sh", "-c", "echo $(TEST_VAR)"]})),
            "test-value\n",
        ),
        case(
            "expansion-args",
            entry(json!({"env": env, "command": ["echo"], "args": ["$(TEST_VAR)", "$$(TEST_VAR)", "$(NONE)"]})),
            "test-value $(TEST_VAR) $(NONE)\n",
        ),
    ]
}

fn who_they_are() -> Vec<Case> {
    let with = |text: &str, context: Value| json!({"containers": [script(text, json!({"securityContext": context}))]});
    vec![
        case(
            "user-65534",
            with("busybox id -u", json!({"runAsUser": 65534})),
            "65534\n",
        ),
        case(
            "user-and-group",
            with(
                "echo $(busybox id -u) $(busybox id -g)",
                json!({"runAsUser": 1001, "runAsGroup": 2002}),
            ),
            "1001 2002\n",
        ),
        case(
            "user-and-group-of-pod",
            json!({"securityContext": {"runAsUser": 1001, "runAsGroup": 2002},
                "containers": [script("echo $(busybox id -u) $(busybox id -g)", json!({}))]}),
            "1001 2002\n",
        ),
        case(
            "unprivileged",
            with(
                "busybox ip link add dummy0 type dummy 2>/dev/null || echo refused",
                json!({"privileged": false}),
            ),
            "refused\n",
        ),
        case(
            "writable-root",
            with("echo x > /file && cat /file", json!({"readOnlyRootFilesystem": false})),
            "x\n",
        ),
        case(
            "read-only-root",
            with(
                "(echo x > /file) 2>/dev/null || echo refused",
                json!({"readOnlyRootFilesystem": true}),
            ),
            "refused\n",
        ),
        case(
            "no-escalation",
            with(
                "busybox grep NoNewPrivs /proc/self/status",
                json!({"allowPrivilegeEscalation": false, "runAsUser": 1000}),
            ),
            "NoNewPrivs:\t1\n",
        ),
        case(
            "sysctl",
            json!({"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
                "containers": [script("cat /proc/sys/kernel/shm_rmid_forced", json!({}))]}),
            "1\n",
        ),
        case(
            "host-aliases",
            json!({"hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}],
                "containers": [script("busybox grep 123.45.67.89 /etc/hosts", json!({}))]}),
            "123.45.67.89\tfoo\tbar\n",
        ),
        case(
            "logs",
            json!({"containers": [script("echo 'Hello World'; sleep 1", json!({}))]}),
            "Hello World\n",
        ),
    ]
}

fn empty_dirs() -> Vec<Case> {
    let of = |name: &'static str, medium: &str, user: i64, mode: &str, kind: &str| {
        let text = format!(
            "echo new > /v/file; busybox chmod {mode} /v/file; cat /v/file; busybox stat -c %a /v/file; \
             busybox stat -c %a /v; {kind}"
        );
        let mut container = sees(&text);
        container["securityContext"] = json!({"runAsUser": user});
        let said = if kind.is_empty() { "" } else { "tmpfs\n" };
        let spec = json!({"volumes": [{"name": "v", "emptyDir": {"medium": medium}}], "containers": [container]});
        case(name, spec, &format!("new\n{mode}\n777\n{said}"))
    };
    let tmpfs = "busybox stat -f -c %T /v";
    vec![
        of("empty-root-644", "", 0, "644", ""),
        of("empty-root-666", "", 0, "666", ""),
        of("empty-root-777", "", 0, "777", ""),
        of("empty-user-644", "", 1001, "644", ""),
        of("empty-user-666", "", 1001, "666", ""),
        of("empty-user-777", "", 1001, "777", ""),
        of("tmpfs-root-644", "Memory", 0, "644", tmpfs),
        of("tmpfs-root-666", "Memory", 0, "666", tmpfs),
        of("tmpfs-root-777", "Memory", 0, "777", tmpfs),
        of("tmpfs-user-644", "Memory", 1001, "644", tmpfs),
        of("tmpfs-user-666", "Memory", 1001, "666", tmpfs),
        of("tmpfs-user-777", "Memory", 1001, "777", tmpfs),
    ]
}

/// Volumes of one kind, alone and as part of a projected one.
fn files(kind: &'static str, source: Value) -> Vec<Case> {
    let key = if kind == "configmap" { "configMap" } else { "secret" };
    let read = "cat /v/data-1; echo; busybox stat -L -c %a /v/data-1";
    let mapped = "cat /v/path/to/data-2; echo; busybox stat -L -c %a /v/path/to/data-2";
    let items = |item: Value| {
        let mut item = item;
        item["key"] = json!("data_2");
        item["path"] = json!("path/to/data-2");
        json!({"items": [item]})
    };
    // (what it is like, what is more in the volume, what is read, who reads, what is said)
    let rows: [(&str, Value, &str, Value, &str); 6] = [
        ("plain", json!({}), read, json!({}), "value-1\n644\n"),
        ("mode", json!({"defaultMode": 0o400}), read, json!({}), "value-1\n400\n"),
        ("mapped", items(json!({})), mapped, json!({}), "value-2\n644\n"),
        (
            "mapped-mode",
            items(json!({"mode": 0o400})),
            mapped,
            json!({}),
            "value-2\n400\n",
        ),
        ("user", json!({}), read, json!({"runAsUser": 1000}), "value-1\n644\n"),
        (
            "user-mode-group",
            json!({"defaultMode": 0o440}),
            read,
            json!({"runAsUser": 1000, "fsGroup": 1001}),
            "value-1\n440\n",
        ),
    ];
    let mut cases = Vec::new();
    for (like, more, text, who, said) in rows {
        let mut volume = source.clone();
        volume
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let mut projection = json!({"name": "walk"});
        projection
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let mode = projection.as_object_mut().unwrap().remove("defaultMode");
        let mut projected = json!({"sources": [{key: projection}]});
        if let Some(mode) = mode {
            projected["defaultMode"] = mode;
        }
        for (way, volume) in [
            ("", json!({"name": "v", key: volume})),
            ("projected-", json!({"name": "v", "projected": projected})),
        ] {
            let name: &'static str = format!("{way}{kind}-{like}").leak();
            let spec = json!({"volumes": [volume], "securityContext": who, "containers": [sees(text)]});
            cases.push(case(name, spec, said));
        }
    }
    let twice = json!([{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]);
    let name: &'static str = format!("{kind}-twice").leak();
    let volumes = json!([{"name": "v", key: source}, {"name": "w", key: source}]);
    let reads = script("cat /v/data-1 /w/data-1", json!({"volumeMounts": twice}));
    cases.push(case(
        name,
        json!({"volumes": volumes, "containers": [reads]}),
        "value-1value-1",
    ));
    cases
}

fn others() -> Vec<Case> {
    let all = json!([{"configMap": {"name": "walk", "items": [{"key": "data-1", "path": "cm"}]}},
        {"secret": {"name": "walk", "items": [{"key": "data-1", "path": "secret"}]}},
        {"downwardAPI": {"items": [{"path": "podname", "fieldRef": {"fieldPath": "metadata.name"}}]}}]);
    vec![
        case(
            "binary",
            json!({"volumes": [{"name": "v", "configMap": {"name": "walk"}}], "containers": [sees("busybox hexdump -e '4/1 \"%02x\"' /v/dump.bin")]}),
            "deadbeef",
        ),
        case(
            "projected-all",
            json!({"volumes": [{"name": "v", "projected": {"sources": all}}], "containers": [sees("cat /v/cm /v/secret /v/podname")]}),
            "value-1value-1projected-all",
        ),
    ]
}

fn downward(cluster: &Cluster) {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let resource =
        |name: &str, resource: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource}}});
    let amounts = json!({"limits": {"cpu": "1250m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}});
    let four = json!([
        resource("A", "limits.cpu"),
        resource("B", "limits.memory"),
        resource("C", "requests.cpu"),
        resource("D", "requests.memory")
    ]);
    let (_, node) = cluster.ask("GET", "/api/v1/nodes/n1", None);
    let allocatable = &node["status"]["allocatable"];
    let cpus = allocatable["cpu"].as_str().unwrap();
    let memory: u64 = allocatable["memory"]
        .as_str()
        .unwrap()
        .trim_end_matches("Ki")
        .parse()
        .unwrap();
    let file = |path: &str, resource: &str| json!({"path": path, "resourceFieldRef": {"containerName": "test", "resource": resource}});
    let items = json!([file("a", "limits.cpu"), file("b", "limits.memory"), file("c", "requests.cpu"), file("d", "requests.memory"),
        {"path": "podname", "mode": 0o400, "fieldRef": {"fieldPath": "metadata.name"}}]);
    let shows = "for f in a b c d podname; do cat /v/$f; echo; done; busybox stat -L -c %a /v/a /v/podname";
    let volume = |kind: &str| match kind {
        "plain" => json!([{"name": "v", "downwardAPI": {"defaultMode": 0o440, "items": items}}]),
        _ => {
            json!([{"name": "v", "projected": {"defaultMode": 0o440, "sources": [{"downwardAPI": {"items": items}}]}}])
        }
    };
    let with = |mut container: Value| {
        container["resources"] = amounts.clone();
        container
    };
    let bare = |kind: &str| json!({"volumes": volume(kind), "containers": [sees("cat /v/a; echo; cat /v/b; echo")]});
    let allocated = format!("{cpus}\n{}\n", memory << 10);
    let given = |name: &str| format!("2\n67108864\n1\n33554432\n{name}\n440\n400\n");
    run(
        cluster,
        vec![
            case(
                "downward-env",
                json!({"containers": [script("echo $NAME $NAMESPACE; [ $IP = $(busybox hostname -i) ] && echo own; echo $HOST $HOSTS",
                    json!({"env": [field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("IP", "status.podIP"),
                        field("HOST", "status.hostIP"), field("HOSTS", "status.hostIPs")]}))]}),
                "downward-env default\nown\n10.77.0.11 10.77.0.11\n",
            ),
            case(
                "downward-amounts",
                json!({"containers": [script("echo $A $B $C $D", json!({"env": four, "resources": amounts}))]}),
                "2 67108864 1 33554432\n",
            ),
            case(
                "downward-allocatable",
                json!({"containers": [script("echo $A; echo $B", json!({"env": four}))]}),
                &allocated,
            ),
            case(
                "downward-files",
                json!({"volumes": volume("plain"), "containers": [with(sees(shows))]}),
                &given("downward-files"),
            ),
            case(
                "projected-downward",
                json!({"volumes": volume("projected"), "containers": [with(sees(shows))]}),
                &given("projected-downward"),
            ),
            case("downward-files-all", bare("plain"), &allocated),
            case("projected-downward-all", bare("projected"), &allocated),
        ],
    );
}
