//! Follows etcd's changes for as long as the engine lives, and makes them visible in their order.

use super::protocol::watch_client::WatchClient;
use super::protocol::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion};
use super::translate::{past, signed};
use super::{ANSWER_BYTES, Connection, load};
use crate::engine::{Change, Revision};
use crate::view::View;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two tries to reach an etcd that is away.
const PAUSE: Duration = Duration::from_millis(200);

/// Why following ended for now.
enum Ended {
    /// The connection broke: go on from the last revision.
    Broken(tonic::Status),
    /// etcd has forgotten what was between: everything is read anew.
    Compacted,
}

/// Never ends by itself.
pub(super) async fn follow(connection: Connection, view: Arc<View>, bring: watch::Sender<Revision>) {
    loop {
        let ended = watch_from(&connection, &view, &bring).await;
        match ended {
            Ended::Broken(cause) => {
                let error = connection.unreachable("watch".to_owned(), cause);
                tracing::warn!(%error, revision = view.revision(), "the store does not see changes until etcd is back");
            }
            Ended::Compacted => catch_up(&connection, &view, &bring).await,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn watch_from(connection: &Connection, view: &Arc<View>, bring: &watch::Sender<Revision>) -> Ended {
    let create = WatchCreateRequest {
        key: connection.layout.prefix.as_bytes().to_vec(),
        range_end: past(&connection.layout.prefix),
        start_revision: signed(view.revision()) + 1,
        progress_notify: true,
        prev_kv: true,
        fragment: true,
    };
    let request = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // The stream of requests stays open: etcd ends a watch whose client has nothing more to say.
    let requests = futures_util::stream::once(async { request });
    let requests = futures_util::StreamExt::chain(requests, futures_util::stream::pending());
    let mut client = WatchClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
    let mut responses = match client.watch(requests).await {
        Ok(answer) => answer.into_inner(),
        Err(cause) => return Ended::Broken(cause),
    };
    let mut fragments = Vec::new();
    loop {
        match responses.message().await {
            Ok(Some(response)) if response.canceled => {
                return match response.compact_revision {
                    0 => Ended::Broken(tonic::Status::cancelled(response.cancel_reason)),
                    _ => Ended::Compacted,
                };
            }
            Ok(Some(response)) => take(connection, view, bring, response, &mut fragments),
            Ok(None) => return Ended::Broken(tonic::Status::unavailable("etcd ended the watch")),
            Err(cause) => return Ended::Broken(cause),
        }
    }
}

/// Shows the changes of one response; a revision that etcd sends in fragments is shown when it is whole.
fn take(
    connection: &Connection,
    view: &Arc<View>,
    bring: &watch::Sender<Revision>,
    response: WatchResponse,
    fragments: &mut Vec<Arc<Change>>,
) {
    for event in response.events {
        // A revision with several events on one key does not exist: etcd refuses duplicate keys in a transaction.
        let present = |key: &str| view.get(key);
        fragments.extend(connection.layout.change(event, present));
    }
    if response.fragment {
        return;
    }
    let changes = std::mem::take(fragments);
    let revision = changes
        .last()
        .map(|change| change.revision)
        .or_else(|| progress(response.header.map_or(0, |header| header.revision), response.created));
    view.apply(&changes);
    if let Some(revision) = revision {
        bring.send_if_modified(|seen| {
            let newer = revision > *seen;
            *seen = revision.max(*seen);
            newer
        });
    }
}

/// A progress notification says that everything up to its revision was sent; the answer to the creation does not.
fn progress(revision: i64, created: bool) -> Option<Revision> {
    (!created).then(|| u64::try_from(revision).unwrap_or_default())
}

/// The difference between what is visible and what is there, as changes. Watchers see the last state of each key, once.
async fn catch_up(connection: &Connection, view: &Arc<View>, bring: &watch::Sender<Revision>) {
    let loaded = match load::load(connection).await {
        Ok(loaded) => loaded,
        Err(error) => return tracing::warn!(%error, "the store does not see changes until etcd is back"),
    };
    let there: HashSet<&str> = loaded.entries.iter().map(|entry| &*entry.key).collect();
    let mut changes: Vec<Arc<Change>> = view
        .range("", None, 0)
        .entries
        .into_iter()
        .filter(|gone| !there.contains(&*gone.key))
        .map(|gone| Change {
            revision: loaded.revision,
            previous: Some(gone.clone()),
            entry: gone,
            deleted: true,
        })
        .map(Arc::new)
        .collect();
    for entry in &loaded.entries {
        let previous = view.get(&entry.key);
        if previous.as_ref().is_none_or(|before| before.modified != entry.modified) {
            changes.push(Arc::new(Change {
                revision: entry.modified,
                entry: entry.clone(),
                previous,
                deleted: false,
            }));
        }
    }
    changes.sort_by_key(|change| change.revision);
    view.apply(&changes);
    // What was between is not known: watches and pages from before this begin anew.
    view.compact(loaded.revision);
    bring.send_replace(loaded.revision);
}
