//! The store's words in etcd's, and back; no IO.

use super::protocol::{
    Compare, DeleteRangeRequest, Event, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    event::EventType,
    request_op::Request,
    response_op::Response,
};
use crate::engine::{Change, Entry, Expect, Revision, Write};
use crate::seal::Seals;
use std::sync::Arc;

/// etcd's revisions are signed; none is negative or near the end of its range.
pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn unsigned(revision: i64) -> Revision {
    u64::try_from(revision).unwrap_or_default()
}

/// The first key past all that begin with `prefix` (etcd's `range_end` for a prefix).
pub(super) fn past(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// How keys and values lie in etcd.
pub(crate) struct Layout {
    pub(super) prefix: String,
    pub(super) seals: Arc<Seals>,
}

// === impl Layout ===

impl Layout {
    /// The transaction that does `write` if what it expects holds, and else reads what is there.
    pub(super) fn transaction(&self, write: &Write) -> TxnRequest {
        let key = format!("{}{}", self.prefix, write.key).into_bytes();
        let compare = |target: CompareTarget, union: TargetUnion, result: CompareResult| Compare {
            result: result.into(),
            target: target.into(),
            key: key.clone(),
            target_union: Some(union),
        };
        let mut conditions: Vec<Compare> = match write.expect {
            Expect::Absent => vec![compare(
                CompareTarget::Create,
                TargetUnion::CreateRevision(0),
                CompareResult::Equal,
            )],
            Expect::At(revision) => vec![compare(
                CompareTarget::Mod,
                TargetUnion::ModRevision(signed(revision)),
                CompareResult::Equal,
            )],
            Expect::Anything => Vec::new(),
        };
        let act = match &write.value {
            Some(value) => Request::RequestPut(PutRequest {
                key: key.clone(),
                value: self.seals.seal(&write.key, value).into(),
                prev_kv: true,
            }),
            None => {
                // Deleting what is not there is refused, as the store promises; etcd alone would take a revision for nothing.
                conditions.push(compare(
                    CompareTarget::Create,
                    TargetUnion::CreateRevision(0),
                    CompareResult::Greater,
                ));
                Request::RequestDeleteRange(DeleteRangeRequest {
                    key: key.clone(),
                    prev_kv: true,
                })
            }
        };
        let read = Request::RequestRange(RangeRequest {
            key,
            ..RangeRequest::default()
        });
        TxnRequest {
            compare: conditions,
            success: vec![RequestOp { request: Some(act) }],
            failure: vec![RequestOp { request: Some(read) }],
        }
    }

    /// What the transaction did, or the entry that stood against it.
    pub(super) fn outcome(&self, write: &Write, answer: TxnResponse) -> Result<Change, Option<Entry>> {
        let revision = unsigned(answer.header.map_or(0, |header| header.revision));
        let response = answer.responses.into_iter().next().and_then(|op| op.response);
        let previous = match response {
            Some(Response::ResponseRange(found)) => {
                return Err(found.kvs.into_iter().next().and_then(|kv| self.entry(kv)));
            }
            Some(Response::ResponsePut(put)) => put.prev_kv,
            Some(Response::ResponseDeleteRange(deleted)) => deleted.prev_kvs.into_iter().next(),
            None => return Err(None),
        };
        let previous = previous.and_then(|kv| self.entry(kv));
        match (&write.value, previous) {
            (Some(value), previous) => Ok(Change {
                revision,
                entry: {
                    let created = previous.as_ref().map_or(revision, |before| before.created);
                    Entry::new(write.key.as_str(), value.clone(), created, revision)
                },
                previous,
                deleted: false,
            }),
            (None, Some(last)) => Ok(Change {
                revision,
                entry: last.clone(),
                previous: Some(last),
                deleted: true,
            }),
            (None, None) => Err(None),
        }
    }

    /// An entry; none for a key that is not text below `prefix`, which the store never wrote.
    pub(super) fn entry(&self, kv: KeyValue) -> Option<Entry> {
        self.opened(kv).map(|(entry, _)| entry)
    }

    /// The same, and whether it should be written again: it is not sealed as it should be.
    pub(super) fn opened(&self, kv: KeyValue) -> Option<(Entry, bool)> {
        let key = std::str::from_utf8(&kv.key).ok()?.strip_prefix(self.prefix.as_str())?;
        let (created, modified) = (unsigned(kv.create_revision), unsigned(kv.mod_revision));
        let mut entry = Entry::new(key, kv.value.into(), created, modified);
        // A deletion is told without a value.
        let stale = !entry.value.is_empty() && self.seals.open_entry(&mut entry);
        Some((entry, stale))
    }

    /// A change as the watch reports it. `present` knows the entry before where etcd has forgotten it.
    pub(super) fn change(&self, event: Event, present: impl Fn(&str) -> Option<Entry>) -> Option<Arc<Change>> {
        let deleted = event.r#type() == EventType::Delete;
        let now = self.entry(event.kv?)?;
        let previous = event
            .prev_kv
            .and_then(|kv| self.entry(kv))
            .or_else(|| present(&now.key));
        let revision = now.modified;
        let entry = match (&previous, deleted) {
            // etcd's event of a deletion has no value; the last one is what watchers are shown.
            (Some(last), true) => last.clone(),
            // Keys are kept once.
            (Some(last), false) => Entry::new(last.key.clone(), now.value.clone(), now.created, now.modified),
            (None, true) => return None,
            (None, false) => now,
        };
        Some(Arc::new(Change {
            revision,
            entry,
            previous,
            deleted,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(past("/pintle/"), b"/pintle0");
        assert_eq!(past("a"), b"b");
        assert_eq!(past(""), [0]);
    }

    #[test]
    fn keys_of_others_are_no_entries() {
        let kv = |key: &[u8]| KeyValue {
            key: key.to_vec(),
            ..KeyValue::default()
        };
        let layout = Layout {
            prefix: "/pintle".to_owned(),
            seals: Arc::default(),
        };
        assert_eq!(&*layout.entry(kv(b"/pintle/pods/a/b")).unwrap().key, "/pods/a/b");
        assert!(layout.entry(kv(b"/registry/pods")).is_none());
        assert!(layout.entry(kv(b"/pintle/\xff")).is_none());
    }
}
