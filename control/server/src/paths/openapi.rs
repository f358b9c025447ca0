//! `/openapi/v2`, `/openapi/v3`: what `kubectl explain` and client-side validation read.

use crate::request::RequestInfo;
use api::status::{self, Status};
use client::Body;
use http::{HeaderMap, Response};

pub(super) fn serve(_rest: &[&str], _info: &RequestInfo, _headers: &HeaderMap) -> Result<Response<Body>, Status> {
    Err(status::no_such_path())
}
