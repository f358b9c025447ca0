//! What probes and hooks talk to: real servers on the node's own address, which the test has say what it wants.

use bytes::Bytes;
use config::KeyPair;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use identity::tls;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The node's address.
pub const ADDRESS: &str = "10.77.0.11";

type Reply =
    http::Response<StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>>;

/// One server; it ends with its value.
pub struct Server {
    /// Where it listens.
    pub port: u16,
    /// HTTP's status, or gRPC's health, that it answers with.
    pub says: Arc<AtomicU16>,
    /// Paths, with the headers of each request.
    pub heard: Arc<Mutex<Vec<(String, http::HeaderMap)>>>,
    _runtime: Runtime,
}

impl Server {
    /// Speaks HTTP/1.1 and HTTP/2, over TLS if it has a certificate, and gRPC's health protocol where it is asked for that.
    pub fn start(certificate: Option<&KeyPair>, says: u16) -> Self {
        let runtime = Runtime::new().unwrap();
        let (says, heard) = (Arc::new(AtomicU16::new(says)), Arc::new(Mutex::new(Vec::new())));
        let listener = runtime.block_on(TcpListener::bind((ADDRESS, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = certificate.map(|own| tls::server(own, tls::Callers::Anybody, &["http/1.1"]).unwrap());
        let (answer, hears) = (says.clone(), heard.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer, hears) = (tls.clone(), answer.clone(), hears.clone());
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                        let path = request.uri().path().to_owned();
                        hears.lock().unwrap().push((path.clone(), request.headers().clone()));
                        let says = answer.load(Ordering::Relaxed);
                        async move { Ok::<_, Infallible>(reply(&path, says)) }
                    });
                    let builder = Builder::new(TokioExecutor::new());
                    match tls {
                        None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                                drop(builder.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
        Self {
            port,
            says,
            heard,
            _runtime: runtime,
        }
    }

    pub fn say(&self, what: u16) {
        self.says.store(what, Ordering::Relaxed);
    }
}

fn reply(path: &str, says: u16) -> Reply {
    let body = |frames: Vec<Frame<Bytes>>| {
        StreamBody::new(futures_util::stream::iter(
            frames.into_iter().map(Ok).collect::<Vec<_>>(),
        ))
    };
    if path != "/grpc.health.v1.Health/Check" {
        let mut reply = http::Response::new(body(vec![Frame::data(Bytes::from_static(b"said"))]));
        *reply.status_mut() = says.try_into().unwrap();
        return reply;
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let message = Bytes::from(vec![0, 0, 0, 0, 2, 8, u8::try_from(says).unwrap()]);
    let mut reply = http::Response::new(body(vec![Frame::data(message), Frame::trailers(trailers)]));
    reply
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("application/grpc"));
    reply
}
