//! Objects on their way out: whole, as tables, or as metadata alone; one by one and in lists.

use crate::call::Call;
use crate::negotiate::{Encoding, Form, TableVersion};
use crate::{encode, reply};
use api::status::{self, Status};
use api::table::{self, Include};
use bytes::{BufMut, Bytes, BytesMut};
use client::Body;
use http::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use store::{Entry, Revision};

/// Lists are written in pieces of about this size, so that a large one costs its entries and not its text.
const PIECE: usize = 64 * 1024;

/// `metadata` of a list.
#[derive(Clone, Debug, Default)]
pub struct ListMeta {
    /// As of when.
    pub revision: Revision,
    /// Where the next page begins.
    pub continues: Option<String>,
    /// How many come after this page, where that is known.
    pub remaining: Option<u64>,
}

// === impl ListMeta ===

impl ListMeta {
    fn value(&self) -> Value {
        let mut members = Map::new();
        members.insert("resourceVersion".to_owned(), self.revision.to_string().into());
        if let Some(token) = &self.continues {
            members.insert("continue".to_owned(), token.as_str().into());
        }
        if let Some(remaining) = self.remaining {
            members.insert("remainingItemCount".to_owned(), remaining.into());
        }
        Value::Object(members)
    }
}

/// One object.
pub fn one(call: &Call, code: u16, entry: &Entry) -> Result<Response<Body>, Status> {
    if call.accepted.form == Form::Whole && call.accepted.encoding == Encoding::Json && call.rules.is_kept_as_served() {
        return Ok(reply::json_bytes(code, encode::text(&entry.value, entry.modified)));
    }
    let object = call.object(entry);
    let shaped = match call.accepted.form {
        Form::Whole => object,
        Form::Metadata(version) => partial(&object, version),
        Form::Table(version) => {
            let meta = json!({ "resourceVersion": entry.modified.to_string() });
            table_of(call, meta, std::slice::from_ref(&object), version, true)?
        }
    };
    Ok(reply::object(code, call.accepted.encoding, &shaped))
}

/// A list.
pub fn many(call: &Call, entries: Vec<Entry>, meta: &ListMeta) -> Result<Response<Body>, Status> {
    if call.accepted.form == Form::Whole && call.accepted.encoding == Encoding::Json && call.rules.is_kept_as_served() {
        return Ok(reply::of(200, "application/json", whole_list(call, entries, meta)));
    }
    let objects: Vec<Value> = entries.iter().map(|entry| call.object(entry)).collect();
    let shaped = match call.accepted.form {
        Form::Whole => json!({
            "kind": call.rules.list_kind(), "apiVersion": call.rules.api_version(),
            "metadata": meta.value(), "items": objects,
        }),
        Form::Metadata(version) => {
            let items: Vec<Value> = objects.iter().map(|object| partial(object, version)).collect();
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": version.api_version(),
                "metadata": meta.value(), "items": items,
            })
        }
        Form::Table(version) => table_of(call, meta.value(), &objects, version, true)?,
    };
    Ok(reply::object(200, call.accepted.encoding, &shaped))
}

/// The object of one watch event.
pub fn event_object(call: &Call, object: &Value, first: bool) -> Result<Value, Status> {
    match call.accepted.form {
        Form::Whole => Ok(object.clone()),
        Form::Metadata(version) => Ok(partial(object, version)),
        Form::Table(version) => {
            let meta = json!({ "resourceVersion": api::metadata::resource_version(object) });
            table_of(call, meta, std::slice::from_ref(object), version, first)
        }
    }
}

fn partial(object: &Value, version: TableVersion) -> Value {
    let mut partial = table::partial(object);
    partial["apiVersion"] = version.api_version().into();
    partial
}

fn table_of(
    call: &Call,
    meta: Value,
    objects: &[Value],
    version: TableVersion,
    columns: bool,
) -> Result<Value, Status> {
    let word = call.query.get("includeObject").unwrap_or_default();
    let include = Include::parse(word)
        .ok_or_else(|| status::bad_request(format!("unrecognized includeObject value: {word:?}")))?;
    let now = Timestamp::now();
    let rows = objects
        .iter()
        .map(|object| table::row(&call.rules, object, include, now))
        .collect();
    let mut table = table::table(meta, &call.rules, rows, columns);
    table["apiVersion"] = version.api_version().into();
    Ok(table)
}

fn whole_list(call: &Call, entries: Vec<Entry>, meta: &ListMeta) -> Body {
    let mut head = BytesMut::with_capacity(256);
    head.put_slice(
        format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
            call.rules.list_kind(),
            call.rules.api_version(),
            meta.value()
        )
        .as_bytes(),
    );
    let mut pieces = Pieces {
        head: Some(head),
        entries: entries.into_iter(),
        first: true,
    };
    let small = pieces
        .entries
        .as_slice()
        .iter()
        .map(|entry| entry.value.len())
        .sum::<usize>()
        < PIECE;
    if small {
        return reply::whole(pieces.next().unwrap_or_default());
    }
    reply::streaming(futures_util::stream::iter(pieces))
}

/// The text of a list, piece by piece.
struct Pieces {
    head: Option<BytesMut>,
    entries: std::vec::IntoIter<Entry>,
    first: bool,
}

impl Iterator for Pieces {
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
            encode::append(&mut out, &entry.value, entry.modified);
        }
        self.head = Some(BytesMut::with_capacity(PIECE + 4096));
        Some(out.freeze())
    }
}
