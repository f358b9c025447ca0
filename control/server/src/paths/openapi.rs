//! `/openapi/v2`, `/openapi/v3`: what `kubectl explain` and validation in clients read. Documents are built when asked for.

use crate::negotiate::Encoding;
use crate::reply;
use crate::request::RequestInfo;
use crate::server::Server;
use api::status::{self, Status};
use api::{Catalog, openapi};
use client::Body;
use http::{HeaderMap, HeaderValue, Response, header};
use std::sync::Arc;

/// Documents are written in JSON alone.
const OFFERED: &[&str] = &["application/json"];

pub(super) fn serve(
    server: &Arc<Server>,
    rest: &[&str],
    info: &RequestInfo,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    if !takes_json(headers) {
        return Err(status::not_acceptable(OFFERED));
    }
    let catalog = server.catalog();
    match rest {
        ["v2"] => Ok(document(&openapi::v2_document(&catalog), false)),
        ["v3"] => Ok(reply::object(200, Encoding::Json, &openapi::v3_index(&catalog))),
        ["v3", "api", version] => group_version(&catalog, "", version, info),
        ["v3", "apis", group, version] => group_version(&catalog, group, version, info),
        _ => Err(status::no_such_path()),
    }
}

fn group_version(catalog: &Catalog, group: &str, version: &str, info: &RequestInfo) -> Result<Response<Body>, Status> {
    let text = openapi::v3_document(catalog, group, version).ok_or_else(status::no_such_path)?;
    Ok(document(&text, info.query.get("hash").is_some()))
}

/// An address with a hash names one document forever.
fn document(text: &Arc<str>, forever: bool) -> Response<Body> {
    let mut response = reply::json_bytes(200, text.to_string().into());
    if forever {
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Clients that would rather have protobuf take JSON if they say so, or say nothing.
fn takes_json(headers: &HeaderMap) -> bool {
    let mut clauses = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let media_type = |clause: &str| clause.split(';').next().unwrap_or_default().trim().to_owned();
    let first = clauses.next();
    first.is_none_or(|first| {
        std::iter::once(first).chain(clauses).any(|clause| {
            let media_type = media_type(clause);
            // gnostic's protobuf is what kubectl 1.32 names first and alone for v2; an honest Content-Type lets it read JSON.
            matches!(media_type.as_str(), "application/json" | "application/*" | "*/*")
                || media_type.contains("proto-openapi")
        })
    })
}
