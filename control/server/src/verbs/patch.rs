//! PATCH: the object with the patch applied goes the way of every update.

use crate::body::{self, Decoded};
use crate::call::Call;
use crate::decode;
use crate::options::WriteOptions;
use crate::verbs::change;
use crate::{render, reply};
use api::patch::PatchKind;
use api::read;
use api::status::{self, Status};
use bytes::Bytes;
use client::Body;
use http::Response;

/// Server-side apply's media types: known, not yet served.
const APPLY: [&str; 2] = ["application/apply-patch+yaml", "application/apply-patch+cbor"];

/// Changes an object by a patch.
pub(crate) async fn patch(call: &Call, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(&call.query, "PatchOptions")?;
    let media_type = body::media_type(&call.headers);
    if APPLY.contains(&media_type) {
        let refusal = status::unsupported_media_type(PatchKind::MEDIA_TYPES);
        let message = format!(
            "server-side apply ({media_type}) is not served by this version; {}",
            refusal.message
        );
        return Err(Status { message, ..refusal });
    }
    let kind =
        PatchKind::of_media_type(media_type).ok_or_else(|| status::unsupported_media_type(PatchKind::MEDIA_TYPES))?;
    let Decoded {
        value: patch,
        duplicates,
    } = body::json(&body)?;
    let pinned = read::some(&patch, "/metadata/resourceVersion").is_some();
    let mut warnings = Vec::new();
    let changed = change(call, options.dry_run, pinned, |old| {
        let value = kind.apply(old, &patch, &call.rules.schema_name())?;
        let draft = decode::finish(
            call,
            &options,
            Decoded {
                value,
                duplicates: duplicates.clone(),
            },
        )?;
        warnings = draft.warnings;
        Ok(draft.object)
    })
    .await?;
    let mut response = render::one(call, 200, changed.entry())?;
    reply::warn(&mut response, &warnings);
    Ok(response)
}
