//! The store's words in etcd's, and back; no IO.

use super::protocol::{
    Compare, DeleteRangeRequest, Event, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    event::EventType,
    request_op::Request,
    response_op::Response,
};
use crate::engine::{Change, Entry, Expect, Revision, Write};
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

/// The transaction that does `write` if what it expects holds, and else reads what is there.
pub(super) fn transaction(prefix: &str, write: &Write) -> TxnRequest {
    let key = format!("{prefix}{}", write.key).into_bytes();
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
            value: value.to_vec(),
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
pub(super) fn outcome(prefix: &str, write: &Write, answer: TxnResponse) -> Result<Change, Option<Entry>> {
    let revision = unsigned(answer.header.map_or(0, |header| header.revision));
    let response = answer.responses.into_iter().next().and_then(|op| op.response);
    let previous = match response {
        Some(Response::ResponseRange(found)) => {
            return Err(found.kvs.into_iter().next().and_then(|kv| entry(prefix, kv)));
        }
        Some(Response::ResponsePut(put)) => put.prev_kv,
        Some(Response::ResponseDeleteRange(deleted)) => deleted.prev_kvs.into_iter().next(),
        None => return Err(None),
    };
    let previous = previous.and_then(|kv| entry(prefix, kv));
    match (&write.value, previous) {
        (Some(value), previous) => Ok(Change {
            revision,
            entry: Entry {
                key: write.key.as_str().into(),
                value: value.clone(),
                created: previous.as_ref().map_or(revision, |before| before.created),
                modified: revision,
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
pub(super) fn entry(prefix: &str, kv: KeyValue) -> Option<Entry> {
    let key = std::str::from_utf8(&kv.key).ok()?.strip_prefix(prefix)?;
    Some(Entry {
        key: key.into(),
        value: kv.value.into(),
        created: unsigned(kv.create_revision),
        modified: unsigned(kv.mod_revision),
    })
}

/// A change as the watch reports it. `present` knows the entry before where etcd has forgotten it.
pub(super) fn change(prefix: &str, event: Event, present: impl Fn(&str) -> Option<Entry>) -> Option<Arc<Change>> {
    let deleted = event.r#type() == EventType::Delete;
    let now = entry(prefix, event.kv?)?;
    let previous = event
        .prev_kv
        .and_then(|kv| entry(prefix, kv))
        .or_else(|| present(&now.key));
    let revision = now.modified;
    let entry = match (&previous, deleted) {
        // etcd's event of a deletion has no value; the last one is what watchers are shown.
        (Some(last), true) => last.clone(),
        // Keys are kept once.
        (Some(last), false) => Entry {
            key: last.key.clone(),
            ..now
        },
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
        assert_eq!(&*entry("/pintle", kv(b"/pintle/pods/a/b")).unwrap().key, "/pods/a/b");
        assert!(entry("/pintle", kv(b"/registry/pods")).is_none());
        assert!(entry("/pintle", kv(b"/pintle/\xff")).is_none());
    }
}
