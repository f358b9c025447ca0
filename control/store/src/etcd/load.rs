//! Reads everything below the prefix at one revision, page by page.

use super::protocol::RangeRequest;
use super::translate::{past, signed};
use super::{Connection, EtcdError};
use crate::engine::{Entry, Revision};

/// Keys in a page: with objects of some KiB an answer of a few MB.
const PAGE: i64 = 2000;

/// All entries, and the revision at which they were read.
pub(super) struct Loaded {
    pub(super) revision: Revision,
    pub(super) entries: Vec<Entry>,
    /// Those among them that are not sealed as they should be.
    pub(super) stale: Vec<Entry>,
}

/// Reads all.
pub(super) async fn load(connection: &Connection) -> Result<Loaded, EtcdError> {
    let mut request = RangeRequest {
        key: connection.layout.prefix.as_bytes().to_vec(),
        range_end: past(&connection.layout.prefix),
        limit: PAGE,
        revision: 0,
    };
    let (mut entries, mut stale) = (Vec::new(), Vec::new());
    loop {
        let page = connection.kv().range(request.clone()).await;
        let page = page
            .map_err(|cause| connection.unreachable("read everything from".to_owned(), cause))?
            .into_inner();
        if request.revision == 0 {
            request.revision = page.header.map_or(0, |header| header.revision);
        }
        if let Some(last) = page.kvs.last() {
            request.key = [last.key.as_slice(), &[0]].concat();
        }
        for (entry, is_stale) in page.kvs.into_iter().filter_map(|kv| connection.layout.opened(kv)) {
            stale.extend(is_stale.then(|| entry.clone()));
            entries.push(entry);
        }
        if !page.more {
            let revision = u64::try_from(request.revision).unwrap_or_default();
            debug_assert_eq!(signed(revision), request.revision);
            return Ok(Loaded {
                revision,
                entries,
                stale,
            });
        }
    }
}
