//! Port-forward by WebSocket channels: two a port, its data and what goes wrong; the first message of each is the port.

use super::connect::Target;
use super::{Body, Refusal};
use crate::node::face::websocket::{self, Inbox, Outbox};
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Error;

/// The best first; the last is for clients that name none.
const PROTOCOLS: [&str; 3] = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""];
/// Bytes at once.
const CHUNK: usize = 16 << 10;
/// Channels are numbered by a byte, two for each port.
const MOST_PORTS: usize = 100;

/// Answers; forwards once the connection is a WebSocket.
pub fn answer(request: Request<Incoming>, target: Target, mut ports: Vec<u16>) -> Result<Response<Body>, Refusal> {
    let (agreed, encoding) = websocket::accept(request, &PROTOCOLS)?;
    ports.truncate(MOST_PORTS);
    tokio::spawn(async move {
        if let Err(error) = run(agreed.upgrade, encoding, target, ports).await {
            tracing::debug!(%error, "a port-forward ended early");
        }
    });
    Ok(agreed.response)
}

async fn run(upgrade: OnUpgrade, encoding: websocket::Encoding, target: Target, ports: Vec<u16>) -> Result<(), Error> {
    let socket = websocket::open(upgrade).await?;
    let (inbox, outbox, writer) = websocket::channels(socket, encoding);
    let mut inputs = Vec::new();
    let mut forwards = JoinSet::new();
    for (channel, port) in (0_u8..).step_by(2).zip(ports) {
        for channel in [channel, channel + 1] {
            let _ = outbox
                .send((channel, Bytes::copy_from_slice(&port.to_le_bytes())))
                .await;
        }
        let (input, bytes) = mpsc::channel(8);
        inputs.push(input);
        forwards.spawn(forward(target.clone(), port, channel, bytes, outbox.clone()));
    }
    tokio::select! {
        () = async { while forwards.join_next().await.is_some() {} } => {}
        () = listen(inbox, inputs) => forwards.abort_all(),
    }
    drop((outbox, forwards));
    let _ = writer.await;
    Ok(())
}

/// Passes on what the caller sends, until it has gone.
async fn listen(mut inbox: Inbox, inputs: Vec<mpsc::Sender<Bytes>>) {
    while let Some((channel, bytes)) = inbox.next().await {
        if channel % 2 == 0
            && let Some(input) = inputs.get(usize::from(channel / 2))
        {
            // A port whose connection has ended takes nothing more.
            let _ = input.send(bytes).await;
        }
    }
}

async fn forward(target: Target, port: u16, channel: u8, input: mpsc::Receiver<Bytes>, outbox: Outbox) {
    match target.connect(port).await {
        Ok(stream) => copy(stream, channel, input, outbox).await,
        Err(why) => drop(outbox.send((channel + 1, why.into())).await),
    }
}

/// Copies both ways until the pod has said everything.
async fn copy(stream: TcpStream, channel: u8, mut input: mpsc::Receiver<Bytes>, outbox: Outbox) {
    let (mut from_pod, mut to_pod) = stream.into_split();
    let inwards = async {
        while let Some(bytes) = input.recv().await {
            if to_pod.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // Not the connection's end: the pod may have more to say.
        std::future::pending::<()>().await;
    };
    let outwards = async {
        loop {
            let mut bytes = BytesMut::with_capacity(CHUNK);
            match from_pod.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    if outbox.send((channel, bytes.freeze())).await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = inwards => {}
        () = outwards => {}
    }
}
