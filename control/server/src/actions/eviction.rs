//! POST pods/NAME/eviction: a delete that budgets may refuse; there are no budgets yet.

use crate::call::Call;
use crate::options::DeleteOptions;
use crate::verbs::delete_object;
use crate::{body, reply};
use api::status::{self, Status};
use api::{metadata, read};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::json;

/// Evicts.
pub(crate) async fn evict(call: &Call, bytes: &Bytes) -> Result<Response<Body>, Status> {
    let eviction = body::decode(body::media_type(&call.headers), bytes)?.value;
    let named = metadata::name(&eviction);
    if !named.is_empty() && named != call.name {
        return Err(status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut options = DeleteOptions::of(&call.query, read::some(&eviction, "/deleteOptions"))?;
    options.dry_run |= call.query.get("dryRun").is_some();
    delete_object(call, &options).await?;
    let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(reply::object(201, call.accepted.encoding, &success))
}
