//! The WebSocket side of exec: the handshake, and Kubernetes' channels in its frames
//! (`v4.channel.k8s.io`, `v5.channel.k8s.io`: the first byte of each message names the stream).

use super::{Body, Refusal};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Standard input, to the program.
pub const STDIN: u8 = 0;
/// Standard output, or all of a terminal's.
pub const STDOUT: u8 = 1;
/// Standard error.
pub const STDERR: u8 = 2;
/// How it ended: a Status.
pub const STATUS: u8 = 3;
/// The terminal's size, JSON.
pub const RESIZE: u8 = 4;
/// v5: the channel named by the next byte is closed.
pub const CLOSE: u8 = 255;

/// Subprotocols, the best first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// Accepts the handshake: the reply to send, and the connection once it is sent.
pub fn accept(mut request: Request<Incoming>) -> Result<(Response<Body>, OnUpgrade), Refusal> {
    let refuse = |message: String| Refusal(StatusCode::BAD_REQUEST, message);
    let headers = request.headers();
    let upgrades = has_word(headers, header::CONNECTION, "upgrade") && has_word(headers, header::UPGRADE, "websocket");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| upgrades);
    let Some(key) = key else {
        return Err(refuse(
            "exec needs a WebSocket: this request does not ask for one".to_owned(),
        ));
    };
    let accepted = derive_accept_key(key.as_bytes());
    let offered = || {
        headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
    };
    let is_offered = |name: &&&str| {
        offered()
            .flat_map(|value| value.split(','))
            .any(|word| word.trim() == **name)
    };
    let Some(protocol) = PROTOCOLS.iter().find(is_offered) else {
        let offered = offered().collect::<Vec<_>>().join(", ");
        return Err(refuse(format!(
            "this node speaks {}, not {offered:?}",
            PROTOCOLS.join(" and ")
        )));
    };
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accepted)
        .header(header::SEC_WEBSOCKET_PROTOCOL, *protocol)
        .body(Empty::<Bytes>::new().map_err(|never| match never {}).boxed());
    let response = response.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok((response, hyper::upgrade::on(&mut request)))
}

fn has_word(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name);
    let mut words = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
}
