//! DELETE of one object: at once, or first marked and gone when its grace and its finalizers are (apiserver `registry.Store.Delete`).

use crate::actions::allocation;
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
    /// Write this object, so that everybody sees that it ends, and remove it.
    MarkAndRemove(Value),
    /// Remove it now.
    Remove,
}

/// Deletes one object.
pub(crate) async fn delete(call: &Call, body: Bytes) -> Result<Response<Body>, Status> {
    let options = options(call, &body)?;
    call.warnings.extend(deletion::warning(&call.rules, &options));
    let change = delete_object(call, &options).await?;
    match change {
        Change::Deleted(entry) if !deletion::returns_object(&call.rules) => {
            let object = call.object(&entry);
            let success = status::deleted(&call.rules, &call.name, metadata::uid(&object));
            Ok(reply::object(200, call.accepted.encoding, &success))
        }
        Change::Deleted(entry) => render::one(call, 200, &entry),
        // Upstream says 202 only to who asked for a cascade in the old words; everybody else would be surprised.
        Change::Written(entry) => render::one(call, if options.orphan == Some(false) { 202 } else { 200 }, &entry),
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
        deletion::preconditions(&call.rules, &call.name, options, &old)?;
        admission::validate(call, None, Some(&old))?;
        let done = match decide(call, &old, options, Timestamp::now()) {
            Step::Pending => Some(Change::Written(entry)),
            Step::Mark(new) => update::write(call, &entry, &old, &new, options.dry_run).await?,
            Step::Remove if options.dry_run => Some(Change::Deleted(entry)),
            Step::Remove => remove(call, &entry).await?,
            Step::MarkAndRemove(new) => mark_and_remove(call, entry, &new, options.dry_run).await?,
        };
        if let Some(change) = done {
            return Ok(change);
        }
    }
    Err(status::modified(&call.rules, &call.name))
}

/// The mark need not reach the disk: the removal that follows it does. None: it moved meanwhile.
async fn mark_and_remove(call: &Call, entry: Entry, new: &Value, dry_run: bool) -> Result<Option<Change>, Status> {
    let value = call.stored(new);
    if dry_run {
        return Ok(Some(Change::Deleted(entry.with_value(value))));
    }
    let write = Write {
        key: entry.key.to_string(),
        expect: Expect::At(entry.modified),
        value: Some(value),
        durable: false,
    };
    let mut marked = match call.server.store.write(write).await {
        Ok(change) => change.entry,
        Err(WriteError::Conflict { .. }) => return Ok(None),
        Err(cause) => return Err(refused_by_disk(&cause)),
    };
    loop {
        if let Some(change) = remove(call, &marked).await? {
            return Ok(Some(change));
        }
        // Whoever overtook us either removed it, or it is still marked and now ours to remove.
        match call.server.store.get(&marked.key) {
            Some(newer) if newer.created == marked.created => marked = newer,
            Some(_) | None => return Ok(Some(Change::Deleted(marked))),
        }
        if deletion::is_held(&call.rules, &call.object(&marked)) {
            return Ok(Some(Change::Written(marked)));
        }
    }
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
        Ok(change) => {
            allocation::gone(call, entry).await;
            let last = Entry::new(entry.key.clone(), entry.value.clone(), entry.created, change.revision);
            Ok(Some(Change::Deleted(last)))
        }
        Err(WriteError::Conflict { .. }) => Ok(None),
        Err(cause) => Err(refused_by_disk(&cause)),
    }
}

/// Upstream's `rest.BeforeDelete` and what `Store.Delete` does with its answer.
fn decide(call: &Call, old: &Value, options: &DeleteOptions, now: Timestamp) -> Step {
    let asked = options.grace.map(|grace| if grace < 0 { 1 } else { grace });
    let left = read::int(old, "/metadata/deletionGracePeriodSeconds");
    let grace = match (metadata::is_deleting(old), asked) {
        (false, _) => deletion::grace(&call.rules, old, asked),
        (true, _) if left == 0 => Grace::None,
        // Only a shorter grace counts.
        (true, Some(grace)) if grace < left => Grace::Seconds(grace),
        (true, Some(_) | None) => return Step::Pending,
    };
    let finalizers = deletion::finalizers(&call.rules, old, options);
    let mut new = old.clone();
    if let Some(metadata) = read::map_mut(&mut new, "metadata") {
        if finalizers.is_empty() {
            metadata.shift_remove("finalizers");
        } else {
            metadata.insert("finalizers".to_owned(), finalizers.into());
        }
    }
    let held = deletion::is_held(&call.rules, &new);
    match grace {
        Grace::Seconds(grace) => {
            let end = if metadata::is_deleting(old) {
                shortened(old, left, grace, now)
            } else {
                after(now, grace)
            };
            mark(&mut new, grace, end);
            if grace > 0 || held {
                Step::Mark(new)
            } else {
                Step::MarkAndRemove(new)
            }
        }
        Grace::None if held => {
            let end = read::text(old, "/metadata/deletionTimestamp")
                .parse::<Timestamp>()
                .unwrap_or(now);
            mark(&mut new, 0, end.min(now));
            deletion::begin(&call.rules, &mut new);
            Step::Mark(new)
        }
        Grace::None => Step::Remove,
    }
}

fn shortened(old: &Value, left: i64, grace: i64, now: Timestamp) -> Timestamp {
    let end = read::text(old, "/metadata/deletionTimestamp")
        .parse::<Timestamp>()
        .unwrap_or(now);
    after(end, grace - left)
}

fn mark(object: &mut Value, grace: i64, end: Timestamp) {
    let first = !metadata::is_deleting(object);
    let generation = read::int(object, "/metadata/generation");
    if let Some(metadata) = read::map_mut(object, "metadata") {
        metadata.insert("deletionTimestamp".to_owned(), timestamp(end).into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        if first && generation > 0 {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
    }
}
