//! What is done after a container's start and before its end. Upstream: lifecycle_hook.go of test/e2e/common/node, pre_stop.go of
//! test/e2e/node.

use super::super::cluster::Cluster;
use super::super::servers::{ADDRESS, Server};
use super::{create, path, ready, remove, script, try_create_with};
use serde_json::{Value, json};

/// Lives until it is told to end.
const ENDS: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

const FINALIZER: &str = "test.pintle/finalizer";

pub fn all(cluster: &Cluster) {
    hooks_are_heard(cluster);
    pods_wait_for_their_hooks(cluster);
    sleeps(cluster);
}

/// Every kind of hook, of containers and of sidecars, tells a server. HTTP's goes to the pod itself, where a sidecar passes it on.
fn hooks_are_heard(cluster: &Cluster) {
    let (plain, secure) = (
        Server::start(None, 200),
        Server::start(Some(cluster.certificate()), 200),
    );
    let tell = |what: &str| format!("busybox wget -q -O - http://{ADDRESS}:{}/{what} >/dev/null", plain.port);
    let handler = |kind: &str, what: &str| match kind {
        "exec" => json!({"exec": {"command": ["sh", "-c", tell(what)]}}),
        "http" => json!({"httpGet": {"port": 8080, "path": format!("/cgi-bin/dial?{what}")}}),
        _ => json!({"httpGet": {"host": ADDRESS, "port": secure.port, "path": format!("/{what}"), "scheme": "HTTPS"}}),
    };
    let passes = format!(
        "busybox mkdir -p /www/cgi-bin; echo ok > /www/ok; printf '#!/bin/sh\\necho; busybox wget -q -O - http://{ADDRESS}:{}/$QUERY_STRING\\n' \
         > /www/cgi-bin/dial; busybox chmod 755 /www/cgi-bin/dial; exec busybox httpd -f -p 8080 -h /www",
        plain.port
    );
    let startup = json!({"httpGet": {"path": "/ok", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 30, "failureThreshold": 60});
    let redirect = script(
        &passes,
        json!({"name": "container-redirect", "restartPolicy": "Always", "startupProbe": startup}),
    );
    let mut names = Vec::new();
    for kind in ["exec", "http", "https"] {
        for sidecar in ["", "-sidecar"] {
            let name = format!("hook-{kind}{sidecar}");
            let lifecycle = json!({"postStart": handler(kind, &format!("{name}-poststart")),
                "preStop": handler(kind, &format!("{name}-prestop"))});
            let hooked = script(ENDS, json!({"name": "hooked", "lifecycle": lifecycle}));
            let spec = if sidecar.is_empty() {
                json!({"initContainers": [redirect], "containers": [hooked]})
            } else {
                let hooked = super::with(hooked, json!({"restartPolicy": "Always"}));
                json!({"initContainers": [redirect, hooked], "containers": [script(ENDS, json!({}))]})
            };
            create(cluster, &name, spec);
            names.push(name);
        }
    }
    let heard = |server: &Server, path: &str| {
        server
            .heard
            .lock()
            .unwrap()
            .iter()
            .filter(|(heard, _)| heard == path)
            .count()
    };
    for name in &names {
        ready(cluster, name);
    }
    let grace = json!({"gracePeriodSeconds": 15});
    names
        .iter()
        .for_each(|name| assert_eq!(cluster.ask("DELETE", &path(name), Some(grace.clone())).0, 200));
    for name in &names {
        cluster.wait_until_gone(name);
        let server = if name.contains("https") { &secure } else { &plain };
        for when in ["poststart", "prestop"] {
            assert_eq!(heard(server, &format!("/{name}-{when}")), 1, "{name} {when}");
        }
    }
}

/// The container is there until its hook has ended, and the hook as long as it needs.
fn pods_wait_for_their_hooks(cluster: &Cluster) {
    let wait = json!({"preStop": {"exec": {"command": ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.1; done"]}}});
    create(
        cluster,
        "waits",
        json!({"containers": [script(ENDS, json!({"lifecycle": wait}))]}),
    );
    ready(cluster, "waits");
    let (code, _) = cluster.ask("DELETE", &path("waits"), Some(json!({"gracePeriodSeconds": 40})));
    assert_eq!(code, 200);
    cluster.eventually("the hook runs", || {
        let (all, ..) = cluster.exec("waits", "test", &["sh", "-c", "cat /proc/[0-9]*/cmdline"], "");
        all.contains("until [").then_some(())
    });
    let pod = cluster.pod("waits").unwrap();
    assert_eq!(pod["status"]["phase"], "Running");
    assert!(
        pod["status"]["containerStatuses"][0]["state"]["running"].is_object(),
        "{pod:#}"
    );
    assert_eq!(cluster.exec("waits", "test", &["sh", "-c", "echo > /tmp/go"], "").2, 0);
    cluster.wait_until_gone("waits");
}

/// Containers live as long after their pod's deletion as their hook sleeps, or as their grace is, and no longer where they had ended.
fn sleeps(cluster: &Cluster) {
    let rows = [
        ("sleep-whole", 6, 40, json!({}), 6..40),
        ("sleep-cut", 40, 100, json!({"gracePeriodSeconds": 6}), 6..40),
        ("sleep-zero", 0, 30, json!({}), 0..30),
    ];
    for (name, seconds, grace, ..) in &rows {
        let lifecycle = json!({"preStop": {"sleep": {"seconds": seconds}}});
        let container = script(ENDS, json!({"lifecycle": lifecycle}));
        let spec = json!({"terminationGracePeriodSeconds": grace, "containers": [container]});
        let (code, reply) = try_create_with(cluster, json!({"name": name, "finalizers": [FINALIZER]}), spec);
        assert_eq!(code, 201, "{reply:#}");
    }
    let ended = script("exit 0", json!({"lifecycle": {"preStop": {"sleep": {"seconds": 30}}}}));
    create(
        cluster,
        "sleep-ended",
        json!({"terminationGracePeriodSeconds": 60, "containers": [ended]}),
    );
    let pod = cluster.wait_for("sleep-ended", "over", |pod| pod["status"]["phase"] == "Succeeded");
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert!(
        at(&terminated["finishedAt"]) - at(&terminated["startedAt"]) < 30,
        "{terminated}"
    );
    for (name, _, _, options, _) in &rows {
        ready(cluster, name);
        assert_eq!(cluster.ask("DELETE", &path(name), Some(options.clone())).0, 200);
    }
    for (name, .., lived) in rows {
        let over = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"].is_object();
        let pod = cluster.wait_for(name, "ended", over);
        // However often the grace is shortened, both move together.
        let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap();
        let deletion = at(&pod["metadata"]["deletionTimestamp"]) - grace;
        let seconds = at(&pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]) - deletion;
        assert!(lived.contains(&seconds), "{name}: {seconds} s");
        let change = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
        assert_eq!(cluster.ask("PATCH", &path(name), Some(change)).0, 200);
        cluster.wait_until_gone(name);
    }
    remove(cluster, &["sleep-ended"]);
}

fn at(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}
