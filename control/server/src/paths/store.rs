//! `/pintle/v1/store/snapshot` and `/pintle/v1/store/restore`: everything out, and back in; on a live server.

use crate::body::Payload;
use crate::reply;
use crate::server::Server;
use api::status::{self, Status};
use client::Body;
use futures_util::stream;
use http::Response;
use http_body_util::BodyExt;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use store::{WriteError, snapshot};

/// Between two pieces of a snapshot that is sent to us; who is slower has gone.
const PIECE_DEADLINE: Duration = Duration::from_secs(60);

/// All live objects as they are now, encrypted where they are kept encrypted.
pub(super) fn snapshot(server: &Arc<Server>) -> Response<Body> {
    reply::of(
        200,
        "application/octet-stream",
        reply::streaming(stream::iter(server.store.snapshot())),
    )
}

/// Makes the store hold what the snapshot in the body holds; refused whole unless all of it is good.
pub(super) async fn restore(server: &Arc<Server>, payload: Payload) -> Result<Response<Body>, Status> {
    let refused = |cause: snapshot::SnapshotError| status::bad_request(cause.to_string());
    let mut reader = snapshot::Reader::default();
    match payload {
        Payload::Whole(bytes) => reader.push(&bytes).map_err(refused)?,
        Payload::Streaming(mut body) => loop {
            let frame = tokio::time::timeout(PIECE_DEADLINE, body.frame())
                .await
                .map_err(|_| status::timeout("no piece of the snapshot came within a minute"))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|cause| status::bad_request(format!("read the snapshot: {cause}")))?;
            if let Some(bytes) = frame.data_ref() {
                reader.push(bytes).map_err(refused)?;
            }
        },
    }
    let restored = server.store.restore(reader.finish().map_err(refused)?).await;
    let restored = restored.map_err(|cause| match cause {
        WriteError::Sealed(cause) => status::bad_request(format!("restore the snapshot: {cause}")),
        cause => status::internal(&cause),
    })?;
    let summary = json!({ "written": restored.written, "deleted": restored.deleted, "revision": restored.revision });
    Ok(reply::json_bytes(200, summary.to_string().into()))
}
