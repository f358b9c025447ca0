//! From power-on to a running pod: when each station was reached, as somebody outside sees it.

use crate::cluster::{Cluster, block_on};
use crate::{oci_images, wait};
use anyhow::{Context, Result, ensure};
use machine_client::{Credentials, connect};
use proto::machine::v1::{GetInfoRequest, GetInfoResponse, TimelineRequest};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime};

/// One station on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// What was reached.
    pub name: String,
    /// How long after the first machine was switched on.
    pub after: Duration,
}

/// Follow `cluster` from its start to a running pod, calling `reached` at every station. All stations share `deadline`,
/// which counts from now; a cluster that has run for long passes them at once.
pub fn follow(cluster: &Cluster, deadline: Duration, mut reached: impl FnMut(&Station)) -> Result<Vec<Station>> {
    let machine = cluster.machine(0);
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(machine.status()?.started_ms);
    let mut stations = vec![Station {
        name: "switched on".to_owned(),
        after: Duration::ZERO,
    }];
    let now = Instant::now();
    let left = || deadline.saturating_sub(now.elapsed());
    let mut at = |name: &str, after: Duration| {
        let station = Station {
            name: name.to_owned(),
            after,
        };
        reached(&station);
        stations.push(station);
    };

    let info = wait::until("the machine API", left(), || watched(cluster, || info(cluster)))?;
    let answered = start.elapsed()?;
    let kernel_start = SystemTime::now() - Duration::from_millis(info.uptime_ms);
    for (name, mark) in marks(cluster)? {
        if let Some(name) = shown(&name) {
            at(name, (kernel_start + mark).duration_since(start).unwrap_or_default());
        }
    }
    at("machine API answers", answered);
    cluster.wait_healthy(left())?;
    at("every node Ready", start.elapsed()?);
    wait::until("the demo pod", left(), || watched(cluster, || demo_pod_runs(cluster)))?;
    at("demo pod Running", start.elapsed()?);
    Ok(stations)
}

/// Names of init's marks that tell a person something.
fn shown(mark: &str) -> Option<&'static str> {
    match mark {
        "kernel-start" => Some("kernel starts"),
        "pid1" => Some("PID 1 runs"),
        _ => None,
    }
}

/// A look that fails for good when the machine is not running at all.
fn watched<T>(cluster: &Cluster, look: impl FnOnce() -> Result<T>) -> Result<T, String> {
    look().map_err(|error| {
        let state = cluster.machine(0).status().map(|status| status.state.to_string());
        let state = state.unwrap_or_else(|error| format!("unknown: {error:#}"));
        let console = cluster.machine(0).plan().console.display().to_string();
        format!("{error:#} (the machine is {state}, its console is {console})")
    })
}

fn info(cluster: &Cluster) -> Result<GetInfoResponse> {
    let identity = cluster.identity()?;
    block_on(async {
        let machine = identity.machines.first().context("the cluster has no machines")?;
        let connection = connect(machine, Credentials::Identity(&identity)).await?;
        Ok(connection.info().get(GetInfoRequest {}).await?.into_inner())
    })?
}

fn marks(cluster: &Cluster) -> Result<Vec<(String, Duration)>> {
    let identity = cluster.identity()?;
    block_on(async {
        let machine = identity.machines.first().context("the cluster has no machines")?;
        let connection = connect(machine, Credentials::Identity(&identity)).await?;
        let timeline = connection.info().timeline(TimelineRequest {}).await?.into_inner();
        let mark = |mark: proto::machine::v1::Mark| (mark.name, Duration::from_micros(mark.at_us));
        Ok(timeline.marks.into_iter().map(mark).collect())
    })?
}

/// Whether the demo pod runs; made on the first look.
fn demo_pod_runs(cluster: &Cluster) -> Result<()> {
    let kubernetes = cluster.kubernetes()?;
    block_on(async {
        let reply = kubernetes.get("/api/v1/namespaces/default/pods/demo").await?;
        if reply.status == http::StatusCode::NOT_FOUND {
            let made = kubernetes
                .create("/api/v1/namespaces/default/pods", &demo_pod())
                .await?;
            ensure!(
                made.status.is_success(),
                "create pod demo: {}: {}",
                made.status,
                made.message()
            );
        }
        let phase = reply.body["status"]["phase"].as_str().unwrap_or("not there yet");
        ensure!(phase == "Running", "pod demo is {phase}");
        Ok(())
    })?
}

fn demo_pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "demo", "namespace": "default", "labels": { "app": "demo" } },
        "spec": { "containers": [{ "name": "demo", "image": oci_images::reference("demo") }] },
    })
}
