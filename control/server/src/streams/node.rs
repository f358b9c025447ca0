//! The way to a node's own server on :10250: mutual TLS, one request, its reply, and the bytes after an upgrade.

use api::status::{self, Status};
use api::{metadata, read};
use client::Body;
use http::request::Parts;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::debug;

/// A node that does not take a connection within this is not there.
const PATIENCE: Duration = Duration::from_secs(10);

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

    /// Passes a request on to `node` and its reply back; after an upgrade, all bytes both ways.
    pub(super) async fn forward(&self, node: &Value, path: &str, parts: Parts) -> Result<Response<Body>, Status> {
        let address = address(node)?;
        let stream = self.dial(node, &address).await?;
        let failed =
            |cause: &dyn std::fmt::Display| status::internal(format!("error talking to node at {address}: {cause}"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| failed(&cause))?;
        tokio::spawn(async move {
            if let Err(cause) = connection.with_upgrades().await {
                debug!(%cause, "connection to a node ended");
            }
        });
        let mut request = Request::builder()
            .method(parts.method.clone())
            .uri(path)
            .header(header::HOST, &address);
        for name in &PASSED_ON {
            for value in parts.headers.get_all(name) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|cause| failed(&cause))?;
        let response = sender.send_request(request).await.map_err(|cause| failed(&cause))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(splice(Request::from_parts(parts, ()), response));
        }
        Ok(pass_back(response))
    }

    async fn dial(&self, node: &Value, address: &str) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Status> {
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
            Ok(Err(cause)) => Err(refused(&cause)),
            Err(_) => Err(refused(&"i/o timeout")),
        }
    }
}

fn address(node: &Value) -> Result<String, Status> {
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

/// Answers the client's upgrade as the node did, and joins the two.
fn splice(client: Request<()>, node: Response<Incoming>) -> Response<Body> {
    let mut response = Response::new(crate::reply::whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for name in &PASSED_ON {
        for value in node.headers().get_all(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    tokio::spawn(async move {
        let joined = async {
            let (client, node) =
                tokio::try_join!(hyper::upgrade::on(client), hyper::upgrade::on(node)).map_err(io::Error::other)?;
            tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(node)).await
        };
        if let Err(cause) = joined.await {
            debug!(%cause, "stream to a container ended");
        }
    });
    response
}

fn pass_back(node: Response<Incoming>) -> Response<Body> {
    let (parts, body) = node.into_parts();
    let mut response = Response::new(body.map_err(io::Error::other).boxed());
    *response.status_mut() = parts.status;
    if let Some(media_type) = parts.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, media_type.clone());
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
