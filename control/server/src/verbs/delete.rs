//! DELETE of one object: at once, or first marked and gone when its grace and its finalizers are (apiserver `registry.Store.Delete`).

use crate::actions::deletion::{self, Grace};
use crate::call::{Call, after, timestamp};
use crate::options::DeleteOptions;
use crate::verbs::create::refused_by_disk;
use crate::verbs::{Change, existing, update};
use crate::{admission, body, render, reply};
use api::metadata;
use api::read;
use api::status::{self, Status};
use bytes::Bytes;
use client::Body;
use http::Response;
use jiff::Timestamp;
use serde_json::Value;
use store::{Entry, Expect, Write, WriteError};

/// A deletion that is overtaken by so many writes in a row gives up.
const TRIES: usize = 256;

/// What one attempt has to do.
enum Step {
    /// It is on its way already.
    Pending,
    /// Write this object: it ends later.
    Mark(Value),
    /// Remove it now.
    Remove,
}

/// Deletes one object.
pub(crate) async fn delete(call: &Call, body: Bytes) -> Result<Response<Body>, Status> {
    let options = options(call, &body)?;
    let change = delete_object(call, &options).await?;
    match change {
        Change::Deleted(entry) if !deletion::returns_object(&call.rules) => {
            let object = call.object(&entry);
            let success = status::deleted(&call.rules, &call.name, metadata::uid(&object));
            Ok(reply::object(200, call.accepted.encoding, &success))
        }
        change => render::one(call, 200, change.entry()),
    }
}

/// The options of a delete, out of its body or its query.
pub(crate) fn options(call: &Call, body: &[u8]) -> Result<DeleteOptions, Status> {
    if body.is_empty() {
        return DeleteOptions::of(&call.query, None);
    }
    let decoded = body::decode(body::media_type(&call.headers), body)?;
    let kind = read::text(&decoded.value, "/kind");
    if !kind.is_empty() && kind != "DeleteOptions" {
        return Err(status::bad_request(format!(
            "the object provided is unrecognized: a delete takes DeleteOptions, not {kind}"
        )));
    }
    DeleteOptions::of(&call.query, Some(&decoded.value))
}

/// Deletes the object that `call` is about, or marks it.
pub(crate) async fn delete_object(call: &Call, options: &DeleteOptions) -> Result<Change, Status> {
    for _ in 0..TRIES {
        let entry = existing(call)?;
        let old = call.object(&entry);
        preconditions(call, options, &old)?;
        admission::validate(call, None, Some(&old))?;
        match decide(call, &old, options.grace, Timestamp::now()) {
            Step::Pending => return Ok(Change::Written(entry)),
            Step::Mark(new) => {
                if let Some(change) = update::write(call, &entry, &old, &new, options.dry_run).await? {
                    return Ok(change);
                }
            }
            Step::Remove if options.dry_run => return Ok(Change::Deleted(entry)),
            Step::Remove => {
                if let Some(change) = remove(call, &entry).await? {
                    return Ok(change);
                }
            }
        }
    }
    Err(status::modified(&call.rules, &call.name))
}

async fn remove(call: &Call, entry: &Entry) -> Result<Option<Change>, Status> {
    let expect = Expect::At(entry.modified);
    let write = Write {
        key: entry.key.to_string(),
        expect,
        value: None,
        durable: call.rules.durable,
    };
    match call.server.store.write(write).await {
        Ok(change) => Ok(Some(Change::Deleted(Entry {
            modified: change.revision,
            ..entry.clone()
        }))),
        Err(WriteError::Conflict { .. }) => Ok(None),
        Err(cause) => Err(refused_by_disk(&cause)),
    }
}

fn preconditions(call: &Call, options: &DeleteOptions, old: &Value) -> Result<(), Status> {
    let failed = |what: &str, asked: &str, present: &str| {
        let why = format!("Precondition failed: {what} in precondition: {asked}, {what} in object meta: {present}");
        Err(status::conflict(&call.rules, &call.name, &why))
    };
    let (uid, revision) = (metadata::uid(old), metadata::resource_version(old));
    match (&options.uid, &options.resource_version) {
        (Some(asked), _) if asked != uid => failed("UID", asked, uid),
        (_, Some(asked)) if asked != revision => failed("ResourceVersion", asked, revision),
        (_, _) => Ok(()),
    }
}

/// Upstream's `rest.BeforeDelete` and what `Store.Delete` does with its answer.
fn decide(call: &Call, old: &Value, asked: Option<i64>, now: Timestamp) -> Step {
    let held = deletion::is_held(&call.rules, old);
    if metadata::is_deleting(old) {
        let left = read::int(old, "/metadata/deletionGracePeriodSeconds");
        return match asked {
            _ if left == 0 && held => Step::Pending,
            _ if left == 0 => Step::Remove,
            // Only a shorter grace counts, from the moment of the first wish.
            Some(grace) if grace < left => mark(old, grace.max(0), shortened(old, left, grace.max(0), now)),
            Some(_) | None => Step::Pending,
        };
    }
    match deletion::grace(&call.rules, old, asked) {
        Grace::Seconds(grace) if grace > 0 => mark(old, grace, after(now, grace)),
        Grace::Seconds(_) | Grace::None if held => {
            let Step::Mark(mut new) = mark(old, 0, now) else {
                return Step::Pending;
            };
            deletion::begin(&call.rules, &mut new);
            Step::Mark(new)
        }
        Grace::Seconds(_) | Grace::None => Step::Remove,
    }
}

fn shortened(old: &Value, left: i64, grace: i64, now: Timestamp) -> Timestamp {
    let end = read::text(old, "/metadata/deletionTimestamp")
        .parse::<Timestamp>()
        .unwrap_or(now);
    after(end, grace - left)
}

fn mark(old: &Value, grace: i64, end: Timestamp) -> Step {
    let mut new = old.clone();
    if let Some(metadata) = read::map_mut(&mut new, "metadata") {
        metadata.insert("deletionTimestamp".to_owned(), timestamp(end).into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        let first = !metadata::is_deleting(old);
        let generation = read::int(old, "/metadata/generation");
        if first && generation > 0 {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
    }
    Step::Mark(new)
}
