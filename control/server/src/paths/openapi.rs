//! `/openapi/v2`, `/openapi/v3`: what `kubectl explain` and validation in clients read. Documents are built when asked for.

use crate::negotiate::Encoding;
use crate::protobuf::swagger;
use crate::reply;
use crate::request::RequestInfo;
use crate::server::Server;
use api::status::{self, Status};
use api::{Catalog, openapi};
use bytes::Bytes;
use client::Body;
use http::{HeaderMap, HeaderValue, Response, header};
use std::sync::Arc;

/// Version 2 is written in protobuf too, because Go's clients ask for nothing else.
const OFFERED: &[&str] = &["application/json", swagger::MEDIA_TYPE];

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
        ["v2"] => Ok(v2(&catalog, headers)),
        ["v3"] => Ok(reply::object(200, Encoding::Json, &openapi::v3_index(&catalog))),
        ["v3", "api", version] => group_version(&catalog, "", version, info, headers),
        ["v3", "apis", group, version] => group_version(&catalog, group, version, info, headers),
        _ => Err(status::no_such_path()),
    }
}

fn v2(catalog: &Catalog, headers: &HeaderMap) -> Response<Body> {
    let first = media_types(headers).next().unwrap_or_default();
    if !first.contains("proto-openapi") {
        return match openapi::v2_hash(catalog).filter(|hash| is_known(headers, *hash)) {
            Some(hash) => unchanged(hash),
            None => document(&openapi::v2_document(catalog), false),
        };
    }
    let value = serde_json::from_str(&openapi::v2_document(catalog)).expect("parses because it was just written");
    let mut response = reply::json_bytes(200, swagger::encode(&value).into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(swagger::MEDIA_TYPE));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn group_version(
    catalog: &Catalog,
    group: &str,
    version: &str,
    info: &RequestInfo,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    if let Some(hash) = openapi::v3_hash(catalog, group, version).filter(|hash| is_known(headers, *hash)) {
        return Ok(unchanged(hash));
    }
    let text = openapi::v3_document(catalog, group, version).ok_or_else(status::no_such_path)?;
    Ok(document(&text, info.query.get("hash").is_some()))
}

fn etag(hash: u64) -> String {
    format!("\"{hash:016X}\"")
}

/// Whether the client has the document already.
fn is_known(headers: &HeaderMap, hash: u64) -> bool {
    let has = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    has.is_some_and(|has| {
        has.split(',')
            .any(|one| one.trim().trim_start_matches("W/") == etag(hash))
    })
}

/// 304: what the client has is still so.
fn unchanged(hash: u64) -> Response<Body> {
    let mut response = reply::json_bytes(304, Bytes::new());
    response.headers_mut().remove(header::CONTENT_TYPE);
    tagged(response, hash)
}

fn tagged(mut response: Response<Body>, hash: u64) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(&etag(hash)) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// An address with a hash names one document forever.
fn document(text: &Arc<str>, forever: bool) -> Response<Body> {
    let hash = openapi::fnv1a(text.as_bytes());
    let mut response = reply::json_bytes(200, text.to_string().into());
    if forever {
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
    tagged(response, hash)
}

/// Whether one of the documents' types is named, or none at all.
fn takes_json(headers: &HeaderMap) -> bool {
    let mut named = media_types(headers).peekable();
    named.peek().is_none()
        || named.any(|media_type| {
            matches!(media_type.as_str(), "application/json" | "application/*" | "*/*")
                || media_type.contains("proto-openapi")
        })
}

/// What the client names, in its order.
fn media_types(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let clauses = headers.get_all(header::ACCEPT).iter();
    clauses
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|clause| clause.split(';').next().unwrap_or_default().trim().to_owned())
}
