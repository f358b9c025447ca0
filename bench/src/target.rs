//! The server that is measured: connections to it, and plain requests whose answers are counted, not understood.

use anyhow::{Context, bail};
use bytes::Bytes;
use client::{Body, Http, Transport};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longer than a namespace with 100,000 objects takes to go on any server that we know.
const CLEANING_DEADLINE: Duration = Duration::from_secs(300);

/// A server and the namespace that is used on it.
pub struct Target {
    kubeconfig: PathBuf,
    /// Where objects are made.
    pub namespace: String,
    /// The server's process, if it is on this host.
    pub server_pid: Option<u32>,
}

/// One connection, with at most one request in flight unless a caller overlaps them.
#[derive(Clone)]
pub struct Connection(Http);

// === impl Target ===

impl Target {
    /// Reads nothing yet.
    pub fn new(kubeconfig: PathBuf, namespace: String, server_pid: Option<u32>) -> Self {
        Self {
            kubeconfig,
            namespace,
            server_pid,
        }
    }

    /// A new connection, made at its first request.
    pub fn connect(&self) -> anyhow::Result<Connection> {
        Ok(Connection(Http::from_kubeconfig(&self.kubeconfig)?))
    }

    /// The path of the namespace's objects of a core kind.
    pub fn path(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    /// Makes the namespace.
    pub async fn prepare(&self) -> anyhow::Result<()> {
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace } });
        let made = self
            .connect()?
            .send(Method::POST, "/api/v1/namespaces", body.to_string().into())
            .await;
        match made? {
            (StatusCode::CREATED, _) => Ok(()),
            (StatusCode::CONFLICT, _) => bail!(
                "the namespace {0} exists already and would be deleted in the end; delete it first, or choose another with --namespace",
                self.namespace
            ),
            (code, text) => bail!("make the namespace {}: {code}: {}", self.namespace, text.escape_ascii()),
        }
    }

    /// Deletes what was made, objects first, and waits until the namespace is gone or nothing is left to wait for.
    pub async fn clean(&self) -> anyhow::Result<()> {
        let connection = self.connect()?;
        for plural in ["configmaps", "pods"] {
            let now = Bytes::from_static(br#"{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0}"#);
            connection.send(Method::DELETE, &self.path(plural), now).await?;
        }
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        connection.send(Method::DELETE, &path, Bytes::new()).await?;
        let deadline = Instant::now() + CLEANING_DEADLINE;
        while connection.send(Method::GET, &path, Bytes::new()).await?.0 != StatusCode::NOT_FOUND {
            if Instant::now() > deadline {
                bail!(
                    "the namespace {} is still there after {CLEANING_DEADLINE:?}: does a namespace controller run?",
                    self.namespace
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

// === impl Connection ===

impl Connection {
    /// Sends a request and reads the answer whole.
    pub async fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let what = format!("{method} {path}");
        let reply = self.open(method, path, "application/json", body).await?;
        let code = reply.status();
        let body = reply.into_body().collect().await.with_context(|| what)?.to_bytes();
        Ok((code, body))
    }

    /// Sends a request with a body of that media type and hands back the answer as soon as its head is there.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Bytes,
    ) -> anyhow::Result<Response<Body>> {
        let what = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, media_type)
            .body(body)
            .with_context(|| what.clone())?;
        self.0.send(request).await.with_context(|| what)
    }
}

/// A bar on standard error for `length` steps.
pub fn progress(what: &str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}")
        .expect("the template is good because it is constant");
    ProgressBar::new(length).with_style(style).with_message(what.to_owned())
}
