//! Probes of containers and of sidecars, all of them in pods that run beside the other tests. Upstream: container_probe.go of
//! test/e2e/common/node, with shorter delays.

use super::super::cluster::Cluster;
use super::super::condition;
use super::super::servers::Server;
use super::{create, path, ready, remove, script, with};
use serde_json::{Value, json};

/// What is to be seen of a pod in the end.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// Never restarted, and Ready.
    Stays,
    /// Restarted that many times at least, and the count never falls.
    Restarts(u64),
    /// Neither Ready nor restarted.
    NeverReady,
    /// Never restarted; whether it has started is not asked.
    NeverRestarts,
}

struct Row {
    name: String,
    sidecar: bool,
    fate: Fate,
}

/// Pods that are probed.
pub struct Probed {
    rows: Vec<Row>,
    /// gRPC's health, which has to be served.
    _health: Server,
}

/// Serves /healthz for a while and everything else for ever.
const SERVES: &str = "busybox mkdir -p /www/cgi-bin; echo ok > /www/healthz; echo root > /www/index.html; \
    for to in /healthz http://0.0.0.0/; do printf '#!/bin/sh\\nprintf \"Status: 302 Found\\\\r\\\\nLocation: %s\\\\r\\\\n\\\\r\\\\nFound\"\\n' $to \
    > /www/cgi-bin/$(busybox basename $to); done; busybox chmod 755 /www/cgi-bin/*; \
    (sleep 8; busybox rm /www/healthz) & exec busybox httpd -f -p 8080 -h /www";

pub fn begin(cluster: &Cluster) -> Probed {
    let health = Server::start(None, 1);
    let port = health.port;
    let mut probed = Probed {
        rows: Vec::new(),
        _health: health,
    };
    for sidecar in [false, true] {
        for (name, fate, container, pod) in [by_command(), by_server(), by_startup(), by_health(port)].concat() {
            let name = format!("{}-{name}", if sidecar { "sidecar" } else { "probed" });
            let spec = if sidecar {
                let container = with(container, json!({"restartPolicy": "Always"}));
                json!({"restartPolicy": "Always", "initContainers": [container],
                    "containers": [script("exec sleep 1000", json!({"name": "main"}))]})
            } else {
                json!({"restartPolicy": "Always", "containers": [container]})
            };
            create(cluster, &name, with(spec, pod));
            probed.rows.push(Row { name, sidecar, fate });
        }
    }
    probed
}

