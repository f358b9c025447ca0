//! Objects on their way out: whole, as tables, or as metadata alone; one by one and in lists.

mod list;

use crate::call::Call;
use crate::negotiate::{Encoding, Form, TableVersion};
use crate::{encode, reply};
use api::Rules;
use api::status::{self, Status};
use api::table::{self, Include};
use client::Body;
use http::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use store::{Entry, Revision};

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
    let version = match (call.accepted.form, call.accepted.encoding) {
        (Form::Table(version), _) => version,
        (_, Encoding::Json) => return Ok(list::json(call, entries, meta)),
        (_, Encoding::Protobuf) => return list::protobuf(call, entries, meta),
        (_, Encoding::Yaml) => return Ok(list::yaml(call, &entries, meta)),
    };
    let objects: Vec<Value> = entries.iter().map(|entry| call.object(entry)).collect();
    let table = table_of(call, meta.value(), &objects, version, true)?;
    Ok(reply::object(200, call.accepted.encoding, &table))
}

/// An object that no store has.
pub fn made(call: &Call, object: &Value) -> Result<Response<Body>, Status> {
    let shaped = match call.accepted.form {
        Form::Whole => object.clone(),
        Form::Metadata(version) => partial(object, version),
        Form::Table(version) => table_of(call, json!({}), std::slice::from_ref(object), version, true)?,
    };
    Ok(reply::object(200, call.accepted.encoding, &shaped))
}

/// A list of objects that no store has, all of them.
pub fn made_list(call: &Call, objects: &[Value]) -> Result<Response<Body>, Status> {
    let list = |kind: String, api_version: &str, items: Vec<Value>| json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items});
    let shaped = match call.accepted.form {
        Form::Whole => {
            let mut items = objects.to_vec();
            items.iter_mut().for_each(|item| untitled(&call.rules, item));
            list(call.rules.list_kind(), &call.rules.api_version(), items)
        }
        Form::Metadata(version) => {
            let items = objects.iter().map(|object| partial(object, version)).collect();
            list("PartialObjectMetadataList".to_owned(), version.api_version(), items)
        }
        Form::Table(version) => table_of(call, json!({}), objects, version, true)?,
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

/// Makes an object an item of a list: those of built-in kinds say neither kind nor version, which the list's own tell
/// (Go's encoders write them for the outermost object only); custom resources' do.
fn untitled(rules: &Rules, object: &mut Value) {
    if let Some(members) = object.as_object_mut().filter(|_| !rules.is_custom()) {
        members.shift_remove("kind");
        members.shift_remove("apiVersion");
    }
}

/// An object's metadata alone.
pub(crate) fn partial(object: &Value, version: TableVersion) -> Value {
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
