//! Probes and hooks against real servers: HTTP, HTTPS that nobody vouches for, gRPC.

use super::cluster::Cluster;
use super::servers::{ADDRESS, Server};
use super::{condition, image};
use serde_json::{Value, json};

/// gRPC's health: SERVING, NOT_SERVING.
const SERVING: u16 = 1;
const NOT_SERVING: u16 = 2;

pub fn all(cluster: &Cluster) {
    answers_of_servers_decide(cluster);
    hooks_are_heard_over_http(cluster);
    liveness_restarts_and_readiness_waits(cluster);
}

fn create(cluster: &Cluster, name: &str, spec: Value) {
    let mut spec = spec;
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        container["image"] = json!(image::NAME);
        if container["command"].is_null() {
            container["command"] = json!(["sh", "-c", "exec sleep 1000"]);
        }
    }
    spec["terminationGracePeriodSeconds"] = json!(1);
    cluster.create("pods", json!({"metadata": {"name": name}, "spec": spec}));
}

fn remove(cluster: &Cluster, name: &str) {
    cluster.delete(name);
    cluster.wait_until_gone(name);
}

fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready") == "True"
}

/// On the machine's network, so that probes reach the test's servers.
fn answers_of_servers_decide(cluster: &Cluster) {
    let plain = Server::start(None, 200);
    let secure = Server::start(Some(cluster.certificate()), 200);
    let health = Server::start(None, SERVING);
    let probed = |name: &str, handler: Value| {
        let mut probe = json!({"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30});
        probe
            .as_object_mut()
            .unwrap()
            .extend(handler.as_object().unwrap().clone());
        json!({"name": name, "readinessProbe": probe})
    };
    let http = |server: &Server, scheme: &str| {
        json!({"httpGet": {"port": server.port, "path": "/healthz", "scheme": scheme,
            "httpHeaders": [{"name": "X-Custom", "value": "yes"}]}})
    };
    create(
        cluster,
        "asked",
        json!({"hostNetwork": true, "containers": [
            probed("plain", http(&plain, "HTTP")), probed("secure", http(&secure, "HTTPS")),
            probed("health", json!({"grpc": {"port": health.port, "service": "x"}}))]}),
    );
    cluster.wait_for("asked", "Ready", is_ready);
    for server in [&plain, &secure] {
        let heard = server.heard.lock().unwrap().clone();
        let (path, headers) = &heard[0];
        assert_eq!(
            (path.as_str(), headers["x-custom"].to_str().unwrap()),
            ("/healthz", "yes")
        );
        assert!(
            headers["user-agent"].to_str().unwrap().starts_with("kube-probe/"),
            "{headers:?}"
        );
    }
    for (server, bad, good, said) in [
        (
            &plain,
            500,
            204,
            "Readiness probe failed: HTTP probe failed with statuscode: 500",
        ),
        (
            &secure,
            404,
            200,
            "Readiness probe failed: HTTP probe failed with statuscode: 404",
        ),
        (
            &health,
            NOT_SERVING,
            SERVING,
            "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")",
        ),
    ] {
        server.say(bad);
        cluster.wait_for("asked", "not Ready", |pod| !is_ready(pod));
        cluster.wait_for_event("asked", "Unhealthy", said);
        server.say(good);
        cluster.wait_for("asked", "Ready again", is_ready);
    }
    let pod = cluster.pod("asked").unwrap();
    let restarts = pod["status"]["containerStatuses"].as_array().unwrap().iter();
    assert!(restarts.clone().all(|status| status["restartCount"] == 0));
    remove(cluster, "asked");
}

fn hooks_are_heard_over_http(cluster: &Cluster) {
    let (plain, secure) = (
        Server::start(None, 200),
        Server::start(Some(cluster.certificate()), 200),
    );
    let hook = |server: &Server, scheme: &str, path: &str| json!({"httpGet": {"host": ADDRESS, "port": server.port, "path": path, "scheme": scheme}});
    create(
        cluster,
        "tells",
        json!({"hostNetwork": true, "containers": [
            {"name": "a", "lifecycle": {"postStart": hook(&plain, "HTTP", "/begun"), "preStop": hook(&plain, "HTTP", "/ends")}},
            {"name": "b", "lifecycle": {"postStart": hook(&secure, "HTTPS", "/begun"), "preStop": hook(&secure, "HTTPS", "/ends")}}]}),
    );
    cluster.wait_for("tells", "Ready", is_ready);
    remove(cluster, "tells");
    for server in [&plain, &secure] {
        let heard = server.heard.lock().unwrap().clone();
        let paths: Vec<&str> = heard.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["/begun", "/ends"]);
        let agent = heard[0].1["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("kube-lifecycle/"), "{agent}");
    }
}

/// What upstream's tests of probes do, with shorter times.
fn liveness_restarts_and_readiness_waits(cluster: &Cluster) {
    let server = Server::start(None, 200);
    let probe =
        json!({"httpGet": {"port": server.port}, "periodSeconds": 1, "timeoutSeconds": 30, "failureThreshold": 1});
    let mut delayed = probe.clone();
    delayed["initialDelaySeconds"] = json!(8);
    create(
        cluster,
        "lives",
        json!({"hostNetwork": true, "containers": [{"name": "a", "livenessProbe": probe, "readinessProbe": delayed}]}),
    );
    let pod = cluster.wait_for("lives", "Ready", is_ready);
    let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let started = at(&pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]);
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let ready = conditions
        .iter()
        .find(|condition| condition["type"] == "Ready")
        .unwrap();
    let waited = at(&ready["lastTransitionTime"]).duration_since(started).as_secs();
    assert!(
        waited >= 7,
        "ready {waited} s after its start, before the first probe was due"
    );
    let count = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
    assert_eq!(count(&pod), Some(0));
    server.say(500);
    cluster.wait_for("lives", "restarted", |pod| count(pod) > Some(0));
    cluster.wait_for_event(
        "lives",
        "Unhealthy",
        "Liveness probe failed: HTTP probe failed with statuscode: 500",
    );
    cluster.wait_for_event(
        "lives",
        "Killing",
        "Container a failed liveness probe, will be restarted",
    );
    remove(cluster, "lives");
}
