//! The streaming endpoint: exec, attach and port-forward are asked for on the socket, which answers with an address on the loopback
//! that works once and not for long; there they are carried as the node's face carries them.

use crate::machine::refuse;
use crate::node::face::forward::{self, Target};
use crate::node::face::query::Query;
use crate::node::face::remote::{self, Task};
use crate::node::face::{Body, Refusal};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tonic::Status;

/// How long an address waits for its caller, and how many may wait: upstream's numbers (kubelet/pkg/cri/streaming `requestCache`).
const PATIENCE: Duration = Duration::from_secs(60);
const MOST: usize = 1000;

/// What an address stands for.
pub enum Planned {
    /// A program to run or to join.
    Task(Task),
    /// A pod to connect to.
    Forward(Target),
}

/// All addresses that wait.
pub struct Streams {
    at: SocketAddr,
    waiting: Mutex<BTreeMap<String, (Instant, Planned)>>,
}

impl Streams {
    /// Listens on the loopback for as long as the process lives.
    pub async fn start() -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let streams = Arc::new(Self {
            at: listener.local_addr()?,
            waiting: Mutex::default(),
        });
        tokio::spawn(accept(listener, streams.clone()));
        Ok(streams)
    }

    /// An address for it.
    pub fn add(&self, what: &str, planned: Planned) -> Result<String, Status> {
        let token = super::new_id()?;
        let mut waiting = self.lock();
        waiting.retain(|_, (since, _)| since.elapsed() < PATIENCE);
        if waiting.len() >= MOST {
            return Err(Status::resource_exhausted(
                "maximum number of in-flight requests exceeded",
            ));
        }
        waiting.insert(token.clone(), (Instant::now(), planned));
        Ok(format!("http://{}/{what}/{token}", self.at))
    }

    fn take(&self, path: &str) -> Option<Planned> {
        let (_, token) = path.rsplit_once('/')?;
        let (since, planned) = self.lock().remove(token)?;
        (since.elapsed() < PATIENCE).then_some(planned)
    }

    fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let path = request.uri().path().to_owned();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        match self.take(&path) {
            Some(Planned::Task(task)) => remote::answer(request, task),
            Some(Planned::Forward(target)) => forward::connect(request, target, &query),
            None => Err(Refusal(
                StatusCode::NOT_FOUND,
                "nothing waits here, or not any more".to_owned(),
            )),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, Planned)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, streams: Arc<Streams>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let streams = streams.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, streams).await {
                        tracing::debug!(%error, "a caller of CRI's streams has gone");
                    }
                });
            }
            // Too many open files: others may close theirs.
            Err(error) => {
                tracing::warn!(%error, "a caller of CRI's streams could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, streams: Arc<Streams>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let service = service_fn(move |request: Request<Incoming>| {
        let streams = streams.clone();
        async move {
            let reply = streams.answer(request);
            Ok::<_, Infallible>(reply.unwrap_or_else(Refusal::into_response))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    connection.with_upgrades().await.map_err(io::Error::other)
}

/// Which streams a caller wants, checked as the interface says.
pub fn wanted(stdin: bool, stdout: bool, stderr: bool, tty: bool) -> Result<remote::Wanted, Status> {
    match (stdin || stdout || stderr, tty && stderr) {
        (false, _) => Err(refuse::invalid("one of stdin, stdout, or stderr must be set")),
        (true, true) => Err(refuse::invalid("tty and stderr cannot both be true")),
        (true, false) => Ok(remote::Wanted {
            stdin,
            stdout,
            stderr,
            tty,
        }),
    }
}