type Pod = (&'static str, Fate, Value, Value);

fn probe(handler: Value, more: Value) -> Value {
    let usual = json!({"initialDelaySeconds": 3, "timeoutSeconds": 20, "failureThreshold": 1, "periodSeconds": 2});
    with(with(usual, handler), more)
}

fn exec(words: &[&str]) -> Value {
    json!({"exec": {"command": words}})
}

fn get(path: &str) -> Value {
    json!({"httpGet": {"path": path, "port": 8080}})
}

fn by_command() -> Vec<Pod> {
    let sleeps = "exec sleep 1000";
    let row =
        |name, fate, text: &str, kind: &str, probe: Value| (name, fate, script(text, json!({kind: probe})), json!({}));
    let cat = || exec(&["cat", "/tmp/health"]);
    let short = json!({"timeoutSeconds": 1});
    let hangs = || exec(&["/bin/sh", "-c", "sleep 10"]);
    vec![
        row(
            "exec-fails",
            Fate::Restarts(1),
            "echo ok >/tmp/health; sleep 5; busybox rm /tmp/health; sleep 600",
            "livenessProbe",
            probe(cat(), json!({})),
        ),
        row(
            "exec-stays",
            Fate::Stays,
            "echo ok >/tmp/health; sleep 600",
            "livenessProbe",
            probe(cat(), json!({})),
        ),
        row(
            "exec-hangs",
            Fate::Restarts(1),
            sleeps,
            "livenessProbe",
            probe(hangs(), short.clone()),
        ),
        row(
            "unready-hangs",
            Fate::NeverReady,
            sleeps,
            "readinessProbe",
            probe(hangs(), short.clone()),
        ),
        row(
            "unready-fails",
            Fate::NeverReady,
            sleeps,
            "readinessProbe",
            probe(exec(&["sh", "-c", "exit 1"]), json!({})),
        ),
        row(
            "exec-leaves",
            Fate::Restarts(1),
            sleeps,
            "livenessProbe",
            probe(exec(&["sh", "-c", "sleep 10 & exit 1"]), short),
        ),
    ]
}

fn by_server() -> Vec<Pod> {
    let row = |name, fate, probe: Value| (name, fate, script(SERVES, json!({"livenessProbe": probe})), json!({}));
    let mut delayed = script(
        SERVES,
        json!({"readinessProbe": probe(get("/"), json!({"initialDelaySeconds": 10, "failureThreshold": 3}))}),
    );
    delayed["name"] = json!("delayed");
    // A container that hears no TERM, in a pod that would give it long.
    let nothing = script(
        "sleep 1000; true",
        json!({"livenessProbe": probe(get("/healthz"), json!({"terminationGracePeriodSeconds": 2}))}),
    );
    let tcp = json!({"tcpSocket": {"port": 8080}});
    vec![
        row("http-fails", Fate::Restarts(1), probe(get("/healthz"), json!({}))),
        row("http-again", Fate::Restarts(2), probe(get("/healthz"), json!({}))),
        row(
            "http-stays",
            Fate::Stays,
            probe(get("/"), json!({"failureThreshold": 5})),
        ),
        row("tcp-stays", Fate::Stays, probe(tcp, json!({}))),
        row(
            "redirected",
            Fate::Restarts(1),
            probe(get("/cgi-bin/healthz"), json!({})),
        ),
        row("sent-away", Fate::Stays, probe(get("/cgi-bin/0.0.0.0"), json!({}))),
        ("delayed", Fate::Stays, delayed, json!({})),
        (
            "cut-by-liveness",
            Fate::Restarts(1),
            nothing,
            json!({"terminationGracePeriodSeconds": 500}),
        ),
    ]
}

fn by_startup() -> Vec<Pod> {
    let row = |name, fate, text: &str, kind: &str, other: Value, startup: Value| {
        (
            name,
            fate,
            script(text, json!({kind: other, "startupProbe": startup})),
            json!({}),
        )
    };
    let sleeps = "exec sleep 1000";
    let yes = || probe(exec(&["sh", "-c", "exit 0"]), json!({}));
    let no = |threshold: i64| probe(exec(&["sh", "-c", "exit 1"]), json!({"failureThreshold": threshold}));
    let begun = |more: Value| probe(exec(&["cat", "/tmp/startup"]), more);
    let late = "echo ok >/tmp/health; sleep 6; echo ok >/tmp/startup; sleep 600";
    let slow = probe(
        exec(&["cat", "/tmp/health"]),
        json!({"initialDelaySeconds": 0, "periodSeconds": 600}),
    );
    let mut cut = row(
        "cut-by-startup",
        Fate::Restarts(1),
        "sleep 1000; true",
        "livenessProbe",
        yes(),
        begun(json!({"terminationGracePeriodSeconds": 2})),
    );
    cut.3 = json!({"terminationGracePeriodSeconds": 500});
    vec![
        row(
            "startup-fails",
            Fate::Restarts(1),
            sleeps,
            "livenessProbe",
            yes(),
            no(2),
        ),
        row(
            "startup-delays",
            Fate::NeverRestarts,
            sleeps,
            "livenessProbe",
            no(1),
            no(600),
        ),
        row(
            "startup-enables",
            Fate::Restarts(1),
            late,
            "livenessProbe",
            no(1),
            begun(json!({"failureThreshold": 60})),
        ),
        // Its own period is ten minutes: it is asked at once after the start, or too late for the test.
        row(
            "startup-readies",
            Fate::Stays,
            late,
            "readinessProbe",
            slow,
            begun(json!({"failureThreshold": 120})),
        ),
        cut,
    ]
}

fn by_health(port: u16) -> Vec<Pod> {
    let asks = |port: u16| json!({"livenessProbe": probe(json!({"grpc": {"port": port}}), json!({}))});
    let network = json!({"hostNetwork": true});
    vec![
        (
            "grpc-stays",
            Fate::Stays,
            script("exec sleep 1000", asks(port)),
            network.clone(),
        ),
        (
            "grpc-fails",
            Fate::Restarts(1),
            script("exec sleep 1000", asks(2333)),
            network,
        ),
    ]
}

pub fn end(cluster: &Cluster, probed: Probed) {
    let failed: Vec<String> = probed
        .rows
        .iter()
        .filter_map(|row| super::tried(&row.name, || looked_at(cluster, row)))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    for name in ["probed-delayed", "sidecar-delayed"] {
        waited_for_its_first_probe(cluster, name);
        let away = name.replace("delayed", "sent-away");
        cluster.wait_for_event(&away, "ProbeWarning", "Probe terminated redirects, Response body: ");
    }
    let names: Vec<&str> = probed.rows.iter().map(|row| row.name.as_str()).collect();
    remove(cluster, &names);
    ending_pods(cluster);
}

fn looked_at(cluster: &Cluster, Row { name, sidecar, fate }: &Row) {
    let list = if *sidecar {
        "initContainerStatuses"
    } else {
        "containerStatuses"
    };
    let count = |pod: &Value| pod["status"][list][0]["restartCount"].as_u64().unwrap_or_default();
    if let Fate::Restarts(times) = fate {
        let last = std::cell::Cell::new(0);
        cluster.wait_for(name, "restarted", |pod| {
            let now = count(pod);
            assert!(
                now >= last.get(),
                "{name} was restarted {} times, then {now}",
                last.get()
            );
            last.set(now);
            now >= *times
        });
        return;
    }
    let pod = match fate {
        Fate::Stays => ready(cluster, name),
        _ => cluster.pod(name).unwrap(),
    };
    assert_eq!(count(&pod), 0, "{name}: {pod:#}");
    if *fate == Fate::NeverReady {
        assert_eq!(condition(&pod, "Ready"), "False", "{name}: {pod:#}");
        assert_eq!(pod["status"]["phase"], "Running", "{name}: {pod:#}");
    }
}

fn waited_for_its_first_probe(cluster: &Cluster, name: &str) {
    let pod = ready(cluster, name);
    let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let list = if name.starts_with("sidecar") {
        "initContainerStatuses"
    } else {
        "containerStatuses"
    };
    let started = at(&pod["status"][list][0]["state"]["running"]["startedAt"]);
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let ready = conditions
        .iter()
        .find(|condition| condition["type"] == "Ready")
        .unwrap();
    let waited = at(&ready["lastTransitionTime"]) - started;
    assert!(waited >= 10, "{name} was ready {waited} s after its start");
}

/// While a pod ends its readiness is asked for still, and its liveness is not.
fn ending_pods(cluster: &Cluster) {
    let text = "end() { busybox rm /tmp/ready /tmp/live; until [ -e /tmp/go ]; do sleep 0.1; done; exit 0; }; trap end TERM; \
        echo > /tmp/ready; echo > /tmp/live; while true; do sleep 0.2; done";
    let quick = |file: &str| probe(exec(&["cat", file]), json!({"periodSeconds": 1}));
    let probes = json!({"readinessProbe": quick("/tmp/ready"), "livenessProbe": quick("/tmp/live")});
    create(
        cluster,
        "ending",
        json!({"terminationGracePeriodSeconds": 60, "containers": [script(text, probes)]}),
    );
    ready(cluster, "ending");
    assert_eq!(cluster.ask("DELETE", &path("ending"), Some(json!({}))).0, 200);
    cluster.wait_for("ending", "not Ready any more", |pod| condition(pod, "Ready") == "False");
    assert_eq!(cluster.exec("ending", "test", &["sh", "-c", "echo > /tmp/go"], "").2, 0);
    cluster.wait_until_gone("ending");
    let (_, events) = cluster.ask("GET", "/api/v1/namespaces/default/events", None);
    let mut mine = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["involvedObject"]["name"] == "ending");
    assert!(!mine.any(|event| event["message"].as_str().unwrap().contains("failed liveness probe")));
}
