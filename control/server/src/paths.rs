//! Paths that name no resource: discovery, OpenAPI, version, health, metrics, the store as a whole.

mod discovery;
mod health;
mod issuer;
mod metrics;
mod openapi;
mod store;
mod version;

use crate::body::Payload;
use crate::request::RequestInfo;
use crate::server::Server;
use api::status::{self, Status};
use client::Body;
use http::{HeaderMap, Response};
use std::sync::Arc;

/// Serves one.
pub(crate) async fn serve(
    server: &Arc<Server>,
    info: &RequestInfo,
    headers: &HeaderMap,
    payload: Payload,
) -> Result<Response<Body>, Status> {
    let segments: Vec<&str> = info.path.split('/').filter(|segment| !segment.is_empty()).collect();
    if let ("post", ["pintle", "v1", "store", "restore"]) = (info.method.as_str(), segments.as_slice()) {
        return store::restore(server, payload).await;
    }
    if !matches!(info.method.as_str(), "get" | "head") {
        return Err(match segments.first() {
            Some(&("api" | "apis" | "version")) => status::method_not_allowed(),
            Some(_) | None => status::no_such_path(),
        });
    }
    match segments.as_slice() {
        [] => Ok(discovery::root(server)),
        ["api"] => discovery::core(server, headers),
        ["apis"] => discovery::groups(server, headers),
        ["api", version] => discovery::resources(server, "", version),
        ["apis", group] => discovery::group(server, group),
        ["apis", group, version] => discovery::resources(server, group, version),
        ["openapi", rest @ ..] => openapi::serve(server, rest, info, headers),
        ["pintle", "v1", "store", "snapshot"] => Ok(store::snapshot(server)),
        [".well-known", "openid-configuration"] => Ok(issuer::configuration(server)),
        ["openid", "v1", "jwks"] => Ok(issuer::keys(server)),
        ["version"] => Ok(version::serve()),
        ["metrics"] => Ok(metrics::serve(server)),
        [probe @ ("healthz" | "livez" | "readyz"), rest @ ..] => health::serve(server, probe, rest, &info.query),
        _ => Err(status::no_such_path()),
    }
}
