//! The documents by which others check this cluster's service-account tokens (OpenID Connect Discovery 1.0).

use crate::reply;
use crate::server::Server;
use client::Body;
use http::{HeaderValue, Response, header};

/// Keys change with the cluster's secrets, which is rarely; upstream's lifetime.
const LIFETIME: HeaderValue = HeaderValue::from_static("public, max-age=3600");

pub(super) fn configuration(server: &Server) -> Response<Body> {
    let document = server.authenticator.tokens.discovery(&server.address);
    cacheable(reply::of(200, "application/json", reply::whole(document.to_string())))
}

pub(super) fn keys(server: &Server) -> Response<Body> {
    let document = server.authenticator.tokens.key_set();
    cacheable(reply::of(
        200,
        "application/jwk-set+json",
        reply::whole(document.to_string()),
    ))
}

fn cacheable(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, LIFETIME);
    response
}
