//! A program's streams in a WebSocket's channels (`channel.k8s.io` in its versions).

use super::carry::{Caller, carry};
use super::status::Outcome;
use super::{Body, RESIZE, Refusal, STATUS, STDERR, STDIN, STDOUT, Task};
use crate::node::face::websocket::{self, Inbox};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Error;

/// v5: the channel named by the next byte is closed.
const CLOSE: u8 = 255;

/// The best first; the last is for clients that name none.
const PROTOCOLS: [&str; 6] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];

/// Answers; the program starts once the connection is a WebSocket.
pub fn answer(request: Request<Incoming>, task: Task) -> Result<Response<Body>, Refusal> {
    let (agreed, encoding) = websocket::accept(request, &PROTOCOLS)?;
    let protocol = agreed.protocol;
    tokio::spawn(async move {
        if let Err(error) = run(agreed.upgrade, encoding, protocol, task).await {
            tracing::debug!(%error, "a program's connection ended early");
        }
    });
    Ok(agreed.response)
}

async fn run(upgrade: OnUpgrade, encoding: websocket::Encoding, protocol: &str, task: Task) -> Result<(), Error> {
    let socket = websocket::open(upgrade).await?;
    let (inbox, outbox, writer) = websocket::channels(socket, encoding);
    // An empty message tells the client that the streams stand, as upstream's servers do.
    let first = match (task.wanted.stdout, task.wanted.stderr) {
        (true, _) => STDOUT,
        (false, true) => STDERR,
        (false, false) => STATUS,
    };
    let _ = outbox.send((first, Bytes::new())).await;
    let outcome = match task.start().await {
        Ok(exec) => {
            let (input, typed) = mpsc::channel(4);
            let (size, sizes) = mpsc::channel(4);
            let caller = Caller {
                input: typed,
                sizes,
                output: outbox.clone(),
                wanted: task.wanted,
            };
            let outcome = tokio::select! {
                outcome = carry(exec, caller) => outcome,
                () = listen(inbox, input, size) => Ok(None),
            };
            match outcome {
                Ok(Some(code)) => task.outcome(code),
                Ok(None) => return Ok(()),
                Err(error) => Outcome::Failed(error.to_string()),
            }
        }
        Err(why) => Outcome::Failed(why),
    };
    let _ = outbox.send((STATUS, outcome.told(protocol).into())).await;
    drop(outbox);
    let _ = writer.await;
    Ok(())
}

/// Passes on what the caller sends, until it has gone.
async fn listen(mut inbox: Inbox, input: mpsc::Sender<Bytes>, size: mpsc::Sender<Bytes>) {
    let mut input = Some(input);
    while let Some((channel, bytes)) = inbox.next().await {
        match channel {
            STDIN if bytes.is_empty() => {}
            STDIN => {
                if let Some(input) = &input {
                    // Who takes no input any more has ended, and that is told elsewhere.
                    let _ = input.send(bytes).await;
                }
            }
            RESIZE => drop(size.send(bytes).await),
            CLOSE if *bytes == [STDIN] => input = None,
            _ => {}
        }
    }
}
