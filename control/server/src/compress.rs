//! Large replies are sent in gzip to clients that take it (apiserver endpoints/handlers/responsewriters/writers.go).

use crate::reply;
use bytes::{Bytes, BytesMut};
use client::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt;
use std::io::{self, Write};

/// Smaller replies, in bytes, are not worth the work; upstream's threshold.
const THRESHOLD: usize = 128 * 1024;

/// Upstream's level: three quarters of the size go for little work.
const LEVEL: u32 = 1;

/// Whether a client takes gzip.
pub fn is_taken(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|clause| clause.trim() == "gzip")
}

/// The same reply in gzip, if it is large. Waits until that is known.
pub async fn gzip(response: Response<Body>) -> Response<Body> {
    let (mut parts, mut body) = response.into_parts();
    let mut begun = BytesMut::new();
    while begun.len() < THRESHOLD {
        match body.frame().await {
            None => return Response::from_parts(parts, reply::whole(begun.freeze())),
            Some(Ok(frame)) => begun.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Some(Err(cause)) => {
                let broken = futures_util::stream::iter([Ok(begun.freeze()), Err(cause)]);
                return Response::from_parts(parts, reply::breakable(broken));
            }
        }
    }
    let headers = &mut parts.headers;
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.remove(header::CONTENT_LENGTH);
    let packing = Packing {
        begun: Some(begun.freeze()),
        body,
        encoder: GzEncoder::new(Vec::new(), Compression::new(LEVEL)),
    };
    let pieces = futures_util::stream::unfold(Some(packing), |packing| async move {
        match packing?.next().await {
            Ok((bytes, rest)) => Some((Ok(bytes), rest)),
            Err(cause) => Some((Err(cause), None)),
        }
    });
    Response::from_parts(parts, reply::breakable(pieces))
}

/// A body on its way through the encoder.
struct Packing {
    begun: Option<Bytes>,
    body: Body,
    encoder: GzEncoder<Vec<u8>>,
}

impl Packing {
    /// The next compressed bytes, and what comes after them.
    async fn next(mut self) -> io::Result<(Bytes, Option<Packing>)> {
        loop {
            let piece = match self.begun.take() {
                Some(begun) => begun,
                None => match self.body.frame().await {
                    None => return Ok((self.encoder.finish()?.into(), None)),
                    Some(frame) => frame?.into_data().unwrap_or_default(),
                },
            };
            self.encoder.write_all(&piece)?;
            let ready = std::mem::take(self.encoder.get_mut());
            if !ready.is_empty() {
                return Ok((ready.into(), Some(self)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    async fn sent(body: Body) -> (bool, Vec<u8>) {
        let response = gzip(Response::new(body)).await;
        let packed = response.headers().contains_key(header::CONTENT_ENCODING);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        if !packed {
            return (false, bytes.to_vec());
        }
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
        (true, plain)
    }

    #[tokio::test]
    async fn large_replies_are_packed_and_come_back_whole() {
        let piece = Bytes::from("0123456789abcdef".repeat(4096));
        for (pieces, packed) in [(1, false), (2, true), (40, true)] {
            let body = reply::streaming(futures_util::stream::iter(vec![piece.clone(); pieces]));
            assert_eq!(sent(body).await, (packed, piece.repeat(pieces)), "{pieces}");
        }
    }

    #[test]
    fn only_who_asks_gets_it() {
        for (value, taken) in [("gzip", true), ("br, gzip", true), ("identity", false), ("", false)] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())]);
            assert_eq!(is_taken(&headers), taken, "{value}");
        }
    }
}
