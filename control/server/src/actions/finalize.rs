//! PUT namespaces/NAME/finalize: takes the finalizers of the spec away, and with the last one a namespace that is being deleted.

use crate::call::Call;
use crate::verbs;
use api::status::Status;
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::Value;

/// Writes `spec.finalizers`.
pub(crate) async fn finalize(call: &Call, body: Bytes) -> Result<Response<Body>, Status> {
    verbs::update(call, body).await
}

/// The finalizers change only through this subresource, and this subresource changes nothing else.
pub(crate) fn before_update(call: &Call, new: &mut Value, old: &Value) {
    let finalizers = |of: &Value| {
        of.pointer("/spec/finalizers")
            .cloned()
            .unwrap_or(Value::Array(Vec::new()))
    };
    if call.subresource == "finalize" {
        let asked = finalizers(new);
        let metadata = new["metadata"].take();
        *new = old.clone();
        new["metadata"] = metadata;
        new["spec"]["finalizers"] = asked;
    } else {
        new["spec"]["finalizers"] = finalizers(old);
    }
}
