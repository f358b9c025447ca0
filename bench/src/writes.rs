//! Rates and latencies of single-object requests, on N connections with one request at a time each.

use crate::latency::Latencies;
use crate::report::Report;
use crate::target::{Connection, Target};
use anyhow::bail;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Objects that a connection updates, patches and reads in turn.
const OWN: usize = 100;

/// What is done to an object.
#[derive(Clone, Copy)]
enum Act {
    Create,
    Update,
    Patch,
    Get,
}

/// One connection's work.
struct Client {
    connection: Connection,
    /// What the names of its objects begin with, other than those of any other client and run.
    name: String,
    path: String,
}

/// Creates, updates, patches and reads ConfigMaps of about 1 KiB.
pub async fn measure(target: &Target, connections: usize, length: Duration, report: &mut Report) -> anyhow::Result<()> {
    let clients: anyhow::Result<Vec<_>> = (0..connections)
        .map(|number| {
            let connection = target.connect()?;
            let path = target.path("configmaps");
            let name = format!("{}-{connections}-{number}", std::process::id());
            Ok(Arc::new(Client { connection, name, path }))
        })
        .collect();
    let clients = clients?;
    for client in &clients {
        // Handshakes and the first page faults belong to nobody's latency.
        client.connection.send(Method::GET, "/readyz", Bytes::new()).await?;
    }
    for (name, act) in [
        ("create", Act::Create),
        ("update", Act::Update),
        ("patch", Act::Patch),
        ("get", Act::Get),
    ] {
        let begun = Instant::now();
        let running: Vec<_> = clients
            .iter()
            .map(|client| tokio::spawn(client.clone().run(act, begun + length)))
            .collect();
        let mut all = Latencies::default();
        for task in running {
            all.append(task.await??);
        }
        let benchmark = format!("{name} configmap, {connections} connections");
        all.report(&benchmark, begun.elapsed(), report);
    }
    Ok(())
}

// === impl Client ===

impl Client {
    async fn run(self: Arc<Self>, act: Act, until: Instant) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::default();
        let mut round = 0;
        // The other acts need what a create made, so a short run makes that much in any case.
        while Instant::now() < until || matches!(act, Act::Create) && round < OWN {
            latencies.push(self.act(act, round).await?);
            round += 1;
        }
        Ok(latencies)
    }

    async fn act(&self, act: Act, round: usize) -> anyhow::Result<Duration> {
        let made = format!("{}-{round}", self.name);
        let own = format!("{}-{}", self.name, round % OWN);
        let one = format!("{}/{own}", self.path);
        let (method, path, media_type, body) = match act {
            Act::Create => (
                Method::POST,
                self.path.clone(),
                "application/json",
                config_map(&made, round),
            ),
            Act::Update => (Method::PUT, one, "application/json", config_map(&own, round)),
            Act::Patch => {
                let patch = json!({ "data": { "round": round.to_string() } }).to_string();
                (Method::PATCH, one, "application/merge-patch+json", patch.into())
            }
            Act::Get => (Method::GET, one, "application/json", Bytes::new()),
        };
        let begun = Instant::now();
        let reply = self.connection.open(method.clone(), &path, media_type, body).await?;
        let code = reply.status();
        let body = reply.into_body().collect().await?.to_bytes();
        let took = begun.elapsed();
        if !code.is_success() {
            bail!("{method} {path}: {code}: {}", body.escape_ascii());
        }
        Ok(took)
    }
}

fn config_map(name: &str, round: usize) -> Bytes {
    let text = format!("{round:08}").repeat(100);
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "labels": { "app": "bench" } },
        "data": { "text": text, "round": "0" },
    })
    .to_string()
    .into()
}
