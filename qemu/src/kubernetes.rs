//! One request at a time to a Kubernetes API, with a deadline: for health and for the demo pod.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use client::{Http, Transport};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// A request that a healthy server under emulation answers in well under a second.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// A way to a Kubernetes API.
pub struct Kubernetes {
    http: Http,
}

/// A reply, whole.
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// JSON, or the text as a JSON string.
    pub body: Value,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// As the current user of the kubeconfig at `path`.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        Ok(Self {
            http: Http::from_kubeconfig(path)?,
        })
    }

    /// GET `path`, e.g. `/readyz`.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// GET `path` and expect an object.
    pub async fn object(&self, path: &str) -> Result<Value> {
        let reply = self.get(path).await?;
        let (status, message) = (reply.status, reply.message());
        ensure!(status.is_success(), "GET {path}: {status}: {message}");
        Ok(reply.body)
    }

    /// POST `object` to `path`.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Reply> {
        self.request(Method::POST, path, object.to_string().into()).await
    }

    /// DELETE the object at `path`.
    pub async fn delete(&self, path: &str) -> Result<Reply> {
        self.request(Method::DELETE, path, Bytes::new()).await
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Reply> {
        let what = format!("{method} {path}");
        let exchange = self.exchange(method, path, body);
        match tokio::time::timeout(REQUEST_DEADLINE, exchange).await {
            Ok(reply) => reply.context(what),
            Err(_) => bail!("{what}: no answer in {REQUEST_DEADLINE:?}"),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Reply> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(body)?;
        let reply = self.http.send(request).await?;
        let status = reply.status();
        let bytes = reply.into_body().collect().await?.to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        Ok(Reply {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()),
        })
    }
}

// === impl Reply ===

impl Reply {
    /// What a refusal says.
    pub fn message(&self) -> String {
        let body = &self.body;
        let said = body["message"].as_str().or(body.as_str());
        said.map_or_else(|| body.to_string(), str::to_owned)
    }
}
