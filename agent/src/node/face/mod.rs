//! The node's face on :10250: what the API server asks a node for its users: logs, exec, attach, port-forward, pods; and what
//! programs that watch nodes ask it directly: metrics, statistics, health, configuration.

mod access;
mod configz;
mod files;
pub mod forward;
mod logs;
pub mod metrics;
pub mod on_disk;
pub mod query;
pub mod remote;
mod requests;
mod spdy;
mod summary;
mod upgrade;
pub mod usage;
mod websocket;

use super::{NodeContext, chain, facts};
use crate::pods::directory::Directory;
use access::Access;
use bytes::Bytes;
use client::Transport;
use futures_util::Stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use identity::{Subject, tls};
use query::Query;
use requests::Requests;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A caller that has not finished its handshake by then is none.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// An earlier look at what pods use, from which rates are measured, is none when it is older.
const RECENT: Duration = Duration::from_secs(600);

/// What every reply has.
pub type Body = BoxBody<Bytes, io::Error>;

/// A refusal: a code and one sentence, as upstream's kubelet answers.
#[derive(Debug)]
pub struct Refusal(pub StatusCode, pub String);

/// What every connection needs.
struct Face {
    context: NodeContext,
    directory: Arc<Directory>,
    access: Access,
    requests: Requests,
    /// The last summary's numbers.
    before: Mutex<Option<usage::Usage>>,
}

/// Serves for ever; what fails is logged and tried again.
pub async fn serve(context: NodeContext, transport: Arc<dyn Transport>) {
    let acceptor = loop {
        let ca = &context.secrets.cluster_ca;
        match tls::server(&context.secrets.node, tls::Callers::MayBeOf(ca), &["http/1.1"]) {
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
    let face = Arc::new(Face {
        access: Access::new(transport, &context.config.machine.name),
        directory: context.directory.clone(),
        context,
        requests: Requests::default(),
        before: Mutex::default(),
    });
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (acceptor, face) = (acceptor.clone(), face.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, acceptor, face).await {
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

async fn converse(stream: TcpStream, acceptor: TlsAcceptor, face: Arc<Face>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let subject = certificate.and_then(|certificate| Subject::of(certificate).ok());
    let subject = Arc::new(subject);
    let service = service_fn(move |request: Request<Incoming>| {
        let (face, subject) = (face.clone(), subject.clone());
        async move {
            face.requests.count(request.method(), request.uri().path());
            let reply = face.admit(subject.as_ref().as_ref(), request).await;
            Ok::<_, Infallible>(reply.unwrap_or_else(Refusal::into_response))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    connection.with_upgrades().await.map_err(io::Error::other)
}

// === impl Face ===

impl Face {
    async fn admit(&self, subject: Option<&Subject>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let caller = self.access.caller(subject, request.headers()).await?;
        self.access
            .check(&caller, request.method(), request.uri().path())
            .await?;
        self.answer(request).await
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let directory = &self.directory;
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["healthz"] | ["healthz", "ping" | "log" | "syncloop"]) => {
                Ok(whole(StatusCode::OK, "text/plain", "ok"))
            }
            (&Method::GET, ["pods"]) => Ok(json(&pods(directory))),
            (&Method::GET, ["runningpods"]) => Ok(json(&running_pods(directory))),
            (&Method::GET, ["configz"]) => Ok(json(&configz::document(&self.context))),
            (&Method::GET, ["stats", "summary"]) => Ok(json(&self.summary(query.is_set("only_cpu_and_memory")).await)),
            (&Method::GET, ["metrics", rest @ ..]) => self.metrics(rest).await.ok_or_else(|| nothing_at(&path)),
            (&Method::GET, ["logs", ..]) => files::answer(&self.context.paths.logs, &path).await,
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
            (_, _) => Err(nothing_at(&path)),
        }
    }

    async fn metrics(&self, which: &[&str]) -> Option<Response<Body>> {
        let usage = usage::look(&self.directory, &self.context.paths);
        let text = match which {
            [] => {
                let node = &self.context.config.machine.name;
                metrics::kubelet(
                    &usage.await,
                    &self.directory.starts,
                    node,
                    facts::KUBELET,
                    &self.requests,
                )
            }
            ["cadvisor"] => {
                let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
                let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
                metrics::cadvisor(&usage.await, kernel.trim(), cpus)
            }
            ["probes"] => metrics::probes(&self.directory.probes),
            ["resource"] => metrics::resource(&usage.await),
            _ => return None,
        };
        Some(whole(StatusCode::OK, metrics::CONTENT_TYPE, text))
    }

    async fn summary(&self, only_cpu_and_memory: bool) -> Value {
        let usage = usage::look(&self.directory, &self.context.paths).await;
        let mut before = self
            .before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(usage.clone());
        before = before.filter(|before| {
            SystemTime::now()
                .duration_since(before.at)
                .is_ok_and(|age| age < RECENT)
        });
        let (paths, node) = (self.context.paths.clone(), self.context.config.machine.name.clone());
        let drivers = self.context.drivers.clone();
        let written = tokio::task::spawn_blocking(move || {
            let summary = summary::Summary {
                usage: &usage,
                before: before.as_ref(),
                paths: &paths,
                drivers: &drivers,
                node: &node,
            };
            summary.document(only_cpu_and_memory)
        });
        written.await.unwrap_or_default()
    }
}

fn nothing_at(path: &str) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, format!("this node has nothing at {path}"))
}

fn pods(directory: &Directory) -> Value {
    let pods: Vec<_> = directory.all().into_iter().map(|entry| (*entry.pod).clone()).collect();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
}

/// What runs, in as much of pods as the node knows without the API.
fn running_pods(directory: &Directory) -> Value {
    let running = directory.all().into_iter().filter(|entry| entry.sandbox.is_some());
    let pods = running.map(|entry| {
        let containers = entry.running.iter().map(|name| {
            let image = crate::pods::container_of(&entry.pod, name).and_then(|container| container.image.clone());
            json!({"name": name, "image": image.unwrap_or_default(), "resources": {}})
        });
        let containers: Vec<Value> = containers.collect();
        let (namespace, name) = entry.names();
        json!({
            "metadata": {"name": name, "namespace": namespace, "uid": entry.pod.metadata.uid},
            "spec": {"containers": containers}, "status": {},
        })
    });
    let pods: Vec<Value> = pods.collect();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
}

fn json(document: &Value) -> Response<Body> {
    whole(StatusCode::OK, "application/json", document.to_string())
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
    /// The reply that says so.
    pub fn into_response(self) -> Response<Body> {
        whole(self.0, "text/plain", self.1)
    }
}

/// The pod, or upstream's words for one that is not here.
fn find(directory: &Directory, namespace: &str, pod: &str) -> Result<crate::pods::directory::Entry, Refusal> {
    let missing = || Refusal(StatusCode::NOT_FOUND, "pod does not exist".to_owned());
    directory.get(namespace, pod).ok_or_else(missing)
}
