//! GET of a collection: a page at one revision, filtered.

use crate::call::Call;
use crate::filter::Filter;
use crate::negotiate;
use crate::options::ListOptions;
use crate::render::{self, ListMeta};
use crate::reply;
use crate::verbs::get::{not_ahead, readable};
use api::status::{self, Status};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{DecodeError, Engine};
use client::Body;
use http::Response;
use serde_json::{Value, json};
use store::{Entry, Revision, Snapshot};

/// Of continue tokens.
const VERSION: &str = "meta.k8s.io/v1";

/// How many entries are read at once while a selector looks for the next page's.
const SCAN: usize = 512;

/// Where a page begins: all pages of one list are of one revision.
struct Continue {
    /// As of when; none continues as of now, which upstream calls inconsistent.
    revision: Option<Revision>,
    /// The key before the first one.
    after: String,
    /// How many were left, if they were counted.
    left: Option<u64>,
}

/// Reads a collection.
pub(crate) fn list(call: &Call) -> Result<Response<Body>, Status> {
    match (page(call), call.query.get("continue")) {
        (Ok((entries, meta)), _) => render::many(call, entries, &meta),
        // The list can still go on, only no longer as of its beginning: the refusal carries the token for that.
        (Err(expired), Some(token)) if expired.code == 410 => {
            let mut refusal = expired.to_value();
            refusal["metadata"]["continue"] = inconsistent(token).into();
            Ok(reply::object(410, negotiate::of_refusal(&call.headers), &refusal))
        }
        (Err(refusal), _) => Err(refusal),
    }
}

/// The page that a query asks for.
pub(crate) fn page(call: &Call) -> Result<(Vec<Entry>, ListMeta), Status> {
    let options = ListOptions::of_list(&call.query)?;
    let filter = Filter::of(&call.query, &call.rules)?;
    not_ahead(call, options.revision)?;
    let prefix = call.prefix();
    let start = options
        .continues
        .as_deref()
        .map(|token| Continue::read(token, &prefix))
        .transpose()?;
    let revision = match &start {
        Some(start) => start.revision,
        None if options.exact => options.revision,
        None => None,
    };
    if filter.is_empty() {
        return unfiltered(call, &prefix, start, options.limit, revision);
    }
    let after = start.map(|start| start.after);
    filtered(call, &filter, &prefix, after, options.limit, revision)
}

/// The first page counts how many come after it; the token tells the others.
fn unfiltered(
    call: &Call,
    prefix: &str,
    start: Option<Continue>,
    limit: usize,
    revision: Option<Revision>,
) -> Result<(Vec<Entry>, ListMeta), Status> {
    let store = &call.server.store;
    let continued = start.is_some();
    let counted = start.as_ref().and_then(|start| start.left);
    let after = start.as_ref().map(|start| start.after.as_str());
    let (snapshot, left) = match (after, counted) {
        (Some(after), Some(left)) => {
            let page = store.page(prefix, Some(after), limit, revision);
            let snapshot = page.map_err(|_| too_old(continued))?;
            let left = left.saturating_sub(snapshot.entries.len() as u64);
            let left = if snapshot.remaining == 0 { 0 } else { left.max(1) };
            (snapshot, left)
        }
        (_, _) => {
            let page = match revision {
                Some(revision) => store.range_at(prefix, after, limit, revision),
                None => Ok(store.range(prefix, after, limit)),
            };
            let snapshot = page.map_err(|_| too_old(continued))?;
            let left = snapshot.remaining;
            (snapshot, left)
        }
    };
    are_readable(call, &snapshot)?;
    let mut meta = ListMeta {
        revision: snapshot.revision,
        ..ListMeta::default()
    };
    if let Some(last) = snapshot.entries.last().filter(|_| left > 0) {
        meta.continues = Some(Continue::token(snapshot.revision, prefix, &last.key, Some(left)));
        meta.remaining = Some(left);
    }
    Ok((snapshot.entries, meta))
}

