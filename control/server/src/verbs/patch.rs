//! PATCH: the object with the patch applied goes the way of every update.

use crate::body;
use crate::call::Call;
use crate::decode::{self, Origin};
use crate::options::{Validation, WriteOptions};
use crate::verbs::change;
use crate::{manage, render, reply};
use api::patch::PatchKind;
use api::schema;
use api::status::{self, Status};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::Value;

/// Server-side apply's media type.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// Changes an object by a patch, or applies a configuration.
pub(crate) async fn patch(call: &Call, body: Bytes) -> Result<Response<Body>, Status> {
    let media_type = body::media_type(&call.headers);
    if media_type == APPLY {
        return super::apply::apply(call, &body).await;
    }
    let kind = PatchKind::of_media_type(media_type)
        .filter(|_| PatchKind::media_types(&call.rules).contains(&media_type))
        .ok_or_else(|| status::unsupported_media_type(&accepted(call)))?;
    let options = WriteOptions::of_patch(&call.query, false)?;
    let parsed = schema::parse(&body).map_err(|cause| status::bad_request(format!("error decoding patch: {cause}")))?;
    let patch = parsed.value;
    let said = match options.validation {
        Validation::Ignore => Vec::new(),
        Validation::Warn | Validation::Strict => against(kind, &patch, parsed.has_duplicates.then_some(&*body)),
    };
    let pinned = patch
        .pointer("/metadata/resourceVersion")
        .is_some_and(|revision| !revision.is_null());
    let mut warnings = Vec::new();
    let changed = change(call, options.dry_run, pinned, |old| {
        let patched = kind.apply(old, &patch, &call.rules.schema_name())?;
        let origin = Origin::Patch(kind, &patch);
        let mut draft = decode::finish(call, &options, patched, said.clone(), origin)?;
        manage::track(call, &options, Some(old), &mut draft.object);
        warnings = draft.warnings;
        Ok(draft.object)
    })
    .await?;
    let mut response = render::one(call, 200, changed.entry())?;
    reply::warn(&mut response, &warnings);
    Ok(response)
}

fn accepted(call: &Call) -> Vec<&'static str> {
    PatchKind::media_types(&call.rules)
        .iter()
        .copied()
        .chain([APPLY])
        .collect()
}

/// What a strict decoder has against the patch itself; `text` is there if a member comes twice.
fn against(kind: PatchKind, patch: &Value, text: Option<&[u8]>) -> Vec<String> {
    let mut said = text.map_or_else(Vec::new, |text| schema::strict_errors(None, text));
    if kind == PatchKind::Json {
        let operations = patch.as_array().into_iter().flatten().enumerate();
        for (at, operation) in operations {
            let names = operation
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str());
            for name in names.filter(|name| !["op", "path", "from", "value"].contains(name)) {
                said.push(format!("unknown field \"[{at}].{name}\""));
            }
        }
        said = said
            .into_iter()
            .map(|sentence| format!("json patch {sentence}"))
            .collect();
    }
    said
}
