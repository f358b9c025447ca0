//! Measures choices alone: `cargo run --release -p scheduler --example speed -- [nodes] [pods]`.

use k8s_openapi::api::core::v1 as core;
use scheduler::{Cluster, Pod, place};
use serde_json::json;
use std::time::Instant;

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .map(|arg| arg.parse::<usize>().expect("a number"));
    let (nodes, pods) = (args.next().unwrap_or(5000), args.next().unwrap_or(10_000));
    let mut cluster = Cluster::new();
    for number in 0..nodes {
        let node: core::Node = serde_json::from_value(json!({
            "metadata": {"name": format!("node-{number:05}")},
            "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}},
        }))
        .expect("a node");
        cluster.set_node(&node);
    }
    let waiting: Vec<Pod> = (0..pods)
        .map(|number| {
            let pod: core::Pod = serde_json::from_value(json!({
                "metadata": {"namespace": "default", "name": format!("pod-{number}"), "uid": format!("{number}")},
                "spec": {"containers": [{"name": "a", "image": "pause", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]},
            }))
            .expect("a pod");
            Pod::read(&pod)
        })
        .collect();
    let started = Instant::now();
    for pod in waiting {
        let placement = place(&pod, &cluster).expect("room");
        cluster.add_pod(pod.on(&placement.node));
    }
    let took = started.elapsed();
    println!(
        "{pods} pods on {nodes} nodes in {took:?}: {:.0} choices/s",
        pods as f64 / took.as_secs_f64()
    );
}