/// Reads on until the page is full or there is no more. All of it is of the revision of the first reading.
fn filtered(
    call: &Call,
    filter: &Filter,
    prefix: &str,
    mut after: Option<String>,
    limit: usize,
    mut revision: Option<Revision>,
) -> Result<(Vec<Entry>, ListMeta), Status> {
    if let Some(name) = filter
        .name()
        .filter(|_| !call.rules.namespaced || !call.namespace.is_empty())
    {
        return named(call, filter, name, revision);
    }
    let mut matching = Vec::new();
    // Without a limit one reading has everything.
    let scan = if limit == 0 { 0 } else { SCAN };
    loop {
        let page = call.server.store.page(prefix, after.as_deref(), scan, revision);
        let snapshot = page.map_err(|_| too_old(after.is_some()))?;
        are_readable(call, &snapshot)?;
        revision = Some(snapshot.revision);
        for (index, entry) in snapshot.entries.iter().enumerate() {
            if !filter.matches(&call.object(entry)) {
                continue;
            }
            matching.push(entry.clone());
            let more = snapshot.remaining > 0 || index + 1 < snapshot.entries.len();
            if matching.len() == limit && more {
                let continues = Some(Continue::token(snapshot.revision, prefix, &entry.key, None));
                return Ok((
                    matching,
                    ListMeta {
                        revision: snapshot.revision,
                        continues,
                        remaining: None,
                    },
                ));
            }
        }
        if snapshot.remaining == 0 {
            return Ok((
                matching,
                ListMeta {
                    revision: snapshot.revision,
                    ..ListMeta::default()
                },
            ));
        }
        after = snapshot.entries.last().map(|entry| entry.key.to_string());
    }
}

/// The one object that can have this name, and the revision as of which it is so: a watch from there must find what became
/// of it.
fn named(
    call: &Call,
    filter: &Filter,
    name: &str,
    revision: Option<Revision>,
) -> Result<(Vec<Entry>, ListMeta), Status> {
    let key = call.rules.key_of(&call.namespace, name);
    // A key comes before all that it begins.
    let page = call.server.store.page(&key, None, 1, revision);
    let mut snapshot = page.map_err(|_| too_old(false))?;
    snapshot.entries.retain(|entry| *entry.key == *key);
    are_readable(call, &snapshot)?;
    snapshot.entries.retain(|entry| filter.matches(&call.object(entry)));
    let meta = ListMeta {
        revision: snapshot.revision,
        ..ListMeta::default()
    };
    Ok((snapshot.entries, meta))
}

fn are_readable(call: &Call, snapshot: &Snapshot) -> Result<(), Status> {
    if call.rules.sealed {
        snapshot.entries.iter().try_for_each(readable)?;
    }
    Ok(())
}

/// 410 (apiserver pkg/storage/etcd3/errors.go).
fn too_old(continued: bool) -> Status {
    status::expired(if continued {
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of \
         the results. Continuing with the provided token results in an inconsistent list - objects that were \
         created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
    } else {
        "The resourceVersion for the provided list is too old."
    })
}

// === impl Continue ===

impl Continue {
    fn token(revision: Revision, prefix: &str, key: &str, left: Option<u64>) -> String {
        let start = key.strip_prefix(prefix).unwrap_or(key);
        let mut token = json!({ "v": VERSION, "rv": revision, "start": start });
        if let Some(left) = left {
            token["left"] = left.into();
        }
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    /// With upstream's sentences (apiserver pkg/storage/continue.go).
    fn read(token: &str, prefix: &str) -> Result<Self, Status> {
        let bad =
            |why: String| status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|cause| {
            let at = match cause {
                DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
                DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => token.len(),
            };
            bad(format!("illegal base64 data at input byte {at}"))
        })?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|cause| bad(cause.to_string()))?;
        if token["v"] != VERSION {
            return Err(bad("server does not recognize this encoded version".to_owned()));
        }
        let revision = match token["rv"].as_i64() {
            None | Some(0) => {
                let why = format!("incorrect encoded start resourceVersion (version {VERSION})");
                return Err(bad(why));
            }
            Some(revision) => u64::try_from(revision).ok(),
        };
        let start = token["start"].as_str().unwrap_or_default();
        if start.is_empty() {
            return Err(bad(format!("encoded start key empty (version {VERSION})")));
        }
        Ok(Self {
            revision,
            after: format!("{prefix}{start}"),
            left: token["left"].as_u64(),
        })
    }
}

/// The token with which a list goes on as of now, after its revision is gone.
fn inconsistent(token: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let mut token: Value = serde_json::from_slice(&bytes).ok()?;
    let members = token.as_object_mut()?;
    members.insert("rv".to_owned(), (-1).into());
    members.shift_remove("left");
    Some(URL_SAFE_NO_PAD.encode(token.to_string()))
}
