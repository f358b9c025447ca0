//! PATCH by server-side apply: a configuration is merged into the object, or makes it.

use crate::body;
use crate::call::Call;
use crate::decode::{self, Origin};
use crate::options::{Validation, WriteOptions};
use crate::verbs::{change, create};
use crate::{manage, render, reply};
use api::metadata;
use api::read;
use api::status::{self, Status};
use client::Body;
use http::Response;
use serde_json::Value;
use store::Entry;

/// How often an apply that finds the object gone, and then there, tries again.
const TRIES: usize = 8;

/// Applies a configuration (YAML; JSON is YAML).
pub(crate) async fn apply(call: &Call, bytes: &[u8]) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of_patch(&call.query, true)?;
    let document =
        body::document(bytes).map_err(|cause| status::bad_request(format!("error decoding YAML: {cause}")))?;
    let lines = match options.validation {
        Validation::Ignore => Vec::new(),
        Validation::Warn | Validation::Strict => document.duplicates,
    };
    for _ in 0..TRIES {
        let outcome = match call.server.store.get(&call.key()) {
            Some(_) => onto(call, &options, &document.value, &lines)
                .await
                .map(|entry| (200, entry)),
            None => anew(call, &options, &document.value, &lines)
                .await
                .map(|entry| (201, entry)),
        };
        match outcome {
            Err(refused)
                if matches!(refused.reason, "AlreadyExists" | "NotFound") && is_out_of_date(call, &refused) => {}
            Err(refused) => return Err(refused),
            Ok((code, entry)) => {
                let mut response = render::one(call, code, &entry)?;
                reply::warn(&mut response, &lines);
                return Ok(response);
            }
        }
    }
    Err(status::modified(&call.rules, &call.name))
}

/// Whether the object came or went between the look and the write.
fn is_out_of_date(call: &Call, refused: &Status) -> bool {
    let exists = call.server.store.get(&call.key()).is_some();
    exists == (refused.reason == "AlreadyExists")
        && call.subresource.is_empty()
        && refused.details.get("name").is_some_and(|name| *name == call.name)
        && refused
            .details
            .get("kind")
            .is_some_and(|kind| *kind == call.rules.plural)
}

async fn onto(call: &Call, options: &WriteOptions, config: &Value, lines: &[String]) -> Result<Entry, Status> {
    let pinned = read::some(config, "/metadata/resourceVersion").is_some();
    let changed = change(call, options.dry_run, pinned, |old| {
        let new = manage::apply(call, options, Some(old), config)?;
        strict(options, lines)?;
        complete(call, options, new)
    })
    .await?;
    Ok(changed.entry().clone())
}

async fn anew(call: &Call, options: &WriteOptions, config: &Value, lines: &[String]) -> Result<Entry, Status> {
    if !call.subresource.is_empty() {
        return Err(status::not_found(&call.rules, &call.name));
    }
    let new = manage::apply(call, options, None, config)?;
    strict(options, lines)?;
    let uid = metadata::uid(&new);
    if !uid.is_empty() {
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(status::conflict(&call.rules, &call.name, &why));
    }
    if !matches!(metadata::resource_version(&new), "" | "0") {
        return Err(status::modified(&call.rules, &call.name));
    }
    create::insert(call, complete(call, options, new)?, options).await
}

fn strict(options: &WriteOptions, lines: &[String]) -> Result<(), Status> {
    if options.validation != Validation::Strict || lines.is_empty() {
        return Ok(());
    }
    Err(status::bad_request(format!(
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
        lines.join("\n  ")
    )))
}

fn complete(call: &Call, options: &WriteOptions, new: Value) -> Result<Value, Status> {
    Ok(decode::finish(call, options, new, Vec::new(), Origin::Body)?.object)
}
