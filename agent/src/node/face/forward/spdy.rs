//! Port-forward by SPDY: a pair of streams a connection, one for its data, one for what goes wrong (`portforward.k8s.io`).
//!
//! The same frames may come inside a WebSocket's messages (`SPDY/3.1+portforward.k8s.io`, KEP-4006).

use super::connect::Target;
use super::{Body, Refusal, port};
use crate::node::face::spdy::{Connection, Stream};
use crate::node::face::{upgrade, websocket};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use spdy::Reset;
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Half a pair waits so long for the other half: upstream's `DefaultStreamCreationTimeout`.
const PAIRING: Duration = Duration::from_secs(30);
/// A caller that has read everything has so long to close its side.
const CLOSING: Duration = Duration::from_secs(10);
/// Bytes at once.
const CHUNK: usize = 16 << 10;

/// Streams that belong together, as far as they are here.
struct Half {
    data: Option<Stream>,
    error: Option<Stream>,
    port: u16,
    since: Instant,
}

/// Answers; forwards once the connection stands.
pub fn answer(request: Request<Incoming>, target: Target) -> Result<Response<Body>, Refusal> {
    let agreed = upgrade::spdy(request, &[PROTOCOL])?;
    tokio::spawn(async move {
        match agreed.upgrade.await {
            Ok(upgraded) => serve(Connection::new(TokioIo::new(upgraded)), target).await,
            Err(error) => tracing::debug!(%error, "a port-forward ended before it began"),
        }
    });
    Ok(agreed.response)
}

/// The same inside a WebSocket.
pub fn answer_tunnel(request: Request<Incoming>, target: Target) -> Result<Response<Body>, Refusal> {
    let agreed = upgrade::websocket(request, &[TUNNEL])?;
    tokio::spawn(async move {
        match websocket::open(agreed.upgrade).await {
            Ok(socket) => {
                let (inside, outside) = tokio::io::duplex(4 * CHUNK);
                tokio::join!(tunnel(socket, outside), serve(Connection::new(inside), target));
            }
            Err(error) => tracing::debug!(%error, "a port-forward ended before it began"),
        }
    });
    Ok(agreed.response)
}

/// Messages to bytes and back, until either side ends.
async fn tunnel(socket: websocket::Socket, pipe: DuplexStream) {
    let (mut sink, mut messages) = socket.split();
    let (mut read, mut write) = tokio::io::split(pipe);
    let inwards = async {
        while let Some(Ok(message)) = messages.next().await {
            match message {
                Message::Binary(bytes) if write.write_all(&bytes).await.is_err() => break,
                Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = write.shutdown().await;
    };
    let outwards = async {
        loop {
            let mut bytes = BytesMut::with_capacity(CHUNK);
            match read.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    if sink.send(Message::Binary(bytes.freeze())).await.is_err() {
                        return;
                    }
                }
            }
        }
        let _ = sink.send(Message::Close(Some(websocket::normal()))).await;
    };
    tokio::join!(inwards, outwards);
}

/// Pairs streams by their request and forwards each pair, until the caller has gone.
async fn serve(mut connection: Connection, target: Target) {
    let gone = connection.gone();
    let mut halves: HashMap<String, Half> = HashMap::new();
    let mut last = 0;
    loop {
        let oldest = halves.values().map(|half| half.since + PAIRING).min();
        let stream = tokio::select! {
            stream = connection.accept() => stream,
            () = sleep_until(oldest) => {
                for half in halves.extract_if(|_, half| half.since.elapsed() >= PAIRING) {
                    half.1.give_up().await;
                }
                continue;
            }
        };
        let Some(stream) = stream else { break };
        last = stream.id();
        let pair = match pair(&mut halves, stream).await {
            Ok(pair) => pair,
            Err(why) => {
                tracing::debug!(why, "a stream of a port-forward is refused");
                None
            }
        };
        if let Some((data, error, port)) = pair {
            let (target, gone) = (target.clone(), gone.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = forward(data, error, port, &target) => {}
                    () = gone.cancelled() => {}
                }
            });
        }
    }
    connection.close(last).await;
}

