//! The way to a node's own server on :10250: mutual TLS, one request, its reply, and the bytes after an upgrade.

use super::dial;
use crate::body::Payload;
use api::status::{self, Status};
use api::{metadata, read};
use bytes::Bytes;
use client::Body;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A node that does not take a connection within this is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most that is read of a node's answer: the metrics of some ten thousand containers.
const LARGEST: usize = 16 << 20;

/// Where nodes serve unless they say otherwise.
const PORT: i64 = 10250;

/// What a client says about an upgrade, and may hear about it.
const PASSED_ON: [HeaderName; 8] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    HeaderName::from_static("x-stream-protocol-version"),
];

/// How this server proves itself to nodes, and knows them.
#[derive(Clone)]
pub struct Nodes {
    tls: Option<Arc<ClientConfig>>,
}

// === impl Nodes ===

impl Nodes {
    /// With the client identity that nodes accept, and the CA of their certificates.
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls: Some(tls) }
    }

    /// A server without nodes: log, exec and attach say so.
    pub fn none() -> Self {
        Self { tls: None }
    }

    /// The same without knowing nodes by their certificates: `insecureSkipTLSVerifyBackend`.
    pub(super) fn trusting_anybody(&self) -> Self {
        let Some(tls) = &self.tls else { return self.clone() };
        let mut trusting = ClientConfig::clone(tls);
        trusting.dangerous().set_certificate_verifier(identity::tls::anybody());
        Self::new(Arc::new(trusting))
    }

    /// Passes a request on to `node` and its reply back; after an upgrade, all bytes both ways.
    pub(super) async fn forward(
        &self,
        node: &Value,
        path: &str,
        parts: Parts,
        payload: Payload,
    ) -> Result<Response<Body>, Status> {
        let address = address(node)?;
        let stream = self.dial(node, &address).await?;
        let failed =
            |cause: &dyn std::fmt::Display| status::internal(format!("error talking to node at {address}: {cause}"));
        let mut request = Request::builder()
            .method(parts.method.clone())
            .uri(path)
            .header(header::HOST, &address);
        for name in &PASSED_ON {
            for value in parts.headers.get_all(name) {
                request = request.header(name, value);
            }
        }
        let request = request.body(dial::body(payload)).map_err(|cause| failed(&cause))?;
        let response = dial::send(stream, request).await.map_err(|cause| failed(&cause))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let mut headers = HeaderMap::new();
            for name in &PASSED_ON {
                for value in response.headers().get_all(name) {
                    headers.append(name, value.clone());
                }
            }
            return Ok(dial::splice(dial::upgrade_of(parts), response, headers));
        }
        Ok(pass_back(response))
    }

    /// Reads a path of `node` as the cluster itself.
    pub(crate) async fn read(&self, node: &Value, path: &str) -> Result<Bytes, Status> {
        let address = address(node)?;
        let stream = self.dial(node, &address).await?;
        let failed =
            |cause: &dyn std::fmt::Display| status::internal(format!("error talking to node at {address}: {cause}"));
        let request = Request::get(path).header(header::HOST, &address);
        let request = request.body(crate::reply::whole("")).map_err(|cause| failed(&cause))?;
        let response = dial::send(stream, request).await.map_err(|cause| failed(&cause))?;
        if response.status() != StatusCode::OK {
            return Err(failed(&response.status()));
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        Ok(body.map_err(|cause| failed(&cause))?.to_bytes())
    }

    pub(super) async fn dial(
        &self,
        node: &Value,
        address: &str,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Status> {
        let refused = |cause: &dyn std::fmt::Display| {
            status::internal(format!("error dialing backend: dial tcp {address}: {cause}"))
        };
        let Some(tls) = &self.tls else {
            return Err(refused(&"this API server has no identity towards nodes"));
        };
        // Nodes are known by their names: their addresses may come from DHCP.
        let name = ServerName::try_from(metadata::name(node).to_owned()).map_err(|cause| refused(&cause))?;
        let dialed = tokio::time::timeout(PATIENCE, async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(tls.clone()).connect(name, stream).await
        });
        match dialed.await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(cause)) => Err(refused(&dial::words(&cause))),
            Err(_) => Err(refused(&"i/o timeout")),
        }
    }
}

pub(super) fn address(node: &Value) -> Result<String, Status> {
    let addresses = read::list(node, "/status/addresses");
    let of = |kind: &str| {
        addresses
            .iter()
            .find(|a| read::text(a, "/type") == kind)
            .map(|a| read::text(a, "/address"))
    };
    let host = of("InternalIP")
        .or_else(|| of("ExternalIP"))
        .filter(|host| !host.is_empty())
        .ok_or_else(|| {
            status::internal(format!(
                "no preferred addresses found for node {:?}",
                metadata::name(node)
            ))
        })?;
    let port = match read::int(node, "/status/daemonEndpoints/kubeletEndpoint/Port") {
        0 => PORT,
        port => port,
    };
    Ok(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

fn pass_back(node: Response<Incoming>) -> Response<Body> {
    let (parts, body) = node.into_parts();
    let mut response = Response::new(body.map_err(io::Error::other).boxed());
    *response.status_mut() = parts.status;
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// Percent-encodes one value of a query.
pub(super) fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
