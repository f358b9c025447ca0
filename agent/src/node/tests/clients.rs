//! The clients of Python and JavaScript against a running pod: exec, cp, logs, port-forward and proxy. `cargo verify` installs
//! them; what they do without a node is tried in `control`'s tests.

use super::cluster::Cluster;
use super::image;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SERVES: &str =
    "echo started; busybox mkdir /www; echo hello > /www/index.html; exec busybox httpd -f -p 8080 -h /www";

pub fn all(cluster: &Cluster) {
    if image::found("busybox").is_none() {
        return eprintln!("SKIPPED: other clients were not tried, because there is no busybox in PATH");
    }
    cluster.create(
        "pods",
        json!({"metadata": {"name": "served"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "web", "image": image::NAME, "command": ["sh", "-c", SERVES], "ports": [{"containerPort": 8080}]}]}}),
    );
    cluster.wait_for("served", "Ready", |pod| super::condition(pod, "Ready") == "True");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../control/tests/clients");
    if let Some(client) = installed("PINTLE_PYTHON_CLIENT") {
        let mut python = Command::new("python3");
        python.env("PYTHONPATH", client).arg(scripts.join("python.py"));
        run(cluster, python);
    }
    if let Some(client) = installed("PINTLE_JAVASCRIPT_CLIENT") {
        let mut node = Command::new("node");
        node.arg(scripts.join("javascript.mjs")).arg(client);
        run(cluster, node);
    }
    cluster.delete("served");
    cluster.wait_until_gone("served");
}

fn installed(variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: ${variable} names no client, so none was tried with a pod; `cargo verify` installs it");
    }
    folder
}

/// Runs a script to its good end. It waits for nothing longer than a minute by itself.
fn run(cluster: &Cluster, mut script: Command) {
    script
        .arg(cluster.kubeconfig())
        .arg("default/served")
        .current_dir(cluster.folder());
    let output = script.stdin(Stdio::null()).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        said(&output.stdout),
        said(&output.stderr)
    );
}
