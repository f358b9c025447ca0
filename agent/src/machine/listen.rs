//! The listening side: TLS, who calls, and whether they may, before any call is looked at.

use super::roles::{self, Call};
use http::{Request, Response};
use identity::tls::TlsError;
use identity::{Role, Subject};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tower::{Layer, Service};

/// A client that does not finish its handshake in this time is no client; a slow one under emulation took half a second.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Notices followers whose machine lost its power.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Answers on their way get this long when the API ends; streams are cut.
const DRAIN: Duration = Duration::from_secs(2);

/// Who gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// By the role in the certificate.
    Roles,
    /// Anybody, for the calls of maintenance.
    Maintenance,
}

/// A served API; it ends with [`Api::end`]. Dropped, it serves for good.
pub struct Api {
    /// Where it listens; a test lets the kernel choose the port.
    #[cfg_attr(not(test), allow(dead_code))]
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

/// Why it is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Bad certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port is taken.
    #[error("listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// It ended while it was needed.
    #[error("the machine API ended")]
    Ended,
}

/// Listens and serves in tasks of the current runtime.
pub async fn serve(address: SocketAddr, tls: Arc<ServerConfig>, gate: Gate, routes: Routes) -> Result<Api, ServeError> {
    let listen = |cause| ServeError::Listen { address, cause };
    let listener = bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let (sessions, incoming) = mpsc::channel(8);
    let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(tls), sessions));
    let (stop, stopped) = oneshot::channel();
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .layer(GateLayer(gate))
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), async move {
            if stopped.await.is_err() {
                // The handle was dropped: serve for good.
                std::future::pending::<()>().await;
            }
            accepting.abort();
        });
    let task = tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!("machine API: {error}");
        }
    });
    tracing::info!(%address, "machine API listens");
    Ok(Api { address, stop, task })
}

/// IPv6 with IPv4 in it; IPv4 alone where the kernel has no IPv6.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(cause) if address.is_ipv6() && cause.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, sessions: mpsc::Sender<io::Result<Session>>) {
    loop {
        let (tcp, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: others must end first.
                tracing::warn!("accept a caller of the machine API: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, sessions) = (tls.clone(), sessions.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, handshake(&tls, tcp)).await {
                // Nobody takes it: the API is ending.
                Ok(Ok(session)) => drop(sessions.send(Ok(session)).await),
                Ok(Err(error)) => tracing::info!(%peer, "caller of the machine API refused: {error}"),
                Err(_) => tracing::info!(%peer, "caller of the machine API did not finish its handshake"),
            }
        });
    }
}

async fn handshake(tls: &TlsAcceptor, tcp: TcpStream) -> io::Result<Session> {
    tcp.set_nodelay(true)?;
    let tls = tls.accept(tcp).await?;
    let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let caller = shown.and_then(|der| Subject::of(der).ok()).map(|subject| Caller {
        role: Role::highest(subject.organizations.iter().map(String::as_str)),
        name: subject.common_name,
    });
    Ok(Session { tls, caller })
}

/// Decides about one call.
fn admit(gate: Gate, path: &str, caller: Option<&Caller>) -> Result<(), Status> {
    let unknown = || {
        Status::unimplemented(format!(
            "this machine knows no call {path}; your pintlectl may be newer than it"
        ))
    };
    let Call {
        name,
        least,
        in_maintenance,
    } = roles::call(path).ok_or_else(unknown)?;
    match (gate, caller) {
        (Gate::Maintenance, _) if *in_maintenance => Ok(()),
        (Gate::Maintenance, _) => Err(Status::failed_precondition(format!(
            "{name} does not answer in maintenance: apply a machine config first"
        ))),
        (Gate::Roles, Some(Caller { role: Some(role), .. })) if role >= least => Ok(()),
        (
            Gate::Roles,
            Some(Caller {
                name: caller,
                role: Some(role),
            }),
        ) => Err(Status::permission_denied(format!(
            "{name} needs the role {least}, your certificate ({caller}) has {role}"
        ))),
        (
            Gate::Roles,
            Some(Caller {
                name: caller,
                role: None,
            }),
        ) => Err(Status::permission_denied(format!(
            "{name} needs the role {least}, your certificate ({caller}) has no role"
        ))),
        (Gate::Roles, None) => Err(Status::unauthenticated(format!(
            "{name} needs the role {least}, you showed no certificate"
        ))),
    }
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Caller {
    /// CN.
    pub name: String,
    /// Highest of the certificate.
    pub role: Option<Role>,
}

/// One caller's connection.
struct Session {
    tls: TlsStream<TcpStream>,
    caller: Option<Caller>,
}

#[derive(Clone)]
struct GateLayer(Gate);

#[derive(Clone)]
struct Gated<S> {
    gate: Gate,
    inner: S,
}

// === impl Api ===

impl Api {
    /// Stops listening; calls under way get two seconds.
    pub async fn end(self) {
        let _ = self.stop.send(());
        let mut task = self.task;
        if tokio::time::timeout(DRAIN, &mut task).await.is_err() {
            task.abort();
        }
    }
}

// === impl Session ===

impl Connected for Session {
    type ConnectInfo = Option<Caller>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.caller.clone()
    }
}

impl AsyncRead for Session {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Session {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

// === impl GateLayer ===

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.0, inner }
    }
}

// === impl Gated ===

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Option<Caller>>().and_then(Option::as_ref);
        let path = request.uri().path();
        match admit(self.gate, path, caller) {
            Ok(()) => {
                tracing::debug!(
                    path,
                    caller = caller.map(|caller| caller.name.as_str()),
                    "machine API call"
                );
                Box::pin(self.inner.call(request))
            }
            Err(refusal) => {
                tracing::info!(
                    path,
                    caller = caller.map(|caller| caller.name.as_str()),
                    "{}",
                    refusal.message()
                );
                Box::pin(std::future::ready(Ok(refusal.into_http())))
            }
        }
    }
}
