//! How long it takes to find who owns what: a create, a status write and an apply, on a ConfigMap and a pod.
//! `cargo run --release -p api --example track`

use api::fields::{Set, View, Write, apply, track};
use api::schema::Root;
use serde_json::{Value, json};
use std::time::Instant;

const ROUNDS: u32 = 20_000;

fn main() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web", "namespace": "default", "labels": { "app": "web", "tier": "front" } },
        "spec": {
            "containers": [{
                "name": "web", "image": "nginx", "imagePullPolicy": "Always", "resources": { "limits": { "cpu": "1", "memory": "64Mi" } },
                "ports": [{ "containerPort": 80, "protocol": "TCP" }], "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30,
        },
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "default" },
        "data": { "a": "1", "b": "2", "c": "3" },
    });
    for (name, object) in [("ConfigMap", &map), ("Pod", &pod)] {
        let root = Root::built_in(&format!("io.k8s.api.core.v1.{name}"));
        let resets = Set::of_names(&[&["status"]]);
        let write = Write {
            view: View::of(root),
            manager: "example",
            api_version: "v1",
            kind: name,
            subresource: "",
            now: "2026-01-01T00:00:00Z",
            resets: &resets,
        };
        let mut live = object.clone();
        track(&write, None, &mut live);
        live["metadata"]["uid"] = "u".into();
        time(&format!("{name}: copy alone"), || object.clone());
        time(&format!("{name}: create"), || {
            let mut new = object.clone();
            track(&write, None, &mut new);
            new
        });
        time(&format!("{name}: update of one label"), || {
            let mut new = live.clone();
            new["metadata"]["labels"]["x"] = "y".into();
            track(
                &Write {
                    manager: "other",
                    ..write
                },
                Some(&live),
                &mut new,
            );
            new
        });
        time(&format!("{name}: apply of the same by another"), || {
            apply(
                &Write {
                    manager: "other",
                    ..write
                },
                Some(&live),
                object,
                true,
            )
            .unwrap_or_default()
        });
    }
}

fn time(what: &str, mut work: impl FnMut() -> Value) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(work());
    }
    println!(
        "{what}: {:.1} µs",
        start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
    );
}
