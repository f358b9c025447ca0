//! Lists, written piece by piece: a large one costs its entries and never its text.

use super::{ListMeta, partial};
use crate::call::Call;
use crate::negotiate::{Encoding, Form, PROTOBUF};
use crate::{encode, protobuf, reply};
use api::RulesRef;
use api::status::{self, Status};
use bytes::{BufMut, Bytes, BytesMut};
use client::Body;
use http::Response;
use serde_json::{Value, json};
use std::io;
use store::Entry;

/// Pieces have about this size, in bytes.
const PIECE: usize = 64 * 1024;

/// A list in protobuf begins with its length. Up to this many bytes are kept from finding it out; of a longer list each item
/// is encoded twice.
const KEPT: usize = 4 * 1024 * 1024;

/// After so many items others get their turn.
const TURN: usize = 256;

/// What the items of a list are.
struct Items {
    rules: RulesRef,
    form: Form,
    /// What stored bytes begin with and items do not.
    head: String,
}

// === impl Items ===

impl Items {
    fn of(call: &Call) -> Self {
        Self {
            rules: call.rules.clone(),
            form: call.accepted.form,
            head: encode::head(&call.rules.api_version(), call.rules.kind),
        }
    }

    /// API version and kind of one.
    fn kind(&self) -> (String, String) {
        match self.form {
            Form::Metadata(version) => (version.api_version().to_owned(), "PartialObjectMetadata".to_owned()),
            Form::Whole | Form::Table(_) => (self.rules.api_version(), self.rules.kind.to_owned()),
        }
    }

    fn list_kind(&self) -> String {
        match self.form {
            Form::Metadata(_) => "PartialObjectMetadataList".to_owned(),
            Form::Whole | Form::Table(_) => self.rules.list_kind().to_string(),
        }
    }

    fn value(&self, entry: &Entry) -> Value {
        let mut object = encode::object(entry);
        self.rules.leave_storage(&mut object);
        match self.form {
            Form::Metadata(version) => partial(&object, version),
            Form::Whole | Form::Table(_) => {
                super::untitled(&self.rules, &mut object);
                object
            }
        }
    }

    fn append_json(&self, out: &mut BytesMut, entry: &Entry) {
        if self.form == Form::Whole && self.rules.is_kept_as_served() {
            return encode::append_item(out, &entry.value, entry.modified, &self.head);
        }
        serde_json::to_writer(out.writer(), &self.value(entry))
            .expect("this holds because memory takes all that is written to it");
    }
}

/// In YAML, whole.
pub(super) fn yaml(call: &Call, entries: &[Entry], meta: &ListMeta) -> Response<Body> {
    let items = Items::of(call);
    let objects: Vec<Value> = entries.iter().map(|entry| items.value(entry)).collect();
    let (api_version, _) = items.kind();
    let list =
        json!({ "kind": items.list_kind(), "apiVersion": api_version, "metadata": meta.value(), "items": objects });
    reply::object(200, Encoding::Yaml, &list)
}

/// In JSON.
pub(super) fn json(call: &Call, entries: Vec<Entry>, meta: &ListMeta) -> Response<Body> {
    let items = Items::of(call);
    let (api_version, _) = items.kind();
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{api_version}\",\"metadata\":{},\"items\":[",
        items.list_kind(),
        meta.value()
    );
    let is_small = entries.iter().map(|entry| entry.value.len()).sum::<usize>() < PIECE;
    let mut pieces = Text {
        items,
        head: Some(BytesMut::from(head.as_bytes())),
        entries: entries.into_iter(),
        first: true,
    };
    let body = if is_small {
        reply::whole(pieces.next().unwrap_or_default())
    } else {
        reply::streaming(futures_util::stream::iter(pieces))
    };
    reply::of(200, "application/json", body)
}

/// The text of a list, piece by piece.
struct Text {
    items: Items,
    head: Option<BytesMut>,
    entries: std::vec::IntoIter<Entry>,
    first: bool,
}

impl Iterator for Text {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = self.head.take()?;
        while out.len() < PIECE {
            let Some(entry) = self.entries.next() else {
                out.put_slice(b"]}");
                return Some(out.freeze());
            };
            if !std::mem::take(&mut self.first) {
                out.put_u8(b',');
            }
            self.items.append_json(&mut out, &entry);
        }
        self.head = Some(BytesMut::with_capacity(PIECE + 4096));
        Some(out.freeze())
    }
}

