//! LIST of many Pods: how long, how many bytes, what it costs the server, and what the objects cost it.

use crate::process;
use crate::report::Report;
use crate::target::{Target, progress};
use anyhow::bail;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Connections that make the objects.
const MAKERS: usize = 32;
/// How often the list is read; the fastest counts, and so does the largest peak of memory.
const READS: usize = 5;

/// Makes `objects` Pods that no scheduler touches, then lists them all at once.
pub async fn measure(target: &Target, objects: usize, report: &mut Report) -> anyhow::Result<()> {
    let before = target.server_pid.map(process::memory).transpose()?;
    make(target, objects).await?;
    let benchmark = format!("list {objects} pods");
    let connection = target.connect()?;
    let after = target.server_pid.map(process::memory).transpose()?;
    let (mut fastest, mut bytes, mut peak) = (f64::INFINITY, 0, 0.0_f64);
    for _ in 0..READS {
        target.server_pid.map(process::reset_peak).transpose()?;
        let resting = target.server_pid.map(process::memory).transpose()?;
        let begun = Instant::now();
        let reply = connection
            .open(Method::GET, &target.path("pods"), "application/json", Bytes::new())
            .await?;
        if !reply.status().is_success() {
            bail!("list pods: {}", reply.status());
        }
        bytes = count(reply.into_body()).await?;
        fastest = fastest.min(begun.elapsed().as_secs_f64());
        if let (Some(pid), Some(resting)) = (target.server_pid, resting) {
            peak = peak.max(process::memory(pid)?.peak - resting.resident);
        }
    }
    report.add(&benchmark, "time", fastest, "s");
    report.add(&benchmark, "body", bytes as f64 / 1e6, "MB");
    if let (Some(before), Some(after)) = (before, after) {
        let encoded = bytes as f64 / objects as f64;
        let taken = (after.resident - before.resident) / objects as f64;
        report.add(&benchmark, "extra memory", peak / 1e6, "MB");
        report.add(&benchmark, "encoded size of an object", encoded, "bytes");
        report.add(&benchmark, "memory of an object beyond that", taken - encoded, "bytes");
    }
    Ok(())
}

/// Reads a body without keeping it.
async fn count(mut body: client::Body) -> anyhow::Result<usize> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

async fn make(target: &Target, objects: usize) -> anyhow::Result<()> {
    let bar = progress("making pods", objects as u64);
    let next = Arc::new(AtomicUsize::new(0));
    let mut makers = Vec::new();
    for _ in 0..MAKERS {
        let (connection, path) = (target.connect()?, target.path("pods"));
        let (next, bar) = (next.clone(), bar.clone());
        makers.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= objects {
                    return anyhow::Ok(());
                }
                let (code, body) = connection.send(Method::POST, &path, pod(number)).await?;
                if !code.is_success() {
                    bail!("make pod {number}: {code}: {}", body.escape_ascii());
                }
                bar.inc(1);
            }
        }));
    }
    for maker in makers {
        maker.await??;
    }
    bar.finish_and_clear();
    Ok(())
}

fn pod(number: usize) -> Bytes {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("pod-{number:06}"), "labels": { "app": "bench", "part": (number % 100).to_string() } },
        "spec": {
            // Nobody's scheduler: the pods stay as they are.
            "schedulerName": "nobody",
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main", "image": "registry.test/bench:1",
                "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
            }],
        },
    })
    .to_string()
    .into()
}
