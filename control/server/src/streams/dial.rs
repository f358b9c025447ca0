//! One request over a connection of its own, its reply, and the bytes after an upgrade.

use crate::body::Payload;
use crate::reply;
use client::Body;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

/// Said between two neighbours of a way, and by nobody further (RFC 9110, 7.6.1); `te` may go on with one word.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Sends a request that is complete, and waits for the head of its reply.
pub(super) async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Body>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(cause) = connection.with_upgrades().await {
            debug!(%cause, "a connection on somebody's behalf ended");
        }
    });
    sender.send_request(request).await
}

/// The client's connection, once it has been answered that it is upgraded.
pub(super) fn upgrade_of(parts: Parts) -> OnUpgrade {
    hyper::upgrade::on(Request::from_parts(parts, ()))
}

/// Answers the client's upgrade as the backend did, with these of its headers, and joins the two.
pub(super) fn splice(client: OnUpgrade, backend: Response<Incoming>, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(reply::whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    tokio::spawn(async move {
        let joined = async {
            let (client, backend) = tokio::try_join!(client, hyper::upgrade::on(backend)).map_err(io::Error::other)?;
            tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(backend)).await
        };
        if let Err(cause) = joined.await {
            debug!(%cause, "a stream on somebody's behalf ended");
        }
    });
    response
}

/// The headers without those that end here.
pub(super) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    let named = headers
        .get_all(header::CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')) {
        passed.remove(name.trim());
    }
    for name in &HOP_BY_HOP {
        passed.remove(name);
    }
    if passed.get(header::TE).is_some_and(|value| value != "trailers") {
        passed.remove(header::TE);
    }
    passed
}

/// A body as it came, to be sent on.
pub(super) fn body(payload: Payload) -> Body {
    match payload {
        Payload::Whole(bytes) => reply::whole(bytes),
        Payload::Streaming(body) => body.map_err(io::Error::other).boxed(),
    }
}

/// Why there is no connection, in the words of Go programs, which people look for.
pub(super) fn words(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_is_said_to_a_neighbour_ends_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("accept", "text/html"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let passed = passed_on(&headers);
        assert_eq!(passed.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
