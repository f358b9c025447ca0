//! One request at a time to a Kubernetes API, as a kubeconfig's user: for health and for the demo pod.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use config::KeyPair;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use identity::tls::{self, Trust};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A request that a healthy server under emulation answers in well under a second.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// A way to a Kubernetes API.
pub struct Kubernetes {
    /// `HOST:PORT`.
    address: String,
    name: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
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
    /// As the current user of the kubeconfig at `path`, which must hold its certificates itself.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("use the kubeconfig {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let file: Kubeconfig = serde_saphyr::from_str(text)?;
        let context = named(&file.contexts, &file.current_context).context("its current context is not listed")?;
        let cluster = named(&file.clusters, &context.context.cluster).context("its context's cluster is not listed")?;
        let user = named(&file.users, &context.context.user).context("its context's user is not listed")?;
        let own = KeyPair {
            certificate: pem(&user.user.client_certificate_data)?,
            key: pem(&user.user.client_key_data)?,
        };
        let ca = pem(&cluster.cluster.certificate_authority_data)?;
        let server = cluster
            .cluster
            .server
            .strip_prefix("https://")
            .context("its server is no https URL")?;
        let address = server.split('/').next().unwrap_or(server).to_owned();
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        Ok(Self {
            name: ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?,
            tls: tls::client(Trust::Authority(&ca), Some(&own), &["http/1.1"])?,
            address,
        })
    }

    /// GET `path`, e.g. `/readyz`.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// GET `path` and expect an object.
    pub async fn object(&self, path: &str) -> Result<Value> {
        let reply = self.get(path).await?;
        ensure!(
            reply.status.is_success(),
            "GET {path}: {}: {}",
            reply.status,
            reply.message()
        );
        Ok(reply.body)
    }

    /// POST `object` to `path`.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Reply> {
        self.request(Method::POST, path, object.to_string().into()).await
    }

    /// DELETE `path`.
    pub async fn delete(&self, path: &str) -> Result<Reply> {
        self.request(Method::DELETE, path, Bytes::new()).await
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Reply> {
        let what = format!("{method} https://{}{path}", self.address);
        let exchange = self.exchange(method, path, body);
        match tokio::time::timeout(REQUEST_DEADLINE, exchange).await {
            Ok(reply) => reply.context(what),
            Err(_) => bail!("{what}: no answer in {REQUEST_DEADLINE:?}"),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Reply> {
        let tcp = TcpStream::connect(&self.address).await?;
        let stream = TlsConnector::from(self.tls.clone())
            .connect(self.name.clone(), tcp)
            .await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(Full::new(body))?;
        let reply = sender.send_request(request).await?;
        let status = reply.status();
        let bytes = reply.into_body().collect().await?.to_bytes();
        connection.abort();
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
        body["message"]
            .as_str()
            .or(body.as_str())
            .map_or_else(|| body.to_string(), str::to_owned)
    }
}

/// The parts of a kubeconfig that we write and read (upstream: client-go tools/clientcmd/api/v1).
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<Named<InContext>>,
    clusters: Vec<Named<InCluster>>,
    users: Vec<Named<InUser>>,
}

#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    inner: T,
}

#[derive(Deserialize)]
struct InContext {
    context: ContextEntry,
}

#[derive(Deserialize)]
struct ContextEntry {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct InCluster {
    cluster: ClusterEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterEntry {
    server: String,
    certificate_authority_data: String,
}

#[derive(Deserialize)]
struct InUser {
    user: UserEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UserEntry {
    client_certificate_data: String,
    client_key_data: String,
}

fn named<'a, T>(list: &'a [Named<T>], name: &str) -> Option<&'a T> {
    list.iter().find(|entry| entry.name == name).map(|entry| &entry.inner)
}

fn pem(base64: &str) -> Result<String> {
    Ok(String::from_utf8(STANDARD.decode(base64.trim())?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kubeconfig_that_we_write() {
        let bundle = identity::cluster::new_bundle().unwrap();
        let text = identity::cluster::kubeconfig(&bundle, "https://127.0.0.1:4711").unwrap();
        assert_eq!(Kubernetes::parse(&text).unwrap().address, "127.0.0.1:4711");
    }

    #[test]
    fn says_what_a_kubeconfig_lacks() {
        let text = "current-context: a\ncontexts: []\nclusters: []\nusers: []\n";
        let error = Kubernetes::parse(text).err().unwrap();
        assert_eq!(error.to_string(), "its current context is not listed");
    }
}
