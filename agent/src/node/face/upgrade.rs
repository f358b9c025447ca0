//! From HTTP to streams: what a request asks to become, which protocol on it, and the reply that agrees.

use super::{Body, Refusal};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What the connection becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RFC 6455.
    WebSocket,
    /// SPDY/3.1.
    Spdy,
}

/// Names what SPDY's streams carry; several, the best first.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// A request that was agreed to: the reply to send, and the connection once it is sent.
pub struct Agreed {
    pub response: Response<Body>,
    pub upgrade: OnUpgrade,
    /// The protocol, one of the server's; empty where the client named none.
    pub protocol: &'static str,
}

/// What a request asks to become; none where it asks for nothing.
pub fn transport(headers: &HeaderMap) -> Option<Transport> {
    if !has_word(headers, &header::CONNECTION, "upgrade") {
        return None;
    }
    if has_word(headers, &header::UPGRADE, "websocket") {
        return Some(Transport::WebSocket);
    }
    has_word(headers, &header::UPGRADE, "spdy/3.1").then_some(Transport::Spdy)
}

/// The same; a request that asks for nothing is refused in upstream's words.
pub fn required(headers: &HeaderMap) -> Result<Transport, Refusal> {
    transport(headers).ok_or_else(|| Refusal(StatusCode::BAD_REQUEST, "Upgrade request required".to_owned()))
}

/// Agrees to a WebSocket that carries the first of the client's protocols that is in `known`; without one, if "" is.
pub fn websocket(mut request: Request<Incoming>, known: &[&'static str]) -> Result<Agreed, Refusal> {
    let headers = request.headers();
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        return Err(Refusal(
            StatusCode::BAD_REQUEST,
            "a WebSocket without Sec-WebSocket-Key".to_owned(),
        ));
    };
    let accepted = derive_accept_key(key.as_bytes());
    let protocol = choose(headers, &header::SEC_WEBSOCKET_PROTOCOL, known, StatusCode::BAD_REQUEST)?;
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accepted);
    if !protocol.is_empty() {
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    agreed(response, &mut request, protocol)
}

/// Agrees to SPDY that carries the first of the client's protocols that is in `known`; without one, if "" is.
pub fn spdy(mut request: Request<Incoming>, known: &[&'static str]) -> Result<Agreed, Refusal> {
    let protocol = choose(request.headers(), &STREAM_PROTOCOL, known, StatusCode::FORBIDDEN)?;
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1");
    if !protocol.is_empty() {
        response = response.header(STREAM_PROTOCOL, protocol);
    }
    agreed(response, &mut request, protocol)
}

fn agreed(
    response: http::response::Builder,
    request: &mut Request<Incoming>,
    protocol: &'static str,
) -> Result<Agreed, Refusal> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed();
    let response = response.body(body);
    Ok(Agreed {
        response: response.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?,
        upgrade: hyper::upgrade::on(request),
        protocol,
    })
}

fn choose(
    headers: &HeaderMap,
    name: &HeaderName,
    known: &[&'static str],
    code: StatusCode,
) -> Result<&'static str, Refusal> {
    let offered: Vec<&str> = words(headers, name).filter(|word| !word.is_empty()).collect();
    let default = if offered.is_empty() { Some("") } else { None };
    let mut wanted = offered.iter().copied().chain(default);
    let found = wanted.find_map(|word| known.iter().find(|known| **known == word));
    found.copied().ok_or_else(|| {
        let (offered, known) = (offered.join(" "), known.join(" "));
        Refusal(
            code,
            format!(
                "unable to upgrade: unable to negotiate protocol: client supports [{offered}], server accepts [{known}]"
            ),
        )
    })
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn has_word(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn what_a_request_asks_to_become() {
        let asked = |pairs: &[(&str, &str)]| transport(&headers(pairs));
        assert_eq!(
            asked(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")]),
            Some(Transport::Spdy)
        );
        assert_eq!(
            asked(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]),
            Some(Transport::WebSocket)
        );
        assert_eq!(asked(&[("upgrade", "websocket")]), None);
        assert_eq!(asked(&[("connection", "Upgrade"), ("upgrade", "h2c")]), None);
    }

    #[test]
    fn the_clients_best_protocol_is_taken() {
        let choose = |offered: &str, known: &[&'static str]| {
            let name = STREAM_PROTOCOL;
            super::choose(
                &headers(&[(name.as_str(), offered)]),
                &name,
                known,
                StatusCode::FORBIDDEN,
            )
        };
        assert_eq!(choose("v5, v4,v3", &["v3", "v4"]).unwrap(), "v4");
        assert_eq!(choose("", &["v4", ""]).unwrap(), "");
        let refusal = choose("v9", &["v4", "v3"]).unwrap_err();
        assert!(
            refusal.1.ends_with("client supports [v9], server accepts [v4 v3]"),
            "{}",
            refusal.1
        );
    }
}
