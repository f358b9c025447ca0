//! GET of a collection: a page at one revision, filtered.

use crate::call::Call;
use crate::filter::Filter;
use crate::negotiate::Encoding;
use crate::options::ListOptions;
use crate::render::{self, ListMeta};
use crate::reply;
use crate::verbs::get::{not_ahead, readable};
use api::status::{self, Status};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::Body;
use http::Response;
use serde_json::{Value, json};
use store::{Entry, Revision, Snapshot};

/// How many entries are read at once while a selector looks for the next page's.
const SCAN: usize = 512;

/// Where a page begins: all pages of one list are of one revision.
struct Continue {
    /// As of when; none continues as of now, which upstream calls inconsistent.
    revision: Option<Revision>,
    /// The key before the first one.
    after: String,
}

/// Reads a collection.
pub(crate) fn list(call: &Call) -> Result<Response<Body>, Status> {
    match (page(call), call.query.get("continue")) {
        (Ok((entries, meta)), _) => render::many(call, entries, &meta),
        // The list can still go on, only no longer as of its beginning: the refusal carries the token for that.
        (Err(expired), Some(token)) if expired.code == 410 => {
            let mut refusal = expired.to_value();
            refusal["metadata"]["continue"] = inconsistent(token).into();
            Ok(reply::object(410, Encoding::Json, &refusal))
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
    let after = start.as_ref().map(|start| start.after.clone());
    let revision = match &start {
        Some(start) => start.revision,
        None if options.exact => options.revision,
        None => None,
    };
    if filter.is_empty() {
        let snapshot = read(
            call,
            &prefix,
            after.as_deref(),
            options.limit,
            revision,
            start.is_some(),
        )?;
        let mut meta = ListMeta {
            revision: snapshot.revision,
            ..ListMeta::default()
        };
        if snapshot.remaining > 0 {
            meta.continues = snapshot
                .entries
                .last()
                .map(|last| Continue::token(snapshot.revision, &prefix, &last.key));
            meta.remaining = Some(snapshot.remaining);
        }
        return Ok((snapshot.entries, meta));
    }
    filtered(call, &filter, &prefix, after, options.limit, revision)
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
        let entry = call.server.store.get(&call.rules.key_of(&call.namespace, name));
        entry.iter().try_for_each(readable)?;
        let entries = entry
            .into_iter()
            .filter(|entry| filter.matches(&call.object(entry)))
            .collect();
        return Ok((
            entries,
            ListMeta {
                revision: call.server.store.revision(),
                ..ListMeta::default()
            },
        ));
    }
    let mut matching = Vec::new();
    // Without a limit one reading has everything.
    let scan = if limit == 0 { 0 } else { SCAN };
    loop {
        let snapshot = read(call, prefix, after.as_deref(), scan, revision, after.is_some())?;
        revision = Some(snapshot.revision);
        for (index, entry) in snapshot.entries.iter().enumerate() {
            if !filter.matches(&call.object(entry)) {
                continue;
            }
            matching.push(entry.clone());
            let more = snapshot.remaining > 0 || index + 1 < snapshot.entries.len();
            if matching.len() == limit && more {
                let continues = Some(Continue::token(snapshot.revision, prefix, &entry.key));
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

fn read(
    call: &Call,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    revision: Option<Revision>,
    continued: bool,
) -> Result<Snapshot, Status> {
    let snapshot = match revision {
        None => call.server.store.range(prefix, after, limit),
        Some(revision) => read_at(call, prefix, after, limit, revision, continued)?,
    };
    if call.rules.sealed {
        snapshot.entries.iter().try_for_each(readable)?;
    }
    Ok(snapshot)
}

fn read_at(
    call: &Call,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    revision: Revision,
    continued: bool,
) -> Result<Snapshot, Status> {
    call.server.store.range_at(prefix, after, limit, revision).map_err(|compacted| {
        if !continued {
            return status::expired(format!("The resourceVersion for the provided list is too old: {compacted}"));
        }
        let why = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                   without the continue parameter, or use the continue token in this response to retrieve the remainder of \
                   the results. Continuing with the provided token results in an inconsistent list - objects that were \
                   created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
        status::expired(why)
    })
}

// === impl Continue ===

impl Continue {
    fn token(revision: Revision, prefix: &str, key: &str) -> String {
        let start = key.strip_prefix(prefix).unwrap_or(key);
        URL_SAFE_NO_PAD.encode(json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": start }).to_string())
    }

    fn read(token: &str, prefix: &str) -> Result<Self, Status> {
        let bad = |why: &str| status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad("it is not base64"))?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_| bad("it is not JSON"))?;
        let start = token
            .get("start")
            .and_then(Value::as_str)
            .ok_or_else(|| bad("it names no start"))?;
        let revision = match token.get("rv").and_then(Value::as_i64) {
            Some(-1) => None,
            Some(revision) => Some(u64::try_from(revision).map_err(|_| bad("its revision is negative"))?),
            None => return Err(bad("it names no revision")),
        };
        Ok(Self {
            revision,
            after: format!("{prefix}{start}"),
        })
    }
}

/// The token with which a list goes on as of now, after its revision is gone.
fn inconsistent(token: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let mut token: Value = serde_json::from_slice(&bytes).ok()?;
    token["rv"] = (-1).into();
    Some(URL_SAFE_NO_PAD.encode(token.to_string()))
}
