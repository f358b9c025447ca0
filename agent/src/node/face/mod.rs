//! The node's face on :10250: what the API server asks a node for its users: logs, exec, attach, port-forward, pods.
//!
//! Only callers with a certificate of the cluster's CA get through TLS, and of those only `system:masters`.

mod forward;
mod logs;
mod query;
mod remote;
mod spdy;
mod upgrade;
mod websocket;

use super::{NodeContext, chain};
use crate::pods::directory::Directory;
use bytes::Bytes;
use futures_util::Stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use identity::{Subject, tls};
use query::Query;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A caller that has not finished its handshake by then is none.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The organization of callers that may ask anything: the API server is one of them.
const MASTERS: &str = "system:masters";

type Body = BoxBody<Bytes, io::Error>;

/// A refusal: a code and one sentence, as upstream's kubelet answers.
#[derive(Debug)]
struct Refusal(StatusCode, String);

/// Serves for ever; what fails is logged and tried again.
pub async fn serve(context: NodeContext, directory: Arc<Directory>) {
    let acceptor = loop {
        let ca = &context.secrets.cluster_ca;
        match tls::server(&context.secrets.node, tls::Callers::Of(ca), &["http/1.1"]) {
            Ok(config) => break TlsAcceptor::from(config),
            Err(error) => tracing::error!(error = %chain(&error), "the node cannot serve logs and exec"),
        }
        tokio::time::sleep(super::PAUSE).await;
    };
    let listener = loop {
        match listen(context.face_port).await {
            Ok(listener) => break listener,
            Err(error) => tracing::error!(port = context.face_port, %error, "the node cannot listen, trying again"),
        }
        tokio::time::sleep(super::PAUSE).await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (acceptor, directory) = (acceptor.clone(), directory.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, acceptor, directory).await {
                        tracing::debug!(%peer, %error, "a caller's connection ended");
                    }
                });
            }
            // Too many open files: others may close theirs.
            Err(error) => {
                tracing::warn!(%error, "a caller could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// On all addresses of both families; on IPv4 alone where the kernel has no other.
async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

async fn converse(stream: TcpStream, acceptor: TlsAcceptor, directory: Arc<Directory>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let subject = certificate.and_then(|certificate| Subject::of(certificate).ok());
    let may = subject.is_some_and(|subject| subject.organizations.iter().any(|group| group == MASTERS));
    let service = service_fn(move |request: Request<Incoming>| {
        let directory = directory.clone();
        async move {
            let reply = if may {
                answer(request, &directory).await
            } else {
                Err(Refusal(
                    StatusCode::FORBIDDEN,
                    "only members of system:masters may ask a node".to_owned(),
                ))
            };
            Ok::<_, Infallible>(reply.unwrap_or_else(Refusal::into_response))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    connection.with_upgrades().await.map_err(io::Error::other)
}

async fn answer(request: Request<Incoming>, directory: &Arc<Directory>) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["healthz"]) => Ok(whole(StatusCode::OK, "text/plain", "ok")),
        (&Method::GET, ["pods"]) => Ok(pods(directory)),
        (&Method::GET, ["containerLogs", namespace, pod, container]) => {
            logs::answer(request, directory, [namespace, pod, container], &query)
        }
        (&Method::GET | &Method::POST, ["exec", namespace, pod, container]) => {
            remote::exec(request, directory, [namespace, pod, container], &query)
        }
        (&Method::GET | &Method::POST, ["attach", namespace, pod, container]) => {
            remote::attach(request, directory, [namespace, pod, container], &query)
        }
        (&Method::GET | &Method::POST, ["portForward", namespace, pod]) => {
            forward::answer(request, directory, [namespace, pod], &query)
        }
        (_, _) => Err(Refusal(
            StatusCode::NOT_FOUND,
            format!("this node has nothing at {path}"),
        )),
    }
}

fn pods(directory: &Directory) -> Response<Body> {
    let pods: Vec<_> = directory.all().into_iter().map(|entry| (*entry.pod).clone()).collect();
    let list = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods});
    whole(StatusCode::OK, "application/json", list.to_string())
}

fn whole(code: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into())
        .map_err(|never: Infallible| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn streamed(stream: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) -> Response<Body> {
    use futures_util::StreamExt;
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(
        stream.map(|chunk| chunk.map(Frame::data)),
    )));
    let kind = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

impl Refusal {
    fn into_response(self) -> Response<Body> {
        whole(self.0, "text/plain", self.1)
    }
}

/// The pod, or upstream's words for one that is not here.
fn find(directory: &Directory, namespace: &str, pod: &str) -> Result<crate::pods::directory::Entry, Refusal> {
    let missing = || Refusal(StatusCode::NOT_FOUND, "pod does not exist".to_owned());
    directory.get(namespace, pod).ok_or_else(missing)
}
