//! A log as WebSocket messages (`binary.k8s.io`, `base64.binary.k8s.io`): pieces of it as they come, then a close.

use super::super::{Body, Refusal, upgrade, websocket};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::io;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

/// The best first; the first is for clients that name none.
const PROTOCOLS: [&str; 3] = ["", "binary.k8s.io", "base64.binary.k8s.io"];

/// Answers, and sends once the connection is a WebSocket.
pub fn answer(request: Request<Incoming>, log: mpsc::Receiver<io::Result<Bytes>>) -> Result<Response<Body>, Refusal> {
    let agreed = upgrade::websocket(request, &PROTOCOLS)?;
    let as_text = agreed.protocol.starts_with("base64");
    tokio::spawn(async move {
        if let Err(error) = send(agreed.upgrade, log, as_text).await {
            tracing::debug!(%error, "a log's WebSocket ended early");
        }
    });
    Ok(agreed.response)
}

async fn send(upgrade: OnUpgrade, mut log: mpsc::Receiver<io::Result<Bytes>>, as_text: bool) -> Result<(), Error> {
    let (mut sink, mut messages) = websocket::open(upgrade).await?.split();
    let message = |bytes: Bytes| match as_text {
        true => Message::Text(BASE64_STANDARD.encode(bytes).into()),
        false => Message::Binary(bytes),
    };
    // An empty one tells the client that the stream stands, as upstream's servers do.
    sink.send(message(Bytes::new())).await?;
    loop {
        tokio::select! {
            piece = log.recv() => match piece {
                Some(Ok(bytes)) => sink.send(message(bytes)).await?,
                Some(Err(_)) | None => break,
            },
            said = messages.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                Some(Ok(_)) => {}
            },
        }
    }
    sink.send(Message::Close(Some(websocket::normal()))).await
}
