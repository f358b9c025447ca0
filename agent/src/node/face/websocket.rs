//! Numbered channels in a WebSocket (`channel.k8s.io` and its like): the first byte of each message names the channel.

use super::Refusal;
use super::upgrade::{self, Agreed};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// A connection that has become a WebSocket.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;
/// Takes what is to be sent, by channel.
pub type Outbox = mpsc::Sender<(u8, Bytes)>;

/// How bytes stand in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are, behind a byte.
    Binary,
    /// As text, behind a digit.
    Base64,
}

/// The receiving side.
pub struct Inbox {
    from: SplitStream<Socket>,
    encoding: Encoding,
}

/// Messages on their way out.
const WAITING: usize = 8;

/// Agrees to a WebSocket; which protocol, and how bytes stand in it.
pub fn accept(request: Request<Incoming>, known: &[&'static str]) -> Result<(Agreed, Encoding), Refusal> {
    let agreed = upgrade::websocket(request, known)?;
    let encoding = match agreed.protocol.contains("base64") {
        true => Encoding::Base64,
        false => Encoding::Binary,
    };
    Ok((agreed, encoding))
}

/// The WebSocket, once the reply is sent.
pub async fn open(upgrade: OnUpgrade) -> Result<Socket, Error> {
    let upgraded = upgrade.await.map_err(|error| Error::Io(std::io::Error::other(error)))?;
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await)
}

/// Both sides of a WebSocket's channels. The task ends the WebSocket when all outboxes are dropped.
pub fn channels(socket: Socket, encoding: Encoding) -> (Inbox, Outbox, JoinHandle<()>) {
    let (sink, from) = socket.split();
    let (outbox, messages) = mpsc::channel(WAITING);
    let writer = tokio::spawn(async move {
        if let Err(error) = send(sink, messages, encoding).await {
            tracing::debug!(%error, "a WebSocket ended early");
        }
    });
    (Inbox { from, encoding }, outbox, writer)
}

async fn send(
    mut sink: SplitSink<Socket, Message>,
    mut messages: mpsc::Receiver<(u8, Bytes)>,
    encoding: Encoding,
) -> Result<(), Error> {
    while let Some((channel, bytes)) = messages.recv().await {
        sink.send(message(channel, &bytes, encoding)).await?;
    }
    sink.send(Message::Close(Some(normal()))).await
}

/// A close without a code is an error to kubectl (RFC 6455, 7.4.1: 1000 is a normal end).
pub fn normal() -> CloseFrame {
    CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::default(),
    }
}

fn message(channel: u8, bytes: &[u8], encoding: Encoding) -> Message {
    match encoding {
        Encoding::Binary => {
            let mut message = BytesMut::with_capacity(bytes.len() + 1);
            message.put_u8(channel);
            message.put_slice(bytes);
            Message::Binary(message.freeze())
        }
        Encoding::Base64 => {
            let mut text = String::from(char::from(b'0' + channel % 10));
            BASE64_STANDARD.encode_string(bytes, &mut text);
            Message::Text(text.into())
        }
    }
}

// === impl Inbox ===

impl Inbox {
    /// The next message, by channel; nothing at the end of the connection. Safe to cancel.
    pub async fn next(&mut self) -> Option<(u8, Bytes)> {
        loop {
            let bytes = match self.from.next().await? {
                Ok(Message::Binary(bytes)) => bytes,
                Ok(Message::Text(text)) => Bytes::from(text),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => continue,
            };
            if let Some(message) = read(&bytes, self.encoding) {
                return Some(message);
            }
        }
    }
}

/// None for what is no message.
fn read(bytes: &Bytes, encoding: Encoding) -> Option<(u8, Bytes)> {
    let (&first, rest) = bytes.split_first()?;
    match encoding {
        Encoding::Binary => Some((first, bytes.slice(1..))),
        Encoding::Base64 => Some((first.checked_sub(b'0')?, BASE64_STANDARD.decode(rest).ok()?.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_in_both_encodings() {
        for encoding in [Encoding::Binary, Encoding::Base64] {
            let bytes = message(3, b"what", encoding).into_data();
            assert_eq!(read(&bytes, encoding), Some((3, Bytes::from_static(b"what"))));
            assert_eq!(read(&Bytes::new(), encoding), None);
        }
        assert_eq!(message(1, b"hi", Encoding::Base64), Message::Text("1aGk=".into()));
        assert_eq!(read(&Bytes::from_static(b"0%%"), Encoding::Base64), None);
    }
}