/// In protobuf.
pub(super) fn protobuf(call: &Call, entries: Vec<Entry>, meta: &ListMeta) -> Result<Response<Body>, Status> {
    let items = Items::of(call);
    let (api_version, kind) = items.kind();
    let encoder = protobuf::Items::of(&api_version, &kind)
        .ok_or_else(|| status::internal(format!("{kind} of {api_version} has no protobuf form")))?;
    let is_small = entries.len() <= TURN;
    let mut messages = Messages {
        items,
        encoder,
        entries,
        metadata: meta.value(),
        at: 0,
        length: 0,
        kept: Some(BytesMut::new()),
    };
    if is_small {
        messages.measure().map_err(status::internal)?;
        let whole = messages.begin().map_err(status::internal)?;
        return Ok(reply::of(200, PROTOBUF, reply::whole(whole)));
    }
    let pieces = futures_util::stream::unfold(Some((messages, Stage::Measuring)), |state| async move {
        let (mut messages, stage) = state?;
        match messages.piece(stage).await {
            Ok((bytes, Some(next))) => Some((Ok(bytes), Some((messages, next)))),
            Ok((bytes, None)) => Some((Ok(bytes), None)),
            Err(cause) => Some((Err(cause), None)),
        }
    });
    Ok(reply::of(200, PROTOBUF, reply::breakable(pieces)))
}

/// A list's messages, which are measured before they are written.
struct Messages {
    items: Items,
    encoder: protobuf::Items,
    entries: Vec<Entry>,
    metadata: Value,
    at: usize,
    /// Bytes of all items.
    length: usize,
    /// The items, if they were few.
    kept: Option<BytesMut>,
}

/// What is done with the items.
enum Stage {
    Measuring,
    Writing,
}

impl Messages {
    async fn piece(&mut self, stage: Stage) -> io::Result<(Bytes, Option<Stage>)> {
        match stage {
            Stage::Measuring => {
                while self.measure()? {
                    tokio::task::yield_now().await;
                }
                let is_all = self.kept.is_some();
                self.at = 0;
                Ok((self.begin()?, (!is_all).then_some(Stage::Writing)))
            }
            Stage::Writing => {
                let mut out = BytesMut::with_capacity(PIECE + 4096);
                while out.len() < PIECE {
                    let Some(entry) = self.entries.get(self.at) else {
                        out.put_slice(protobuf::Items::AFTER);
                        return Ok((out.freeze(), None));
                    };
                    out.put_slice(&self.message(entry)?);
                    self.at += 1;
                }
                Ok((out.freeze(), Some(Stage::Writing)))
            }
        }
    }

    fn message(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let message = self.encoder.item(&self.items.value(entry));
        // What was validated fits its schema. A list without one of its items would say that it was deleted.
        message.ok_or_else(|| io::Error::other(format!("{} does not fit its protobuf message", entry.key)))
    }

    /// Measures some more; false at the end.
    fn measure(&mut self) -> io::Result<bool> {
        let end = self.entries.len().min(self.at + TURN);
        while self.at < end {
            let message = self.message(&self.entries[self.at])?;
            self.at += 1;
            self.length += message.len();
            match &mut self.kept {
                Some(kept) if kept.len() < KEPT => kept.put_slice(&message),
                Some(_) | None => self.kept = None,
            }
        }
        Ok(self.at < self.entries.len())
    }

    /// The beginning, and everything that was kept.
    fn begin(&mut self) -> io::Result<Bytes> {
        let (api_version, list_kind) = (self.items.kind().0, self.items.list_kind());
        let before = protobuf::Items::before(&api_version, &list_kind, &self.metadata, self.length)
            .ok_or_else(|| io::Error::other("a list's metadata does not fit its protobuf message"))?;
        let mut out = BytesMut::from(before.as_slice());
        if let Some(kept) = &self.kept {
            out.put_slice(kept);
            out.put_slice(protobuf::Items::AFTER);
        }
        Ok(out.freeze())
    }
}
