//! Variables out of files that an init container wrote. Upstream: KEP-3721.

use super::super::cluster::Cluster;
use super::{Case, case, create, remove, script, with};
use serde_json::{Value, json};

/// An init container that writes, and a container whose variable DATA is from the file.
fn spec(writes: &str, from: Value) -> Value {
    let mount = json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    let mut writer = script(writes, mount);
    writer["name"] = json!("writer");
    let from = with(json!({"volumeName": "data", "path": "config.env", "key": "KEY"}), from);
    let env = json!({"env": [{"name": "DATA", "valueFrom": {"fileKeyRef": from}}]});
    json!({"volumes": [{"name": "data", "emptyDir": {}}], "initContainers": [writer],
        "containers": [script("echo ${DATA-unset}", env)]})
}

const WRITES: &str = "echo \"OTHER='1'\nKEY='value' # comment\" > /data/config.env";

pub fn cases() -> Vec<Case> {
    let optional = || json!({"optional": true});
    let in_memory = json!({"volumes": [{"name": "data", "emptyDir": {"medium": "Memory"}}]});
    let below =
        "busybox mkdir /data/deep; echo \"KEY='deep'\" > /data/deep/file; busybox ln -s deep/file /data/config.env";
    vec![
        case("env-file", spec(WRITES, json!({})), "value\n"),
        case("env-file-memory", with(spec(WRITES, json!({})), in_memory), "value\n"),
        case(
            "env-file-users",
            with(spec(WRITES, json!({})), json!({"hostUsers": false})),
            "value\n",
        ),
        case("env-file-link", spec(below, json!({})), "deep\n"),
        case(
            "env-file-optional-key",
            spec(WRITES, with(optional(), json!({"key": "NONE"}))),
            "unset\n",
        ),
        case("env-file-optional-file", spec("exit 0", optional()), "unset\n"),
    ]
}

/// What cannot be read holds up the container that asks for it, and nothing else.
pub fn refused(cluster: &Cluster) {
    let no_file = "couldn't parse env file: there is no file \"config.env\" in the volume";
    let no_key = "environment variable key \"NONE\" not found in file \"config.env\"";
    let out = "couldn't parse env file: \"config.env\" leads out of its volume";
    let quotes = "at line 1: value must be enclosed in single quotes";
    let table = [
        ("env-file-missing", spec("exit 0", json!({})), no_file),
        ("env-file-no-key", spec(WRITES, json!({"key": "NONE"})), no_key),
        (
            "env-file-bad",
            spec("echo KEY=value > /data/config.env", json!({"optional": true})),
            quotes,
        ),
        (
            "env-file-shadow",
            spec("busybox ln -s /etc/shadow /data/config.env", json!({"optional": true})),
            out,
        ),
        (
            "env-file-pipe",
            spec("busybox mkfifo /data/config.env", json!({})),
            "\"config.env\" is no file",
        ),
    ];
    for (name, spec, _) in &table {
        create(cluster, name, spec.clone());
    }
    for (name, _, expected) in &table {
        let pod = cluster.wait_for(name, "without a container", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        });
        let said = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
        assert!(
            said.as_str().is_some_and(|said| said.contains(expected)),
            "{name}: {said}"
        );
    }
    remove(cluster, &table.map(|(name, _, _)| name));
}
