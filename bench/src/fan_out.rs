//! Many watchers of one namespace: events a second in all, and how late they come.

use crate::latency::Latencies;
use crate::report::Report;
use crate::target::{Connection, Target, progress};
use anyhow::{Context, bail};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use std::time::{Duration, Instant};

/// Watchers that share a connection: what HTTP/2 servers allow at least, so that sockets are not what is measured.
const WATCHERS_A_CONNECTION: usize = 100;

const WATCHERS: usize = 1000;
const WRITES: usize = 500;

/// How much is written and read.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Load {
    /// How many watchers.
    #[arg(long, default_value_t = WATCHERS)]
    watchers: usize,
    /// How many write at once: one shows how late an event comes, many how many events the server delivers.
    #[arg(long, default_value_t = 1)]
    writers: usize,
    /// How many writes each watcher sees.
    #[arg(long, default_value_t = WRITES)]
    writes: usize,
}

/// Each write is seen by each watcher.
pub async fn measure(target: &Target, load: Load, report: &mut Report) -> anyhow::Result<()> {
    let Load {
        watchers,
        writers,
        writes,
    } = load;
    let begun = Instant::now();
    let watching = open(target, watchers, writes).await?;
    let started = Instant::now();
    let mut writing = Vec::new();
    for first in 0..writers {
        let (connection, path) = (target.connect()?, target.path("configmaps"));
        writing.push(tokio::spawn(async move {
            for number in (first..writes).step_by(writers) {
                write(&connection, &path, number, begun).await?;
            }
            anyhow::Ok(())
        }));
    }
    for writer in writing {
        writer.await??;
    }
    let mut lags = Latencies::default();
    for task in watching {
        lags.append(task.await??);
    }
    let benchmark = format!("{watchers} watchers, {writers} writers");
    lags.report(&benchmark, started.elapsed(), report);
    Ok(())
}

// === impl Load ===

impl Load {
    /// As much as by default, from that many writers.
    pub fn of(writers: usize) -> Self {
        Self {
            watchers: WATCHERS,
            writers,
            writes: WRITES,
        }
    }
}

type Watching = tokio::task::JoinHandle<anyhow::Result<Latencies>>;

async fn open(target: &Target, watchers: usize, writes: usize) -> anyhow::Result<Vec<Watching>> {
    let bar = progress("opening watches", watchers as u64);
    let begun = Instant::now();
    let path = format!("{}?watch=true&labelSelector=app%3Dfan-out", target.path("configmaps"));
    let mut connection = target.connect()?;
    let mut watching = Vec::new();
    for number in 0..watchers {
        if number % WATCHERS_A_CONNECTION == 0 {
            connection = target.connect()?;
        }
        let reply = connection
            .open(Method::GET, &path, "application/json", Bytes::new())
            .await?;
        if !reply.status().is_success() {
            bail!("watch: {}", reply.status());
        }
        watching.push(tokio::spawn(read(reply.into_body(), writes, begun)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(watching)
}

/// The object carries when it was sent, in microseconds since `begun`, which both ends share.
async fn write(connection: &Connection, path: &str, number: usize, begun: Instant) -> anyhow::Result<()> {
    let sent = begun.elapsed().as_micros();
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": format!("fan-out-{}-{number}", std::process::id()), "labels": { "app": "fan-out" } },
        "data": { "sent": format!("@{sent:020}@") },
    });
    let (code, body) = connection.send(Method::POST, path, body.to_string().into()).await?;
    if !code.is_success() {
        bail!("create a ConfigMap: {code}: {}", body.escape_ascii());
    }
    Ok(())
}

/// Reads events until there were as many as writes; finds the time in the bytes, without parsing them.
async fn read(mut body: client::Body, writes: usize, begun: Instant) -> anyhow::Result<Latencies> {
    let mut lags = Latencies::default();
    let mut rest: Vec<u8> = Vec::new();
    let mut seen = 0;
    while seen < writes {
        let frame = body.frame().await.context("the watch ended before its last event")??;
        rest.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            lags.push(lag(&rest[..end], begun).context("an event without the time of its sending")?);
            rest.drain(..=end);
            seen += 1;
        }
    }
    Ok(lags)
}

fn lag(event: &[u8], begun: Instant) -> Option<Duration> {
    let now = begun.elapsed();
    let at = event.windows(2).position(|pair| pair == b"\"@")? + 2;
    let digits = std::str::from_utf8(event.get(at..at + 20)?).ok()?;
    Some(now.saturating_sub(Duration::from_micros(digits.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_sending_is_found_in_an_event() {
        let begun = Instant::now();
        let event = format!(r#"{{"type":"ADDED","object":{{"data":{{"sent":"@{:020}@"}}}}}}"#, 0);
        assert!(lag(event.as_bytes(), begun).is_some());
        assert!(lag(b"{}", begun).is_none());
    }
}
