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

/// `writes` creates, each seen by `watchers` watchers.
pub async fn measure(target: &Target, watchers: usize, writes: usize, report: &mut Report) -> anyhow::Result<()> {
    let begun = Instant::now();
    let watching = open(target, watchers, writes).await?;
    let writer = target.connect()?;
    let started = Instant::now();
    for number in 0..writes {
        write(&writer, &target.path("configmaps"), number, begun).await?;
    }
    let mut lags = Latencies::default();
    for task in watching {
        lags.append(task.await??);
    }
    let benchmark = format!("{watchers} watchers");
    lags.report(&benchmark, started.elapsed(), report);
    Ok(())
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
