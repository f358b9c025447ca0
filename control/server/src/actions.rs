//! What truly knows a kind and is no rule of the kind alone: subresources that act, and how some kinds end.

pub(crate) mod allocation;
pub(crate) mod binding;
pub(crate) mod deletion;
pub(crate) mod eviction;
pub(crate) mod review;
pub(crate) mod scale;
pub(crate) mod token_request;
pub(crate) mod usage;

use crate::call::Call;
use api::Verb;
use api::status::{self, Status};
use bytes::Bytes;
use client::Body;
use http::Response;

/// Answers a get or a list of what is not stored; none if it is.
pub(crate) async fn read(call: &Call) -> Option<Result<Response<Body>, Status>> {
    match call.rules.key {
        "metrics.k8s.io/nodes" => Some(usage::answer(call, false).await),
        "metrics.k8s.io/pods" => Some(usage::answer(call, true).await),
        _ => None,
    }
}

/// Serves a subresource that acts; none if the path names no such one.
pub(crate) async fn act(call: &Call, body: &Bytes) -> Option<Result<Response<Body>, Status>> {
    let known = match (call.rules.key, call.subresource.as_str()) {
        ("pods", "binding") if call.verb == Verb::Create => binding::bind(call, body).await,
        ("bindings", "") => binding::bind_named(call, body).await,
        ("pods", "eviction") if call.verb == Verb::Create => eviction::evict(call, body).await,
        (_, "scale") => scale::write(call, body).await,
        ("serviceaccounts", "token") => token_request::issue(call, body).await,
        (key, "") if review::is_review(key) => review::answer(call, body),
        ("pods", "binding" | "eviction") => Err(status::method_not_allowed()),
        _ => return None,
    };
    Some(known)
}
