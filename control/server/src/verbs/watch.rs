//! Watch: a list's future as lines of JSON, from any revision that is still known.

mod shared;
pub(crate) mod websocket;

use crate::call::Call;
use crate::filter::Filter;
use crate::negotiate::{Encoding, Form};
use crate::options::ListOptions;
use crate::verbs::get::readable;
use crate::{encode, protobuf, render, reply};
use api::status::{self, Status};
use bytes::{BufMut, Bytes, BytesMut};
use client::Body;
use http::Response;
use serde_json::{Value, json};
use shared::{Shape, Side};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{Compacted, Entry, Notice, Revision, Watch};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::warn;

/// How often a watcher that may be told hears how far it is; upstream's interval.
const BOOKMARK: Duration = Duration::from_secs(60);

/// A watch without `timeoutSeconds` ends after this and up to twice this, so that not all come back at once (upstream's `MinRequestTimeout`).
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);

/// Changes that one wake-up takes.
const BATCH: usize = 256;

/// Bytes of events that are sent together.
const PIECE: usize = 64 * 1024;

/// Where a watch stands.
struct Watching {
    call: Call,
    encoding: Encoding,
    filter: Filter,
    initial: std::vec::IntoIter<Entry>,
    /// Revision of the initial entries, if their end must be announced.
    announce: Option<Revision>,
    watch: Option<Watch>,
    bookmarks: bool,
    deadline: Instant,
    /// At the next bookmark or the deadline, whichever is first. Like `stopping` it is made once: a watcher is woken often.
    timer: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    /// No table was sent yet.
    first: bool,
}

/// Begins a watch; the head of the reply goes out at once.
pub(crate) fn watch(call: Call) -> Result<Response<Body>, Status> {
    let options = ListOptions::of_watch(&call.query)?;
    let filter = Filter::of(&call.query, &call.rules)?;
    let (encoding, media_type) = match call.accepted.encoding {
        Encoding::Protobuf => (Encoding::Protobuf, "application/vnd.kubernetes.protobuf;stream=watch"),
        Encoding::Json | Encoding::Yaml => (Encoding::Json, "application/json"),
    };
    let watching = match begin(&call, &filter, &options) {
        Ok((watch, initial, announce)) => {
            let deadline = Instant::now() + options.timeout.unwrap_or_else(default_timeout);
            let wakes = next_look(options.bookmarks, deadline);
            Watching {
                watch: Some(watch),
                initial: initial.into_iter(),
                announce,
                bookmarks: options.bookmarks,
                deadline,
                timer: Box::pin(sleep_until(wakes)),
                stopping: Box::pin(call.server.stopping.clone().cancelled_owned()),
                first: true,
                encoding,
                call,
                filter,
            }
        }
        // Upstream answers so inside the stream: the request itself was good.
        Err(compacted) => {
            let mut out = BytesMut::new();
            put(&mut out, encoding, "ERROR", &too_old(compacted).to_value());
            return Ok(reply::of(200, media_type, reply::whole(out.freeze())));
        }
    };
    // A table that cannot be made (`includeObject=x`) is refused before the stream begins.
    watching.check_form()?;
    let events = futures_util::stream::unfold(watching, |mut watching| async move {
        watching.next().await.map(|bytes| (bytes, watching))
    });
    Ok(reply::of(200, media_type, reply::streaming(events)))
}

type Beginning = (Watch, Vec<Entry>, Option<Revision>);

fn begin(call: &Call, filter: &Filter, options: &ListOptions) -> Result<Beginning, Compacted> {
    let store = &call.server.store;
    let prefix = match filter
        .name()
        .filter(|_| !call.rules.namespaced || !call.namespace.is_empty())
    {
        Some(name) => call.rules.key_of(&call.namespace, name),
        None => call.prefix(),
    };
    let from_now = options.send_initial_events == Some(false);
    match options.revision.unwrap_or(0) {
        0 if from_now => Ok((store.watch(&prefix, store.revision())?, Vec::new(), None)),
        0 => with_initial(call, &prefix, options.send_initial_events == Some(true)),
        _ if options.send_initial_events == Some(true) => with_initial(call, &prefix, true),
        revision => Ok((store.watch(&prefix, revision.min(store.revision()))?, Vec::new(), None)),
    }
}

