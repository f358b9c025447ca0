//! Connections: TLS, HTTP/2 and HTTP/1.1, limits that bound slow and dead clients, and an orderly end.

use crate::audit::{AUDIT_ID, Asker, AuditId};
use crate::authenticate::{last_used, move_token};
use crate::body::Payload;
use crate::definitions;
use crate::idle::{Activity, Over, Patience, Watched};
use crate::server::Server;
use crate::user::User;
use crate::{negotiate, reply};
use api::status::{self, Status};
use client::Body;
use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use identity::Subject;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

/// What this server speaks, best first; HTTP/1.1 stays for upgrades.
pub const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// From the first byte to the end of the handshake, and of a request in HTTP/1.1 to the end of its head; the first head counts
/// from the handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// One informer is one stream; a client with all kinds in all namespaces stays below (upstream: 1000 for large bodies' sake).
const STREAMS: u32 = 1000;

/// Of one request's headers in HTTP/2, in bytes: selectors and tokens are long; a request that has more is refused. (Upstream
/// takes a megabyte, which [`STREAMS`] of them would make a gigabyte.)
const HEADERS: u32 = 64 * 1024;

/// Windows large enough that a list is not waiting for acknowledgements on a long line.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// A connection whose other end is gone without a word is noticed after this, twice.
const PING: Duration = Duration::from_secs(30);

/// A connection on which nothing is asked for so long is ended; upstream's `IdleTimeout`.
const IDLE: Duration = Duration::from_secs(90);

/// Files that are not clients' connections: the store's, those towards nodes, and what tells time and signals.
const OTHER_FILES: usize = 512;

/// More connections than this are nobody's clients.
const MOST_CONNECTIONS: usize = 50_000;

/// What is in flight when the server is told to stop gets so long.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves `server` on `listener` until `stop`; then ends watches, lets what is in flight finish, and returns.
pub async fn listen(server: Arc<Server>, listener: TcpListener, tls: Arc<ServerConfig>, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(tokio::sync::Semaphore::new(room_for_connections()));
    let connections = TaskTracker::new();
    connections.spawn(definitions::follow(server.clone()));
    connections.spawn(last_used::follow(server.clone()));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (server, acceptor, stop) = (server.clone(), acceptor.clone(), stop.clone());
        connections.spawn(async move {
            connection(server, acceptor, stream, stop).await;
            drop(permit);
        });
    }
    drop(listener);
    server.stop();
    connections.close();
    info!(connections = connections.len(), "API server stops listening");
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        warn!(
            connections = connections.len(),
            "API server gives up on connections that do not end"
        );
    }
}

/// Connections at once; more wait in the kernel's queue until some end.
fn room_for_connections() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    files.saturating_sub(OTHER_FILES).clamp(OTHER_FILES, MOST_CONNECTIONS)
}

type Accepted = (TcpStream, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, room: &Arc<tokio::sync::Semaphore>) -> Option<Accepted> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(cause) => {
            // Out of file descriptors, most likely: some will be free in a while.
            error!(%cause, "accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn connection(server: Arc<Server>, acceptor: TlsAcceptor, stream: TcpStream, stop: CancellationToken) {
    let address = stream.peer_addr().ok();
    let peer = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    if let Err(cause) = stream.set_nodelay(true) {
        debug!(%peer, %cause, "set TCP_NODELAY");
    }
    let stream = match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(cause)) => return debug!(%peer, %cause, "TLS handshake refused"),
        Err(_) => return debug!(%peer, "TLS handshake took too long"),
    };
    let user = authenticate(
        stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first)
            .map(AsRef::as_ref),
    );
    // Frames of HTTP/2 come on idle connections too; its heads are bounded by its own limits.
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let activity = Arc::new(Activity::new(Patience {
        idle: IDLE,
        head: (!is_http2).then_some(PATIENCE),
    }));
    let asks = activity.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let asked = asks.begin();
        // For `X-Forwarded-For` of what is proxied.
        address.map(|address| request.extensions_mut().insert(address));
        let (server, user) = (server.clone(), user.clone());
        async move { Ok::<_, Infallible>(asked.until_the_end_of(serve(server, user, request).await)) }
    });
    let http = http();
    let stream = TokioIo::new(Watched::new(stream, activity.clone()));
    let connection = http.serve_connection_with_upgrades(stream, service);
    let mut connection = std::pin::pin!(connection);
    let over = async {
        tokio::select! {
            () = stop.cancelled() => Over::Idle,
            over = activity.until_over() => over,
        }
    };
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        over = over => match over {
            Over::Slow => return debug!(%peer, "the head of a request took too long"),
            Over::Idle => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        },
    };
    if let Err(cause) = outcome {
        debug!(%peer, %cause, "connection ended");
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // It runs between requests too; slow heads are ended by [`Activity`].
    http.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    http
}

/// Whom a connection speaks for, if it showed a certificate; the chain of its certificate was verified in the handshake.
fn authenticate(certificate: Option<&[u8]>) -> Result<Option<User>, Status> {
    let Some(der) = certificate else { return Ok(None) };
    match Subject::of(der) {
        Ok(subject) => Ok(Some(User::of_certificate(&subject, der))),
        Err(cause) => {
            warn!(%cause, "client certificate refused");
            Err(status::unauthorized())
        }
    }
}

async fn serve(
    server: Arc<Server>,
    connection: Result<Option<User>, Status>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    move_token(request.headers_mut());
    let path = request.uri().path().to_owned();
    let refusals = negotiate::of_refusal(request.headers());
    let asker = match connection {
        Ok(user) => server
            .authenticator
            .asker(&server.authorizer, user, request.headers(), &path),
        Err(refusal) => Asker::unknown(refusal),
    };
    let id = AuditId::of(request.headers());
    let mut request = request.map(Payload::Streaming);
    request.extensions_mut().insert(id.clone());
    let answer = AssertUnwindSafe(server.answer(asker, request)).catch_unwind();
    let mut response = answer.await.unwrap_or_else(|_| {
        error!(%path, "a request made the server panic");
        let why = "this request met an error in the server; its log says where";
        reply::refusal(refusals, &status::internal(why))
    });
    response.headers_mut().insert(AUDIT_ID, id.0);
    response
}
