//! DELETE of a collection: each object that the selectors choose, as if one by one.

use crate::actions::deletion;
use crate::call::Call;
use crate::render;
use crate::verbs::delete::{delete_object, options};
use crate::verbs::list::page;
use api::metadata;
use api::status::Status;
use bytes::Bytes;
use client::Body;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Response;

/// Deletions in flight at once: enough to share the disk's commits.
const AT_ONCE: usize = 64;

/// Deletes what a list with the same query would show, and answers with that list.
pub(crate) async fn delete_collection(call: &Call, body: Bytes) -> Result<Response<Body>, Status> {
    let options = options(call, &body)?;
    call.warnings.extend(deletion::warning(&call.rules, &options));
    let (entries, meta) = page(call)?;
    let objects: Vec<Call> = entries
        .iter()
        .map(|entry| {
            let object = crate::encode::object(entry);
            call.of_object(metadata::namespace(&object), metadata::name(&object))
        })
        .collect();
    let options = &options;
    let deletions = objects.into_iter().map(|object| async move {
        match delete_object(&object, options).await {
            // Somebody else was faster; the wish is fulfilled.
            Err(refused) if refused.code == 404 => Ok(()),
            outcome => outcome.map(drop),
        }
    });
    stream::iter(deletions)
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    render::many(call, entries, &meta)
}