fn with_initial(call: &Call, prefix: &str, announced: bool) -> Result<Beginning, Compacted> {
    let snapshot = call.server.store.range(prefix, None, 0);
    let watch = call.server.store.watch(prefix, snapshot.revision)?;
    Ok((watch, snapshot.entries, announced.then_some(snapshot.revision)))
}

/// When a watch looks at the clock next.
fn next_look(bookmarks: bool, deadline: Instant) -> Instant {
    if bookmarks {
        deadline.min(Instant::now() + BOOKMARK)
    } else {
        deadline
    }
}

fn default_timeout() -> Duration {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    MIN_TIMEOUT + Duration::from_secs(random % MIN_TIMEOUT.as_secs())
}

fn too_old(compacted: Compacted) -> Status {
    status::expired(format!(
        "too old resource version: {} ({})",
        compacted.asked, compacted.compacted
    ))
}

/// Appends an event.
fn put(out: &mut BytesMut, encoding: Encoding, event: &str, object: &Value) {
    match encoding {
        Encoding::Protobuf => match protobuf::encode(object) {
            Some(enveloped) => out.put_slice(&protobuf::frame(event, &enveloped)),
            None => warn!(event, kind = %object["kind"], "an event's object does not fit its protobuf message"),
        },
        Encoding::Json | Encoding::Yaml => put_json(out, event, |out| {
            serde_json::to_writer(out.writer(), object).expect("memory takes all that is written to it");
        }),
    }
}

/// Appends an event in JSON whose object `append` appends.
fn put_json(out: &mut BytesMut, event: &str, append: impl FnOnce(&mut BytesMut)) {
    out.put_slice(b"{\"type\":\"");
    out.put_slice(event.as_bytes());
    out.put_slice(b"\",\"object\":");
    append(out);
    out.put_slice(b"}\n");
}

// === impl Watching ===

impl Watching {
    fn check_form(&self) -> Result<(), Status> {
        render::event_object(&self.call, &json!({ "metadata": {} }), true).map(drop)
    }