/// Takes a stream; the pair, if it completes one.
async fn pair(halves: &mut HashMap<String, Half>, stream: Stream) -> Result<Option<(Stream, Stream, u16)>, String> {
    let (request, port, is_data) = match describe(&stream) {
        Ok(described) => described,
        Err(why) => {
            let _ = stream.reset(Reset::Refused).await;
            return Err(why);
        }
    };
    stream.reply().await.map_err(|gone| gone.to_string())?;
    let half = halves.entry(request.clone()).or_insert_with(|| Half {
        data: None,
        error: None,
        port,
        since: Instant::now(),
    });
    let place = if is_data { &mut half.data } else { &mut half.error };
    if place.is_some() {
        let _ = stream.reset(Reset::InUse).await;
        return Err(format!("request {request} has two streams of one kind"));
    }
    *place = Some(stream);
    if half.data.is_none() || half.error.is_none() {
        return Ok(None);
    }
    let half = halves.remove(&request);
    Ok(half.and_then(|half| Some((half.data?, half.error?, half.port))))
}

/// Its request, its port, and whether it is for data; what is missing is said in upstream's words.
fn describe(stream: &Stream) -> Result<(String, u16, bool), String> {
    let header = |name: &str| stream.header(name).filter(|value| !value.is_empty());
    let required = |name: &str| header(name).ok_or_else(|| format!("{name:?} header is required"));
    let port = port(required("port")?)?;
    let is_data = match required("streamType")? {
        "data" => true,
        "error" => false,
        other => return Err(format!("invalid stream type {other:?}")),
    };
    // Old clients open the error's stream just before the data's and name no request.
    let implied = || {
        if is_data {
            stream.id().saturating_sub(2)
        } else {
            stream.id()
        }
    };
    let request = header("requestID").map_or_else(|| implied().to_string(), str::to_owned);
    Ok((request, port, is_data))
}

async fn forward(mut data: Stream, error: Stream, port: u16, target: &Target) {
    match target.connect(port).await {
        Ok(stream) => copy(&mut data, stream).await,
        Err(why) => {
            let _ = error.send(Bytes::from(why)).await;
            let _ = data.finish().await;
        }
    }
    let _ = error.finish().await;
}

/// Copies both ways until both sides have said everything, or one of them is gone.
async fn copy(data: &mut Stream, stream: TcpStream) {
    let (mut from_pod, mut to_pod) = stream.into_split();
    let mut buffer = BytesMut::with_capacity(CHUNK);
    let (mut pod_speaks, mut caller_speaks) = (true, true);
    while pod_speaks {
        buffer.reserve(CHUNK);
        tokio::select! {
            length = from_pod.read_buf(&mut buffer) => match length {
                Ok(0) | Err(_) => pod_speaks = false,
                Ok(_) => if data.send(buffer.split().freeze()).await.is_err() { return },
            },
            bytes = data.recv(), if caller_speaks => match bytes {
                Ok(Some(bytes)) => if to_pod.write_all(&bytes).await.is_err() { caller_speaks = false },
                Ok(None) => {
                    caller_speaks = false;
                    let _ = to_pod.shutdown().await;
                }
                Err(_) => return,
            },
        }
    }
    let _ = data.finish().await;
    let rest = async {
        while let Ok(Some(bytes)) = data.recv().await {
            if to_pod.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    if caller_speaks {
        let _ = tokio::time::timeout(CLOSING, rest).await;
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

// === impl Half ===

impl Half {
    /// The other half does not come.
    async fn give_up(self) {
        for stream in [self.data, self.error].into_iter().flatten() {
            let _ = stream.reset(Reset::Cancel).await;
        }
    }
}
