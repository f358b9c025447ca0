//! GET of one object.

use crate::call::Call;
use crate::render;
use api::status::{self, Status};
use client::Body;
use http::Response;
use store::{Entry, Revision};

/// Reads one object.
pub(crate) fn get(call: &Call) -> Result<Response<Body>, Status> {
    let revision = call.query.get("resourceVersion").and_then(|text| text.parse().ok());
    not_ahead(call, revision)?;
    render::one(call, 200, &existing(call)?)
}

/// The object that a call is about, or 404.
pub(crate) fn existing(call: &Call) -> Result<Entry, Status> {
    let entry = call.server.store.get(&call.key());
    let entry = entry.ok_or_else(|| status::not_found(&call.rules, &call.name))?;
    readable(&entry)?;
    Ok(entry)
}

/// Refuses an object that is kept encrypted and could not be decrypted.
pub(crate) fn readable(entry: &Entry) -> Result<(), Status> {
    entry.readable().map_err(status::internal)
}

/// Refuses to answer for a future that this server has not seen (apiserver `NewTooLargeResourceVersionError`).
pub(crate) fn not_ahead(call: &Call, asked: Option<Revision>) -> Result<(), Status> {
    let current = call.server.store.revision();
    match asked {
        Some(asked) if asked > current => {
            let why = format!("Too large resource version: {asked}, current: {current}");
            Err(status::timeout(&why)
                .retry_after(1)
                .cause("ResourceVersionTooLarge", "Too large resource version", ""))
        }
        Some(_) | None => Ok(()),
    }
}
