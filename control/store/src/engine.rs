//! The words of the store: what an engine is asked and what it answers.

use crate::WriteError;
use crate::snapshot::Restored;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// History is forgotten in steps of this age, so that five to ten minutes of it are there (upstream compacts every 5 min).
pub(crate) const HISTORY: Duration = Duration::from_secs(300);

/// One count of all writes, from 1; 0 means "never".
pub type Revision = u64;

/// A key with its present value: one pointer, so that the index, the history, watchers and lists share what it is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(Arc<Kept>);

/// What an [`Entry`] points to.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its key.
    pub key: Arc<str>,
    /// Its bytes.
    pub value: Bytes,
    /// When the key was last created.
    pub created: Revision,
    /// When it was last written.
    pub modified: Revision,
}

impl Entry {
    /// `value` of `key`.
    pub fn new(key: impl Into<Arc<str>>, value: Bytes, created: Revision, modified: Revision) -> Entry {
        Entry(Arc::new(Kept {
            key: key.into(),
            value,
            created,
            modified,
        }))
    }

    /// The same with another value.
    pub fn with_value(&self, value: Bytes) -> Entry {
        Entry::new(self.key.clone(), value, self.created, self.modified)
    }
}

impl Deref for Entry {
    type Target = Kept;

    fn deref(&self) -> &Kept {
        &self.0
    }
}

/// What must hold for a write to happen; else the write is refused and the present entry comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists and was last written at this revision.
    At(Revision),
    /// Nothing.
    Anything,
}

/// One write; `value: None` deletes.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which key.
    pub key: String,
    /// Condition.
    pub expect: Expect,
    /// New bytes, or none to delete.
    pub value: Option<Bytes>,
    /// Whether the acknowledgement waits for the disk. Only what may be lost with the power says no (Leases, Events).
    pub durable: bool,
}

/// What a watcher sees, in revision order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision of this change.
    pub revision: Revision,
    /// The entry as it is now; for a deletion, its last entry.
    pub entry: Entry,
    /// The entry before, if there was one. Selectors need it to tell "left" from "changed".
    pub previous: Option<Entry>,
    /// Whether the key is gone.
    pub deleted: bool,
}

/// A consistent reading of a range.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The store's revision at the reading.
    pub revision: Revision,
    /// The entries in key order.
    pub entries: Vec<Entry>,
    /// How many more there would have been past the limit.
    pub remaining: u64,
}

/// Where the answer to a submitted write goes.
pub(crate) type Reply = oneshot::Sender<Result<Change, WriteError>>;

/// What the store holds instead of whatever it holds, and where the answer goes.
pub(crate) struct Replacement {
    /// Each key once.
    pub(crate) entries: BTreeMap<Arc<str>, Bytes>,
    pub(crate) reply: oneshot::Sender<Result<Restored, WriteError>>,
}

/// Puts writes into one order and keeps them: the embedded file, or another store's protocol.
///
/// An engine decides each write against everything before it, keeps it, gives the change to the [`View`](crate::view::View)
/// in revision order, and only then answers. It answers every write it was given, if only with an error.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Queues one write; never blocks.
    fn submit(&self, write: Write, reply: Reply);

    /// Queues a replacement of everything; never blocks. What is the same already is left alone.
    fn replace(&self, replacement: Replacement);

    /// Forgets history before `revision` where the engine keeps it too.
    fn compact(&self, revision: Revision);
}
