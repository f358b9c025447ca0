//! Pods on real nodes: from the create request until a watcher sees them Running, one after the other and all at once.

use crate::latency::Latencies;
use crate::report::Report;
use crate::target::{Connection, Target, progress};
use anyhow::{Context, bail};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Nothing that still makes progress takes longer for one pod; beyond it, the cluster is stuck.
const STUCK: Duration = Duration::from_secs(120);

/// What is asked of the cluster.
pub struct Asked<'a> {
    /// A container image that the nodes have, or that they may pull before the first measurement.
    pub image: &'a str,
    /// How many pods each measurement makes.
    pub pods: usize,
}

/// Measures both ways.
pub async fn measure(target: &Target, asked: &Asked<'_>, report: &mut Report) -> anyhow::Result<()> {
    let mut seen = Seen::open(target).await?;
    let writer = target.connect()?;
    // The image is pulled and the service account made before anything counts.
    create(&writer, target, asked.image, "first").await?;
    seen.running("first").await?;

    let bar = progress("pods one after the other", asked.pods as u64);
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    for number in 0..asked.pods {
        let name = format!("single-{number}");
        let sent = Instant::now();
        create(&writer, target, asked.image, &name).await?;
        latencies.push(seen.running(&name).await?.saturating_duration_since(sent));
        bar.inc(1);
    }
    bar.finish_and_clear();
    latencies.report("pod create to Running", begun.elapsed(), report);

    let begun = Instant::now();
    for number in 0..asked.pods {
        create(&writer, target, asked.image, &format!("many-{number}")).await?;
    }
    let mut last = begun;
    for number in 0..asked.pods {
        last = last.max(seen.running(&format!("many-{number}")).await?);
    }
    let rate = asked.pods as f64 / last.saturating_duration_since(begun).as_secs_f64();
    report.add("pods at once", "starts", rate, "1/s");
    Ok(())
}

async fn create(writer: &Connection, target: &Target, image: &str, name: &str) -> anyhow::Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": image, "imagePullPolicy": "IfNotPresent" }],
        },
    });
    // A new namespace has its service account a moment later.
    let deadline = Instant::now() + STUCK;
    loop {
        let (code, body) = writer
            .send(Method::POST, &target.path("pods"), pod.to_string().into())
            .await?;
        if code.is_success() {
            return Ok(());
        }
        let text = body.escape_ascii().to_string();
        if !text.contains("serviceaccount") || Instant::now() > deadline {
            bail!("create pod {name}: {code}: {text}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A watch of the namespace's pods, and when each was first seen Running.
struct Seen {
    body: client::Body,
    rest: Vec<u8>,
    at: HashMap<String, Instant>,
}

// === impl Seen ===

impl Seen {
    async fn open(target: &Target) -> anyhow::Result<Self> {
        let path = format!("{}?watch=true", target.path("pods"));
        let reply = target
            .connect()?
            .open(Method::GET, &path, "application/json", Bytes::new())
            .await?;
        if !reply.status().is_success() {
            bail!("watch pods: {}", reply.status());
        }
        Ok(Self {
            body: reply.into_body(),
            rest: Vec::new(),
            at: HashMap::new(),
        })
    }

    /// When the pod was seen Running; waits for it.
    async fn running(&mut self, name: &str) -> anyhow::Result<Instant> {
        loop {
            if let Some(at) = self.at.get(name) {
                return Ok(*at);
            }
            let frame = tokio::time::timeout(STUCK, self.body.frame()).await;
            let frame = frame.with_context(|| format!("pod {name} is not Running and nothing happens any more"))?;
            let frame = frame.context("the watch of the pods ended")??;
            let now = Instant::now();
            self.rest
                .extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
            self.take(now)?;
        }
    }

    fn take(&mut self, now: Instant) -> anyhow::Result<()> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let event: Value = serde_json::from_slice(&self.rest[..end]).context("read an event of the watch")?;
            self.rest.drain(..=end);
            let object = &event["object"];
            if let (Some(name), Some("Running")) =
                (object["metadata"]["name"].as_str(), object["status"]["phase"].as_str())
            {
                self.at.entry(name.to_owned()).or_insert(now);
            }
        }
        Ok(())
    }
}
