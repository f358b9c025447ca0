//! A watch as a WebSocket: each event is a message, as text where events are JSON (apiserver pkg/endpoints/handlers/watch.go
//! `HandleWS`). Unlike upstream, whoever names no origin is let in: programs have none.

use crate::negotiate::PROTOBUF;
use crate::reply;
use api::status::{self, Status};
use bytes::{Buf, Bytes};
use client::Body;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tracing::debug;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Clients have nothing to say here but pings and a farewell.
const LONGEST: usize = 4096;

/// Whether a request asks for one.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let has = |name, word| words(headers, name).any(|found| found.eq_ignore_ascii_case(word));
    has(&header::CONNECTION, "upgrade") && has(&header::UPGRADE, "websocket")
}

/// Agrees to a WebSocket and sends on it what `watch` says.
pub(crate) fn carry(watch: Response<Body>, parts: Parts) -> Result<Response<Body>, Status> {
    let mut response = Response::new(reply::whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = agreement(&parts.headers)?;
    let media_type = watch.headers().get(header::CONTENT_TYPE).cloned();
    let is_text = !media_type.is_some_and(|value| value.as_bytes().starts_with(PROTOBUF.as_bytes()));
    let upgrade = hyper::upgrade::on(Request::from_parts(parts, ()));
    tokio::spawn(async move {
        if let Err(cause) = send(upgrade, watch.into_body(), is_text).await {
            debug!(%cause, "a watch's WebSocket ended early");
        }
    });
    Ok(response)
}

/// The reply's headers (RFC 6455, 4.2). Whichever protocol is named, if it is one, is the one.
fn agreement(headers: &HeaderMap) -> Result<HeaderMap, Status> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| status::bad_request("a WebSocket without Sec-WebSocket-Key"))?;
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(status::bad_request("a WebSocket needs Sec-WebSocket-Version: 13"));
    }
    let mut agreed = HeaderMap::new();
    agreed.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    agreed.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accepted) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        agreed.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    }
    let protocols: Vec<&str> = words(headers, &header::SEC_WEBSOCKET_PROTOCOL).collect();
    match protocols.as_slice() {
        [] => {}
        [one] => {
            if let Ok(one) = HeaderValue::from_str(one) {
                agreed.insert(header::SEC_WEBSOCKET_PROTOCOL, one);
            }
        }
        _ => return Err(status::bad_request("a watch's WebSocket names at most one protocol")),
    }
    Ok(agreed)
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

async fn send(upgrade: OnUpgrade, events: Body, is_text: bool) -> Result<(), Error> {
    let upgraded = upgrade.await.map_err(|cause| Error::Io(io::Error::other(cause)))?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits)).await;
    let (sink, from) = socket.split();
    // A client that leaves ends the watch, even while it is being written to.
    tokio::select! {
        sent = tell(sink, events, is_text) => sent,
        left = until_left(from) => left,
    }
}

/// Sends every event; one piece of the watch is read when the one before is on its way.
async fn tell(mut sink: SplitSink<Socket, Message>, mut events: Body, is_text: bool) -> Result<(), Error> {
    while let Some(frame) = events.frame().await {
        let Ok(mut piece) = frame.map_err(Error::Io)?.into_data() else {
            continue;
        };
        while let Some(message) = first(&mut piece, is_text) {
            sink.feed(message).await?;
        }
        sink.flush().await?;
    }
    let end = CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::default(),
    };
    sink.send(Message::Close(Some(end))).await
}

/// What comes is read so that pings are answered and a close is seen, and is nothing else to anybody.
async fn until_left(mut from: SplitStream<Socket>) -> Result<(), Error> {
    while from.next().await.transpose()?.is_some() {}
    Ok(())
}

/// Takes an event off a piece of a watch, which holds whole ones: lines of JSON, or messages behind their lengths.
fn first(piece: &mut Bytes, is_text: bool) -> Option<Message> {
    if is_text {
        let end = piece.iter().position(|byte| *byte == b'\n')?;
        let line = piece.split_to(end + 1);
        return Utf8Bytes::try_from(line).ok().map(Message::Text);
    }
    let length = usize::try_from(piece.try_get_u32().ok()?).ok()?;
    (length <= piece.len()).then(|| Message::Binary(piece.split_to(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_message() {
        let mut lines = Bytes::from_static(b"{\"a\":1}\n{}\n");
        assert_eq!(first(&mut lines, true), Some(Message::text("{\"a\":1}\n")));
        assert_eq!(first(&mut lines, true), Some(Message::text("{}\n")));
        assert_eq!(first(&mut lines, true), None);
        let mut framed = Bytes::from_static(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x09c");
        assert_eq!(first(&mut framed, false), Some(Message::binary(&b"ab"[..])));
        assert_eq!(first(&mut framed, false), Some(Message::binary(&b""[..])));
        assert_eq!(first(&mut framed, false), None);
    }
}
