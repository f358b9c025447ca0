//! The store as its users see it: write, get, range, watch, compact.
//!
//! The rule of visibility: a durable write can be read and watched only after it is on disk, and then before its writer
//! hears of it. A non-durable one can be read at once, unless durable ones are ahead of it in the same commit.

use crate::embedded::{DiskError, OpenError};
use crate::engine::{Change, Engine, Entry, Replacement, Revision, Snapshot, Write};
use crate::etcd::{Etcd, EtcdError, EtcdOptions};
use crate::seal::{SealError, Seals};
use crate::snapshot::{self, Restored};
use crate::view::{Compacted, View};
use crate::watch::Watch;
use crate::writer::Writer;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Writes that may wait for their commit at once; further ones wait before they are queued, which bounds memory.
const QUEUE: usize = 8192;

/// Why a write did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// What the write expected does not hold; also a deletion of a key that does not exist.
    #[error("the key is not at the expected revision")]
    Conflict {
        /// What is there instead.
        present: Option<Entry>,
    },
    /// No space. The write may be tried again once there is.
    #[error(transparent)]
    Full(Arc<DiskError>),
    /// The disk refused. Whether the write will be there after a restart is unknown; this process does not have it.
    #[error(transparent)]
    Disk(Arc<DiskError>),
    /// etcd did not answer, or refused. Whether the write happened is unknown; the watch will tell.
    #[error(transparent)]
    Etcd(Arc<EtcdError>),
    /// etcd's space quota is used up. The write may be tried again once there is room.
    #[error(transparent)]
    EtcdFull(Arc<EtcdError>),
    /// A value of a snapshot cannot be read with the keys that there are. Nothing of it was restored.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

impl WriteError {
    pub(crate) fn of(error: &Arc<DiskError>) -> WriteError {
        match **error {
            DiskError::Full { .. } => WriteError::Full(error.clone()),
            DiskError::Failed { .. } => WriteError::Disk(error.clone()),
        }
    }
}

/// A store; cloning gives another handle to the same one. Dropping the last handle writes what was not durable yet.
#[derive(Clone)]
pub struct Store {
    view: Arc<View>,
    engine: Arc<dyn Engine>,
    queue: Arc<Semaphore>,
    seals: Arc<Seals>,
}

impl Store {
    /// Opens the store kept in folder `dir`, or makes a new one there, and loads all of it into memory.
    ///
    /// After an orderly close the revision goes on where it was. After a crash it jumps ahead of every revision that may
    /// have been seen, and watches from before then are [`Compacted`].
    pub fn open(dir: &Path) -> Result<Store, OpenError> {
        Self::open_sealed(dir, Seals::default())
    }

    /// The same, its files sealed as `seals` says. What an older key sealed, or none, is sealed anew in the background.
    pub fn open_sealed(dir: &Path, seals: Seals) -> Result<Store, OpenError> {
        let seals = Arc::new(seals);
        let (view, writer) = Writer::start(dir, seals.clone())?;
        Ok(Store {
            view,
            engine: Arc::new(writer),
            queue: Arc::new(Semaphore::new(QUEUE)),
            seals,
        })
    }

    /// Opens the store kept in an etcd and loads all of it into memory. Its revisions are etcd's.
    pub async fn connect(options: &EtcdOptions) -> Result<Store, EtcdError> {
        Self::connect_sealed(options, Seals::default()).await
    }

    /// The same, what lies in etcd sealed as `seals` says. What an older key sealed, or none, is written anew in the
    /// background.
    pub async fn connect_sealed(options: &EtcdOptions, seals: Seals) -> Result<Store, EtcdError> {
        let seals = Arc::new(seals);
        let (view, engine) = Etcd::start(options, seals.clone()).await?;
        Ok(Store {
            view,
            engine: Arc::new(engine),
            queue: Arc::new(Semaphore::new(QUEUE)),
            seals,
        })
    }

    /// Writes one key; returns the change once it is durable and visible.
    ///
    /// Dropping the future before it ends leaves open whether the write happens.
    pub async fn write(&self, write: Write) -> Result<Change, WriteError> {
        let _room = self.queue.acquire().await.map_err(|_| WriteError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.engine.submit(write, reply);
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// Everything live as the pieces of a snapshot, sealed where it is kept sealed.
    pub fn snapshot(&self) -> impl Iterator<Item = Bytes> + use<> {
        snapshot::encode_sealed(self.range("", None, 0), self.seals.clone())
    }

    /// Makes the store hold exactly `entries`: writes what is missing or different, deletes the rest; watchers see each
    /// change. The embedded engine does all of it or nothing; etcd one key after the other. Sealed values are opened first.
    pub async fn restore(&self, entries: Vec<(String, Bytes)>) -> Result<Restored, WriteError> {
        let (reply, answer) = oneshot::channel();
        let opened = entries.into_iter().map(|(key, value)| {
            let value = self.seals.open(&key, value)?.value;
            Ok((key.into(), value))
        });
        let entries = opened.collect::<Result<_, SealError>>()?;
        self.engine.replace(Replacement { entries, reply });
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// The entry of `key`.
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.view.get(key)
    }

    /// Entries whose keys start with `prefix`, in key order, from the first one greater than `after`; at most `limit`, 0 for all.
    pub fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Snapshot {
        self.view.range(prefix, after, limit)
    }

    /// The same as it was at `revision`, so that the pages of one list agree with each other.
    pub fn range_at(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        revision: Revision,
    ) -> Result<Snapshot, Compacted> {
        self.view.range_at(prefix, after, limit, revision)
    }

    /// A page whose rest nobody counts: as of `at`, or of now. Its `remaining` is 1 if there is more, else 0, so that it costs
    /// what is on it, and what was written since `at`.
    pub fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Snapshot, Compacted> {
        self.view.read(prefix, after, limit, at, false)
    }

    /// Every change after revision `from` to keys that start with `prefix`, in order, each once.
    ///
    /// A watch from the revision of a [`Snapshot`] misses nothing and repeats nothing of it.
    pub fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Compacted> {
        self.view.watch(prefix, from)
    }

    /// Forgets what was before `revision`: older ranges and watches get [`Compacted`]. Present entries stay.
    pub fn compact(&self, revision: Revision) {
        self.view.compact(revision);
        self.engine.compact(revision);
    }

    /// The revision of the last visible write.
    pub fn revision(&self) -> Revision {
        self.view.revision()
    }

    /// The revision before which history is forgotten.
    pub fn compacted(&self) -> Revision {
        self.view.compacted()
    }
}
