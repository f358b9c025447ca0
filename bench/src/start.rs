//! Starts a server again and again: the time until it says that it is ready.

use crate::latency::Latencies;
use crate::report::Report;
use crate::target::Target;
use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any API server needs to start.
const DEADLINE: Duration = Duration::from_secs(120);

/// Starts `command`, waits for /readyz, kills it; `times` times.
pub async fn measure(target: &Target, command: &[String], times: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut latencies = Latencies::default();
    let began = Instant::now();
    for _ in 0..times {
        latencies.push(once(target, command).await?);
    }
    latencies.report("start until ready", began.elapsed(), report);
    Ok(())
}

async fn once(target: &Target, command: &[String]) -> anyhow::Result<Duration> {
    let (program, arguments) = command.split_first().context("no command given")?;
    let begun = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let mut child = KilledInTheEnd(child);
    while begun.elapsed() < DEADLINE {
        if let Some(status) = child.0.try_wait().context("ask for the server")? {
            bail!("{program} ended with {status} before it was ready");
        }
        // A fresh connection: one to the last server would be found broken first.
        let asked = target.connect()?.send(Method::GET, "/readyz", Bytes::new()).await;
        if matches!(asked, Ok((StatusCode::OK, _))) {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("{program} was not ready within {DEADLINE:?}")
}

/// A server that does not outlive its measurement.
struct KilledInTheEnd(Child);

impl Drop for KilledInTheEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
