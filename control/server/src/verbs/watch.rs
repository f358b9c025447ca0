//! Watch: a list's future as lines of JSON, from any revision that is still known.

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
use std::time::Duration;
use store::{Change, Compacted, Entry, Revision, Watch};
use tokio::time::{Instant, sleep_until};
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
    next_bookmark: Instant,
    deadline: Instant,
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
        Ok((watch, initial, announce)) => Watching {
            watch: Some(watch),
            initial: initial.into_iter(),
            announce,
            bookmarks: options.bookmarks,
            next_bookmark: Instant::now() + BOOKMARK,
            deadline: Instant::now() + options.timeout.unwrap_or_else(default_timeout),
            first: true,
            encoding,
            call,
            filter,
        },
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
        Encoding::Json | Encoding::Yaml => {
            out.put_slice(format!("{}\n", json!({ "type": event, "object": object })).as_bytes());
        }
    }
}

// === impl Watching ===

impl Watching {
    fn check_form(&self) -> Result<(), Status> {
        render::event_object(&self.call, &json!({ "metadata": {} }), true).map(drop)
    }

    /// The next bytes to send; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        self.watch.as_ref()?;
        while out.len() < PIECE {
            let Some(entry) = self.initial.next() else { break };
            if !self.can_show(&mut out, &entry) {
                return Some(out.freeze());
            }
            if self.filter.is_empty() || self.filter.matches(&self.call.object(&entry)) {
                self.append(&mut out, "ADDED", &entry, entry.modified);
            }
        }
        if self.initial.len() == 0
            && let Some(revision) = self.announce.take()
        {
            self.append_bookmark(&mut out, revision, true);
        }
        if out.is_empty() {
            self.wait(out).await
        } else {
            Some(out.freeze())
        }
    }

    /// Waits until there is something to say.
    async fn wait(&mut self, mut out: BytesMut) -> Option<Bytes> {
        while out.is_empty() {
            let watch = self.watch.as_mut()?;
            tokio::select! {
                biased;
                () = self.call.server.stopping.cancelled() => self.watch = None,
                changes = watch.next_batch(BATCH) => match changes {
                    Ok(changes) => changes.iter().for_each(|change| self.append_change(&mut out, change)),
                    Err(lagged) => {
                        self.watch = None;
                        put(&mut out, self.encoding, "ERROR", &status::expired(lagged.to_string()).to_value());
                    }
                },
                () = sleep_until(self.deadline) => {
                    self.bookmark(&mut out);
                    self.watch = None;
                }
                () = sleep_until(self.next_bookmark), if self.bookmarks => self.bookmark(&mut out),
            }
        }
        Some(out.freeze())
    }

    fn bookmark(&mut self, out: &mut BytesMut) {
        self.next_bookmark = Instant::now() + BOOKMARK;
        if self.bookmarks
            && let Some(revision) = self.watch.as_ref().and_then(Watch::progress)
        {
            self.append_bookmark(out, revision, false);
        }
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

    /// What a change is to this watcher: an object that enters the selection was added, one that leaves it was deleted.
    fn append_change(&mut self, out: &mut BytesMut, change: &Change) {
        if self.watch.is_none() || !self.can_show(out, &change.entry) {
            return;
        }
        let previous = change.previous.as_ref();
        let (is_in, was_in) = if self.filter.is_empty() {
            (!change.deleted, previous.is_some() || change.deleted)
        } else {
            let matches = |entry: &Entry| self.filter.matches(&self.call.object(entry));
            (!change.deleted && matches(&change.entry), previous.is_some_and(matches))
        };
        match (is_in, was_in) {
            (true, true) => self.append(out, "MODIFIED", &change.entry, change.revision),
            (true, false) => self.append(out, "ADDED", &change.entry, change.revision),
            (false, true) => self.append(out, "DELETED", previous.unwrap_or(&change.entry), change.revision),
            (false, false) => {}
        }
    }

    fn append(&mut self, out: &mut BytesMut, event: &str, entry: &Entry, revision: Revision) {
        let is_plain = self.encoding == Encoding::Json && self.call.accepted.form == Form::Whole;
        if is_plain && self.call.rules.is_kept_as_served() {
            out.put_slice(b"{\"type\":\"");
            out.put_slice(event.as_bytes());
            out.put_slice(b"\",\"object\":");
            encode::append(out, &entry.value, revision);
            out.put_slice(b"}\n");
            return;
        }
        let object: Value = self.call.object_at(entry, revision);
        let first = std::mem::take(&mut self.first);
        if let Ok(object) = render::event_object(&self.call, &object, first) {
            put(out, self.encoding, event, &object);
        }
    }
}
