//! Ports of the machine that lead to pods.

use super::cluster::Cluster;
use super::{condition, image};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Opens one, has it fought for, and leaves it open for the next agent.
pub fn all(cluster: &Cluster) {
    if image::found("busybox").is_none() {
        eprintln!("SKIPPED: host ports were not tried, because there is no busybox in PATH");
        return;
    }
    let pod = |name: &str, node: Option<&str>, port: Value| {
        let serve = format!("echo {name} > /tmp/index.html; exec busybox httpd -f -p 80 -h /tmp");
        let containers = json!([{"name": "a", "image": image::NAME, "command": ["sh", "-c", serve], "ports": [port]}]);
        let spec = json!({"terminationGracePeriodSeconds": 0, "nodeName": node, "containers": containers});
        cluster.create("pods", json!({"metadata": {"name": name}, "spec": spec}));
    };
    pod("open", None, json!({"containerPort": 80, "hostPort": 8088}));
    pod(
        "local",
        None,
        json!({"containerPort": 80, "hostPort": 8089, "hostIP": "127.0.0.1"}),
    );
    // Past the scheduler, which would not have put it here.
    cluster.wait_for("open", "Ready", |pod| condition(pod, "Ready") == "True");
    pod(
        "late",
        Some("n1"),
        json!({"containerPort": 80, "hostPort": 8088, "hostIP": "10.77.0.11"}),
    );
    let late = cluster.wait_for("late", "Failed", |pod| pod["status"]["phase"] == "Failed");
    assert_eq!(late["status"]["reason"], "NodePorts");
    assert_eq!(
        late["status"]["message"],
        "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    );
    cluster.eventually("both addresses of the machine lead to the pod", || {
        let said = [
            fetch("127.0.0.1:8088"),
            fetch("10.77.0.11:8088"),
            fetch("127.0.0.1:8089"),
        ];
        (said == ["open\n", "open\n", "local\n"]).then_some(())
    });
    assert_eq!(fetch("10.77.0.11:8089"), "");
    for name in ["local", "late"] {
        cluster.delete(name);
        cluster.wait_until_gone(name);
    }
    assert_eq!(fetch("127.0.0.1:8089"), "");
}

/// Without an agent and with another.
pub fn lead_on(cluster: &Cluster) {
    if cluster.pod("open").is_none() {
        return;
    }
    assert_eq!(fetch("127.0.0.1:8088"), "open\n");
}

/// What nobody has any more leads nowhere.
pub fn close(cluster: &Cluster) {
    if cluster.pod("open").is_none() {
        return;
    }
    cluster.delete("open");
    cluster.wait_until_gone("open");
    assert_eq!(fetch("127.0.0.1:8088"), "");
}

/// The body; nothing where nobody answers.
pub fn fetch(at: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(at) else {
        return String::new();
    };
    let mut answer = String::new();
    let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    let _ = stream.read_to_string(&mut answer);
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default()
}
