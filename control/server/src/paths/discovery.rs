//! `/`, `/api`, `/apis` and below: what is served, one by one or aggregated in one document (KEP-3352).

use crate::negotiate::Encoding;
use crate::reply;
use crate::server::Server;
use api::discovery;
use api::status::{self, Status};
use client::Body;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Value, json};
use std::sync::Arc;

/// Versions of the aggregated document, best first; each is answered exactly as it was asked for.
const AGGREGATED: [(&str, &str); 2] = [
    (
        "v=v2",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    ),
    (
        "v=v2beta1",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    ),
];

pub(super) fn root(server: &Arc<Server>) -> Response<Body> {
    let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).to_vec();
    for (group, versions) in discovery::groups(&server.catalog()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.extend(
        [
            "/healthz",
            "/livez",
            "/metrics",
            "/openapi/v2",
            "/openapi/v3",
            "/readyz",
            "/version",
        ]
        .map(str::to_owned),
    );
    reply::object(200, Encoding::Json, &json!({ "paths": paths }))
}

pub(super) fn core(server: &Arc<Server>, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    Ok(aggregated_or(
        headers,
        || discovery::aggregated_core(&server.catalog()),
        || discovery::api_versions(&server.address),
    ))
}

pub(super) fn groups(server: &Arc<Server>, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    Ok(aggregated_or(
        headers,
        || discovery::aggregated_groups(&server.catalog()),
        || discovery::api_group_list(&server.catalog()),
    ))
}

pub(super) fn group(server: &Arc<Server>, group: &str) -> Result<Response<Body>, Status> {
    found(discovery::api_group(&server.catalog(), group))
}

pub(super) fn resources(server: &Arc<Server>, group: &str, version: &str) -> Result<Response<Body>, Status> {
    found(discovery::api_resource_list(&server.catalog(), group, version))
}

fn found(document: Option<Value>) -> Result<Response<Body>, Status> {
    document
        .map(|document| reply::object(200, Encoding::Json, &document))
        .ok_or_else(status::no_such_path)
}

fn aggregated_or(
    headers: &HeaderMap,
    aggregated: impl FnOnce() -> Value,
    plain: impl FnOnce() -> Value,
) -> Response<Body> {
    let mut response = match asked(headers) {
        Some((version, media_type)) => {
            let mut document = aggregated();
            document["apiVersion"] = format!("apidiscovery.k8s.io/{}", version.trim_start_matches("v=")).into();
            reply::of(200, media_type, reply::whole(document.to_string()))
        }
        None => reply::object(200, Encoding::Json, &plain()),
    };
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn asked(headers: &HeaderMap) -> Option<(&'static str, &'static str)> {
    let accept = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accept.flat_map(|value| value.split(',')).find_map(|clause| {
        let parts: Vec<&str> = clause.split(';').map(str::trim).collect();
        let ours = parts.first() == Some(&"application/json")
            && parts.contains(&"g=apidiscovery.k8s.io")
            && parts.contains(&"as=APIGroupDiscoveryList");
        ours.then(|| AGGREGATED.into_iter().find(|(version, _)| parts.contains(version)))
            .flatten()
    })
}
