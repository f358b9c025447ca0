//! One question of gRPC's health protocol (grpc.health.v1.Health/Check) over HTTP/2 without TLS.
//!
//! Written by hand: one message of one field each way, for which a generated client would be the larger part.

use super::dial;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// What a health service says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// `SERVING`.
    Serving,
    /// Another state, by upstream's name.
    Other(&'static str),
    /// There is no health service, or it does not know the service: gRPC's code and message.
    Refused(u32, String),
}

/// The greatest answer that is read; a right one has seven bytes.
const MOST: usize = 4096;

/// Asks for a service's health, with an empty name for the server's. An error means that nobody spoke gRPC there.
pub async fn check(host: &str, port: u16, service: &str) -> Result<Health, String> {
    let stream = dial::connect(host, port).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| crate::node::chain(&error))?;
    tokio::spawn(connection);
    let authority = dial::authority(host, port);
    let request = http::Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(question(service)))
        .map_err(|error| error.to_string())?;
    let reply = sender
        .send_request(request)
        .await
        .map_err(|error| crate::node::chain(&error))?;
    let (head, mut body) = reply.into_parts();
    let (mut data, mut trailers) = (BytesMut::new(), head.headers);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| crate::node::chain(&error))?;
        match frame.into_data() {
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
        if data.len() > MOST {
            return Err("the answer is too long".to_owned());
        }
    }
    answer(head.status.as_u16(), &trailers, &data)
}

/// HealthCheckRequest: field 1, the service; in front of it gRPC's flag and length.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        prost::encoding::string::encode(1, &service.to_owned(), &mut message);
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
    framed.extend_from_slice(&message);
    framed.freeze()
}

/// HealthCheckResponse: field 1, an enum.
fn answer(status: u16, trailers: &HeaderMap, data: &[u8]) -> Result<Health, String> {
    let text = |name: &str| {
        trailers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    if status != 200 {
        return Err(format!("unexpected HTTP status code received from server: {status}"));
    }
    match text("grpc-status").parse::<u32>() {
        Ok(0) => {}
        Ok(code) => return Ok(Health::Refused(code, text("grpc-message").to_owned())),
        Err(_) => return Err("server closed the stream without sending trailers".to_owned()),
    }
    // Flag and length, then the field's key and the value; an absent field is 0.
    let state = match data.get(5..).unwrap_or_default() {
        [] => 0,
        [0x08, state] => *state,
        _ => return Err("the answer is no HealthCheckResponse".to_owned()),
    };
    Ok(match state {
        1 => Health::Serving,
        2 => Health::Other("NOT_SERVING"),
        3 => Health::Other("SERVICE_UNKNOWN"),
        _ => Health::Other("UNKNOWN"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let trailers = |status: &str| {
            let mut map = HeaderMap::new();
            map.insert("grpc-status", status.parse().unwrap());
            map.insert("grpc-message", "why".parse().unwrap());
            map
        };
        assert_eq!(answer(200, &trailers("0"), &[0, 0, 0, 0, 2, 8, 1]), Ok(Health::Serving));
        assert_eq!(
            answer(200, &trailers("0"), &[0, 0, 0, 0, 2, 8, 2]),
            Ok(Health::Other("NOT_SERVING"))
        );
        assert_eq!(
            answer(200, &trailers("0"), &[0, 0, 0, 0, 0]),
            Ok(Health::Other("UNKNOWN"))
        );
        assert_eq!(
            answer(200, &trailers("12"), &[]),
            Ok(Health::Refused(12, "why".to_owned()))
        );
        assert!(answer(404, &HeaderMap::new(), &[]).is_err());
        assert!(answer(200, &HeaderMap::new(), &[]).is_err());
    }
}