    /// The next bytes to send; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        self.watch.as_ref()?;
        let mut out = BytesMut::new();
        while out.len() < PIECE {
            let Some(entry) = self.initial.next() else { break };
            if !self.can_show(&mut out, &entry) {
                return Some(out.freeze());
            }
            if self.filter.is_empty() || self.filter.matches(&self.call.object(&entry)) {
                let event = self.event("ADDED", &entry, entry.modified, || self.call.object(&entry));
                out.put_slice(&event);
                self.first = false;
            }
        }
        if self.initial.len() == 0
            && let Some(revision) = self.announce.take()
        {
            self.append_bookmark(&mut out, revision, true);
        }
        if out.is_empty() {
            self.wait().await
        } else {
            Some(out.freeze())
        }
    }

    /// Waits until there is something to say.
    async fn wait(&mut self) -> Option<Bytes> {
        loop {
            let watch = self.watch.as_mut()?;
            let mut out = BytesMut::new();
            tokio::select! {
                biased;
                () = self.stopping.as_mut() => self.watch = None,
                () = self.timer.as_mut() => self.look_at_the_clock(&mut out),
                changes = watch.next_batch(BATCH) => match changes {
                    Ok(changes) => {
                        if let Some(bytes) = self.tell(&changes) {
                            return Some(bytes);
                        }
                    }
                    Err(lagged) => {
                        self.watch = None;
                        put(&mut out, self.encoding, "ERROR", &status::expired(lagged.to_string()).to_value());
                    }
                },
            }
            if !out.is_empty() {
                return Some(out.freeze());
            }
        }
    }

    fn look_at_the_clock(&mut self, out: &mut BytesMut) {
        if self.bookmarks
            && let Some(revision) = self.watch.as_ref().and_then(Watch::progress)
        {
            self.append_bookmark(out, revision, false);
        }
        if Instant::now() >= self.deadline {
            self.watch = None;
        }
        self.timer.as_mut().reset(next_look(self.bookmarks, self.deadline));
    }

    fn append_bookmark(&self, out: &mut BytesMut, revision: Revision, initial_events_end: bool) {
        let mut object = json!({
            "kind": self.call.rules.kind, "apiVersion": self.call.rules.api_version(),
            "metadata": { "resourceVersion": revision.to_string(), "creationTimestamp": null },
        });
        if initial_events_end {
            object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = match self.call.accepted.form {
            Form::Whole => object,
            // A table without rows, as upstream's conversion makes of a bookmark.
            Form::Table(version) => json!({
                "kind": "Table", "apiVersion": version.api_version(), "metadata": { "resourceVersion": revision.to_string() },
                "columnDefinitions": null, "rows": [{ "cells": [], "object": api::table::partial(&object) }],
            }),
            Form::Metadata(version) => render::partial(&object, version),
        };
        put(out, self.encoding, "BOOKMARK", &object);
    }

    /// Ends the watch with an error at an object that could not be decrypted, as upstream does.
    fn can_show(&mut self, out: &mut BytesMut, entry: &Entry) -> bool {
        let readable = readable(entry);
        if let Err(refused) = &readable {
            put(out, self.encoding, "ERROR", &refused.to_value());
            self.watch = None;
        }
        readable.is_ok()
    }

    /// What a batch of changes is to this watcher; a single event is not copied.
    fn tell(&mut self, changes: &[Arc<Notice>]) -> Option<Bytes> {
        let (mut only, mut out): (Option<Bytes>, Option<BytesMut>) = (None, None);
        for change in changes {
            let Some(bytes) = self.told(change) else { continue };
            match (&mut out, only.take()) {
                (None, None) => only = Some(bytes),
                (None, Some(before)) => {
                    let mut all = BytesMut::with_capacity((before.len() + bytes.len()) * 2);
                    all.put_slice(&before);
                    all.put_slice(&bytes);
                    out = Some(all);
                }
                (Some(all), _) => all.put_slice(&bytes),
            }
            if self.watch.is_none() {
                break;
            }
        }
        out.map(BytesMut::freeze).or(only)
    }

    /// What a change is to this watcher: an object that enters the selection was added, one that leaves it was deleted.
    fn told(&mut self, change: &Notice) -> Option<Bytes> {
        let mut refusal = BytesMut::new();
        if !self.can_show(&mut refusal, &change.entry) {
            return Some(refusal.freeze());
        }
        if self.filter.excludes(&change.entry.key) {
            return None;
        }
        let previous = change.previous.as_ref();
        let (is_in, was_in) = if self.filter.is_empty() {
            (!change.deleted, previous.is_some() || change.deleted)
        } else {
            let matches = |side, entry| {
                let object = shared::object(change, &self.call, side, entry);
                self.filter.matches(&object)
            };
            (
                !change.deleted && matches(Side::Now, &change.entry),
                previous.is_some_and(|entry| matches(Side::Before, entry)),
            )
        };
        let (event, side) = match (is_in, was_in) {
            (true, true) => ("MODIFIED", Side::Now),
            (true, false) => ("ADDED", Side::Now),
            (false, true) => ("DELETED", Side::Before),
            (false, false) => return None,
        };
        let entry = match side {
            Side::Now => &change.entry,
            Side::Before => previous.unwrap_or(&change.entry),
        };
        let shape = Shape {
            rules: self.call.rules.clone(),
            encoding: self.encoding,
            form: self.call.accepted.form,
            event,
        };
        let object = || shared::object(change, &self.call, side, entry);
        let make = || self.event(event, entry, change.revision, || Value::clone(&object()));
        let bytes = match shape.form {
            // A table's rows tell the time, and only the first has columns.
            Form::Table(_) => make(),
            Form::Whole | Form::Metadata(_) => shared::event(change, shape, make),
        };
        self.first = false;
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }

    /// The bytes of an event; empty where the object cannot be shown.
    fn event(&self, event: &str, entry: &Entry, revision: Revision, object: impl FnOnce() -> Value) -> Bytes {
        let mut out = BytesMut::new();
        if self.encoding == Encoding::Json && self.call.rules.is_kept_as_served() {
            let mut is_whole = false;
            put_json(&mut out, event, |out| is_whole = self.append_kept(out, entry, revision));
            if is_whole {
                return out.freeze();
            }
            out.clear();
        }
        let mut object = object();
        encode::set_revision(&mut object, revision);
        if let Ok(object) = render::event_object(&self.call, &object, self.first) {
            put(&mut out, self.encoding, event, &object);
        }
        out.freeze()
    }

    /// Appends the object out of the bytes that are kept; false where the form needs it parsed.
    fn append_kept(&self, out: &mut BytesMut, entry: &Entry, revision: Revision) -> bool {
        match self.call.accepted.form {
            Form::Whole => encode::append(out, &entry.value, revision),
            Form::Metadata(version) => {
                return encode::append_metadata(out, &entry.value, revision, version.api_version());
            }
            Form::Table(_) => return false,
        }
        true
    }
}
