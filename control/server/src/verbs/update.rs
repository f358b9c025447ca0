//! PUT, and the one way in which every write changes an object that exists: read, make, check, compare, write, again if it moved.

use crate::call::{Call, Draw};
use crate::decode::{self, Draft};
use crate::options::WriteOptions;
use crate::verbs::create::{insert, refused_by_disk};
use crate::verbs::existing;
use crate::{actions, admission, manage, render, reply};
use api::fields::same_but_for_times;
use api::metadata;
use api::read;
use api::status::{self, Status};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::Value;
use store::{Entry, Expect, Write, WriteError};

/// A write that others keep overtaking gives up after so many tries; the client then hears of the conflict. Each time it was
/// overtaken another write succeeded, so this many others got through first.
const TRIES: usize = 256;

/// What became of a change.
pub(crate) enum Change {
    /// The object as it is now.
    Written(Entry),
    /// It was the last thing that a deletion waited for: the object's last state.
    Deleted(Entry),
}

// === impl Change ===

impl Change {
    /// The object, there or gone.
    pub(crate) fn entry(&self) -> &Entry {
        match self {
            Change::Written(entry) | Change::Deleted(entry) => entry,
        }
    }
}

/// Replaces an object by a body.
pub(crate) async fn update(call: &Call, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(&call.query, "UpdateOptions")?;
    let Draft { object, warnings } = decode::draft(call, &options, &body)?;
    let revision = metadata::resource_version(&object);
    let unpinned = matches!(revision, "" | "0");
    if unpinned && !call.rules.unconditional_update && existing(call).is_ok() {
        let error = api::FieldError::invalid("metadata.resourceVersion", "0x0", "must be specified for an update");
        return Err(status::invalid(&call.rules, &call.name, &[error]));
    }
    let absent = call.server.store.get(&call.key()).is_none();
    let (code, entry) = if absent && call.rules.create_on_update && call.subresource.is_empty() && unpinned {
        let mut object = object;
        manage::track(call, &options, None, &mut object);
        (201, insert(call, object, &options).await?)
    } else {
        let make = |old: &Value| {
            let mut new = object.clone();
            manage::track(call, &options, Some(old), &mut new);
            Ok(new)
        };
        let changed = change(call, options.dry_run, !unpinned, make).await?;
        (200, changed.entry().clone())
    };
    let mut response = render::one(call, code, &entry)?;
    reply::warn(&mut response, &warnings);
    Ok(response)
}

/// Changes the object that `call` is about into what `make` makes of it. `pinned`: the client knows which state it changes,
/// so that it hears of a conflict instead of the change being made again on top of the newer state.
pub(crate) async fn change(
    call: &Call,
    dry_run: bool,
    pinned: bool,
    mut make: impl FnMut(&Value) -> Result<Value, Status>,
) -> Result<Change, Status> {
    for _ in 0..TRIES {
        let entry = existing(call)?;
        let old = call.object(&entry);
        let mut new = make(&old)?;
        is_same_incarnation(call, &new, &old)?;
        admission::mutate(call, &mut new, Some(&old)).await?;
        let draw = Draw::new();
        call.rules.before_update(&mut new, &old, &draw.context(call));
        let claim = actions::allocation::allocate(call, &mut new, Some(&old), dry_run)?;
        same_but_for_times(&old, &mut new);
        let errors = call.rules.validate_update(&new, &old, &call.subresource);
        if !errors.is_empty() {
            return Err(status::invalid(&call.rules, &call.name, &errors));
        }
        admission::validate(call, Some(&new), Some(&old))?;
        admission::charge(call, &new, Some(&old), dry_run).await?;
        let written = write(call, &entry, &old, &new, dry_run).await;
        drop(claim);
        match written? {
            Some(change) => return Ok(change),
            None if pinned => break,
            None => {}
        }
    }
    Err(status::modified(&call.rules, &call.name))
}

/// Whether both are the same object, in whatever order its members stand.
fn is_same_json(one: &[u8], other: &[u8]) -> bool {
    let read = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    one == other || read(one) == read(other)
}

/// Writes `new` over `entry`, or removes it if nothing holds it any more. None: it moved meanwhile.
pub(crate) async fn write(
    call: &Call,
    entry: &Entry,
    old: &Value,
    new: &Value,
    dry_run: bool,
) -> Result<Option<Change>, Status> {
    let gone = metadata::is_deleting(new)
        && read::int(new, "/metadata/deletionGracePeriodSeconds") == 0
        && !actions::deletion::is_held(&call.rules, new);
    let mut pinned = new.clone();
    pinned["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    // A write that changes nothing has no revision and wakes nobody.
    let is_kept_the_same = || call.rules.is_kept_as_served() || is_same_json(&call.stored(new), &entry.value);
    if pinned == *old && !gone && is_kept_the_same() {
        return Ok(Some(Change::Written(entry.clone())));
    }
    let value = call.stored(new);
    if dry_run {
        let entry = entry.with_value(value);
        return Ok(Some(if gone {
            Change::Deleted(entry)
        } else {
            Change::Written(entry)
        }));
    }
    let write = Write {
        key: entry.key.to_string(),
        expect: Expect::At(entry.modified),
        value: (!gone).then(|| value.clone()),
        durable: call.rules.durable,
    };
    let written = call.server.store.write(write).await;
    if written.is_ok() {
        actions::allocation::settle(call, Some(old), (!gone).then_some(new)).await;
    }
    match written {
        Ok(change) if gone => {
            let last = Entry::new(entry.key.clone(), value, entry.created, change.revision);
            Ok(Some(Change::Deleted(last)))
        }
        Ok(change) => Ok(Some(Change::Written(change.entry))),
        Err(WriteError::Conflict { .. }) => Ok(None),
        Err(cause) => Err(refused_by_disk(&cause)),
    }
}

/// The uid and resourceVersion that a client sends are conditions.
fn is_same_incarnation(call: &Call, new: &Value, old: &Value) -> Result<(), Status> {
    let (uid, present) = (metadata::uid(new), metadata::uid(old));
    if !uid.is_empty() && uid != present {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {present}");
        return Err(status::conflict(&call.rules, &call.name, &why));
    }
    let revision = metadata::resource_version(new);
    if !matches!(revision, "" | "0") && revision != metadata::resource_version(old) {
        return Err(status::modified(&call.rules, &call.name));
    }
    Ok(())
}
