//! The transport over the network: HTTP/2 (HTTP/1.1 where the server has no other) in TLS, one connection for all requests.

use crate::transport::{Body, Transport};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TCP and TLS together. A server on the same network answers within milliseconds; this is for one that is gone.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Until an answer begins, connecting included; what follows, a watch's events say, may take for ever. Upstream's API server
/// ends requests of its own after 60 s (`--request-timeout`); this leaves it the first word.
const ANSWER_DEADLINE: Duration = Duration::from_secs(70);
/// How often a connection with open requests (a watch always is one) is asked whether it lives, and how long it may take
/// to answer. Together half of what the control plane waits before it calls a node lost.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// HTTP/2's default window of 64 KiB would make a long list wait for a round trip every 64 KiB.
const WINDOW: u32 = 4 << 20;

/// Why there can be no transport to this server; nothing was sent yet.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not `https://host:port`.
    #[error("the API server's address {endpoint:?} is not of the form https://host:port")]
    Endpoint {
        /// As given.
        endpoint: String,
    },
    /// Certificates or key are no PEM.
    #[error("the {what} is not PEM: {cause}")]
    Pem {
        /// Which of them.
        what: &'static str,
        /// Why.
        cause: pem::Error,
    },
    /// Certificates and key cannot be used.
    #[error("the {what} cannot be used: {cause}")]
    Unusable {
        /// Which of them.
        what: &'static str,
        /// Why.
        cause: rustls::Error,
    },
}

/// Who the client is: its certificate, with those between it and the CA, and its key, both PEM. No `Debug`: it is a secret.
#[derive(Clone)]
pub struct Identity {
    /// Certificate chain, PEM.
    pub certificate: Vec<u8>,
    /// Private key, PEM (PKCS#8, SEC1 or PKCS#1).
    pub key: Vec<u8>,
}

/// A connection to one API server; made at the first request, and anew when it breaks.
#[derive(Clone)]
pub struct Http {
    client: Client<Connector, Full<Bytes>>,
    authority: Authority,
}

impl Http {
    /// Trusts what `ca` (PEM, one or more) signed, and nothing else. `endpoint` is `https://host:port`.
    pub fn new(endpoint: &str, ca: &[u8], identity: Option<&Identity>) -> Result<Http, ConnectError> {
        let (name, authority) = parse(endpoint).ok_or_else(|| ConnectError::Endpoint {
            endpoint: endpoint.to_owned(),
        })?;
        let tls = TlsConnector::from(Arc::new(tls_config(ca, identity)?));
        let address = (name.to_str().into_owned(), authority.port_u16().unwrap_or(443));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(4 * WINDOW)
            .build(Connector { tls, name, address });
        Ok(Http { client, authority })
    }
}

impl Transport for Http {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, io::Error>> {
        let (mut head, body) = request.into_parts();
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        let client = self.client.clone();
        Box::pin(async move {
            head.uri = Uri::from_parts(uri).map_err(io::Error::other)?;
            head.headers
                .entry(header::USER_AGENT)
                .or_insert(HeaderValue::from_static("pintle"));
            let request = Request::from_parts(head, Full::new(body));
            let late = || {
                let said = format!("no answer within {} s", ANSWER_DEADLINE.as_secs());
                io::Error::new(io::ErrorKind::TimedOut, said)
            };
            let reply = tokio::time::timeout(ANSWER_DEADLINE, client.request(request)).await;
            let reply = reply.map_err(|_| late())?.map_err(root_cause)?;
            Ok(reply.map(|body| body.map_err(io::Error::other).boxed()))
        })
    }
}

/// The pool's errors say "client error (Connect)"; what a person needs is the system's word beneath.
fn root_cause(error: hyper_util::client::legacy::Error) -> io::Error {
    let mut cause: &(dyn std::error::Error + 'static) = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(io) => io::Error::new(io.kind(), io.to_string()),
        None => io::Error::other(cause.to_string()),
    }
}

fn parse(endpoint: &str) -> Option<(ServerName<'static>, Authority)> {
    let uri: Uri = endpoint.parse().ok()?;
    if uri.scheme() != Some(&Scheme::HTTPS) || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return None;
    }
    let authority = uri.authority()?.clone();
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    Some((ServerName::try_from(host).ok()?, authority))
}

fn tls_config(ca: &[u8], identity: Option<&Identity>) -> Result<ClientConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("CA certificate", ca)? {
        roots.add(certificate).map_err(|cause| ConnectError::Unusable {
            what: "CA certificate",
            cause,
        })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates("client certificate", &identity.certificate)?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|cause| ConnectError::Pem {
                what: "client key",
                cause,
            })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|cause| ConnectError::Unusable {
                    what: "client certificate and key",
                    cause,
                })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(what: &'static str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(ConnectError::Pem {
            what,
            cause: pem::Error::NoItemsFound,
        }),
        Ok(found) => Ok(found),
        Err(cause) => Err(ConnectError::Pem { what, cause }),
    }
}

/// Opens TLS connections to the one server.
#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
    address: (String, u16),
}

impl Connector {
    async fn connect(self) -> io::Result<Secured> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(Secured(TokioIo::new(self.tls.connect(self.name, stream).await?)))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Secured;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Secured>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(CONNECT_DEADLINE, self.clone().connect());
        Box::pin(async move { connecting.await? })
    }
}

/// A TLS connection that tells the pool which protocol was agreed on.
struct Secured(TokioIo<TlsStream<TcpStream>>);

impl Connection for Secured {
    fn connected(&self) -> Connected {
        match self.0.inner().get_ref().1.alpn_protocol() {
            Some(b"h2") => Connected::new().negotiated_h2(),
            Some(_) | None => Connected::new(),
        }
    }
}

impl Read for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
