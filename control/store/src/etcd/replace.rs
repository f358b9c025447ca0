//! A restore into etcd: one key after the other, each if it differs. Broken off, it is taken up by restoring again.

use super::{Connection, visible};
use crate::engine::{Expect, Revision, Write};
use crate::snapshot::Restored;
use crate::store::WriteError;
use crate::view::View;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Transactions under way at once: enough for etcd to group their fsyncs.
const AT_ONCE: usize = 64;

pub(super) async fn replace(
    connection: &Connection,
    view: &View,
    seen: watch::Receiver<Revision>,
    entries: BTreeMap<Arc<str>, Bytes>,
) -> Result<Restored, WriteError> {
    let present = view.range("", None, 0).entries;
    let gone = present.iter().filter(|entry| !entries.contains_key(&entry.key));
    let gone: Vec<Write> = gone.map(|entry| write(&entry.key, None)).collect();
    let differs = |key: &str, value: &Bytes| view.get(key).is_none_or(|present| present.value != *value);
    let changed = entries.iter().filter(|(key, value)| differs(key, value));
    let changed: Vec<Write> = changed.map(|(key, value)| write(key, Some(value.clone()))).collect();
    let mut restored = Restored {
        revision: view.revision(),
        written: changed.len(),
        deleted: gone.len(),
    };
    let mut changes = stream::iter(gone.into_iter().chain(changed))
        .map(|write| async move {
            match connection.write(&write).await {
                // Somebody deleted meanwhile what was to be deleted.
                Err(WriteError::Conflict { .. }) => Ok(None),
                outcome => outcome.map(Some),
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut last = None;
    while let Some(change) = changes.try_next().await? {
        let Some(change) = change else { continue };
        restored.revision = restored.revision.max(change.revision);
        last = Some(change);
    }
    drop(changes);
    if let Some(mut change) = last {
        change.revision = restored.revision;
        visible(change, view, seen).await?;
    }
    Ok(restored)
}

fn write(key: &str, value: Option<Bytes>) -> Write {
    Write {
        key: key.to_owned(),
        expect: Expect::Anything,
        value,
        durable: true,
    }
}
