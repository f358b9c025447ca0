//! `pintlectl store`: a snapshot of everything a cluster keeps, taken from its live API server and put back into one.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use client::{Body, Http, Transport};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is done.
#[derive(Subcommand)]
pub enum Command {
    /// Write all objects, as they are now, to a file. Secrets are in it.
    Snapshot(Told),
    /// Make the cluster's objects those of a snapshot: what is missing or different is written, the rest deleted.
    Restore(Told),
}

/// Which file, which cluster.
#[derive(Args)]
pub struct Told {
    /// The snapshot.
    file: PathBuf,
    /// An administrator's kubeconfig.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: PathBuf,
}

/// Does it.
pub fn run(command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(async {
        match command {
            Command::Snapshot(told) => snapshot(&told).await,
            Command::Restore(told) => restore(&told).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Into a file beside, moved in place when it is whole: a broken-off one never has the name.
async fn snapshot(told: &Told) -> Result<()> {
    let mut body = send(told, Method::GET, "/pintle/v1/store/snapshot", Bytes::new())
        .await?
        .into_body();
    let draft = told.file.with_extension("partial");
    let what = || format!("write the snapshot {}", draft.display());
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft);
    let mut file = file.with_context(what)?;
    let mut check = ::store::snapshot::Reader::default();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("read the snapshot from the API server")?;
        let Some(bytes) = frame.data_ref() else { continue };
        check.push(bytes)?;
        file.write_all(bytes).with_context(what)?;
        size += bytes.len();
    }
    let objects = check.finish()?.len();
    file.sync_all().with_context(what)?;
    std::fs::rename(&draft, &told.file).with_context(|| format!("name the snapshot {}", told.file.display()))?;
    println!("{}: {objects} objects, {size} bytes", told.file.display());
    Ok(())
}

async fn restore(told: &Told) -> Result<()> {
    let bytes = read(&told.file)?;
    let reply = send(told, Method::POST, "/pintle/v1/store/restore", bytes).await?;
    let body = reply.into_body().collect().await.context("read the answer")?.to_bytes();
    let summary: serde_json::Value = serde_json::from_slice(&body).context("understand the answer")?;
    println!(
        "restored {}: {} objects written, {} deleted, revision {}",
        told.file.display(),
        summary["written"],
        summary["deleted"],
        summary["revision"]
    );
    Ok(())
}

/// The file, checked here already, so that a wrong one is refused before it is sent.
fn read(path: &Path) -> Result<Bytes> {
    let bytes = std::fs::read(path).with_context(|| format!("read the snapshot {}", path.display()))?;
    let mut reader = ::store::snapshot::Reader::default();
    let read = reader.push(&bytes).and_then(|()| reader.finish());
    read.with_context(|| format!("read the snapshot {}", path.display()))?;
    Ok(bytes.into())
}

async fn send(told: &Told, method: Method, path: &str, body: Bytes) -> Result<Response<Body>> {
    let what = format!("{method} {path}");
    let http = Http::from_kubeconfig(&told.kubeconfig)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(body)
        .with_context(|| what.clone())?;
    let reply = http.send(request).await.with_context(|| what.clone())?;
    let code = reply.status();
    if code.is_success() {
        return Ok(reply);
    }
    let body = reply
        .into_body()
        .collect()
        .await
        .context("read the refusal")?
        .to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    match status["message"].as_str() {
        Some(message) => bail!("{what}: {message}"),
        None => bail!("{what}: {code}"),
    }
}
