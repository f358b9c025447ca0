//! The embedded engine's files: an append-only log of commits, and from time to time a checkpoint of all live entries.
//!
//! `log.N` holds the commits from number N on; `checkpoint.N` holds what was live before commit N. A commit is one frame,
//! appended and made durable by one fdatasync. Once a log has grown past its share of the live data a new one is begun, a
//! checkpoint is written beside the commits, and what is older is removed. History is not kept.

mod checkpoint;
mod frame;
mod log;
mod recover;

use crate::engine::{Entry, Revision};
use crate::seal::Seals;
use log::Log;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A log smaller than this is not worth a checkpoint.
const SMALLEST_DUE: u64 = 16 << 20;
/// A log is due for a checkpoint when it holds half of what is live: a start then reads at most half as much again, and
/// each byte is written at most three times in all.
const LIVE_SHARE: u64 = 2;
/// So many logs are due whatever their size: each start begins one, and each has its own space.
const MOST_LOGS: usize = 8;

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file cannot be made or reached.
    #[error("open the store {path}")]
    Reach {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another process has it.
    #[error("open the store {path}: another process has it open; stop that one first")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// It is damaged, or not a store at all. Nothing of it was changed.
    #[error(
        "open the store {path}: it cannot be read: {damage}; restore it from a snapshot, or move the folder away to begin an empty store"
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        damage: Damage,
    },
}

/// What is wrong with a file of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Something else has its name, or another version wrote it.
    #[error("it is not of the kind that its name says")]
    Foreign,
    /// Bytes that were durable have changed.
    #[error("byte {at} and what follows do not fit their checksum")]
    Changed {
        /// Where the damaged part begins.
        at: u64,
    },
    /// A file between others is missing.
    #[error("commit {number} is missing")]
    Missing {
        /// The first that is missing.
        number: u64,
    },
}

/// A commit did not reach the disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No space.
    #[error(
        "write {changes} changes to {path}: no space left; free some, nothing was lost and writing goes on by itself ({cause})"
    )]
    Full {
        /// How many keys.
        changes: usize,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Anything else.
    #[error("write {changes} changes to {path}: {cause}")]
    Failed {
        /// How many keys.
        changes: usize,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// What the files held when they were opened.
pub(crate) struct Loaded {
    pub(crate) ceiling: Revision,
    pub(crate) entries: Vec<Entry>,
}

/// The files of one store, this process's own until it is dropped.
pub(crate) struct Disk {
    dir: PathBuf,
    log: Log,
    /// The next commit.
    number: u64,
    ceiling: Revision,
    /// Bytes of keys and values in the last checkpoint.
    live: u64,
    /// Logs since the last checkpoint, and the bytes of those that are full.
    logs: usize,
    full: u64,
    checkpoint: Option<JoinHandle<io::Result<u64>>>,
    frame: Vec<u8>,
    seals: Arc<Seals>,
    /// Something is not sealed as it should be: the next checkpoint mends that, and is due.
    stale: bool,
    _lock: File,
}

// === impl Disk ===

impl Disk {
    /// Opens or makes a store in `dir` and reads all of it.
    pub(crate) fn open(dir: &Path, seals: Arc<Seals>) -> Result<(Disk, Loaded), OpenError> {
        std::fs::create_dir_all(dir).map_err(|cause| reach(dir, cause))?;
        let lock = lock(dir)?;
        let mut found = recover::recover(dir)?;
        let mut stale = false;
        for entry in &mut found.entries {
            stale |= seals.open_entry(entry);
        }
        let log = Log::begin(dir, found.number).map_err(|cause| reach(dir, cause))?;
        let disk = Disk {
            dir: dir.to_owned(),
            log,
            number: found.number,
            ceiling: found.ceiling,
            live: found.live,
            logs: found.logs + 1,
            full: found.logged,
            checkpoint: None,
            frame: Vec::new(),
            seals,
            stale,
            _lock: lock,
        };
        let loaded = Loaded {
            ceiling: found.ceiling,
            entries: found.entries,
        };
        Ok((disk, loaded))
    }

    /// Makes `states` (none: deleted) and the ceiling durable, all or nothing.
    pub(crate) fn commit<'a>(
        &mut self,
        states: impl ExactSizeIterator<Item = (&'a Arc<str>, &'a Option<Entry>)>,
        ceiling: Revision,
    ) -> Result<(), DiskError> {
        let changes = states.len();
        self.frame.clear();
        let start = frame::begin(&mut self.frame, self.number, ceiling);
        for (key, state) in states {
            frame::change(&mut self.frame, &self.seals, key, state.as_ref());
        }
        let sealed = frame::seal(&mut self.frame, start, self.log.salt());
        let appended = sealed.and_then(|()| self.log.append(&self.frame));
        appended.map_err(|cause| disk_error(changes, self.log.path(), cause))?;
        self.number += 1;
        self.ceiling = ceiling;
        // One large commit must not keep its memory for good.
        self.frame.shrink_to(1 << 20);
        Ok(())
    }

    /// Begins a new log and a checkpoint of `live` in the background, if the log is due for it. What goes wrong is logged:
    /// the log goes on, and so does its growth until the next try.
    pub(crate) fn checkpoint_if_due(&mut self, live: impl FnOnce() -> Vec<Entry>) {
        if let Some(running) = self.checkpoint.take_if(|running| running.is_finished()) {
            self.checkpointed(running);
        }
        let due = self.full + self.log.len() > SMALLEST_DUE.max(self.live / LIVE_SHARE)
            || self.logs > MOST_LOGS
            || self.stale;
        if !due || self.checkpoint.is_some() {
            return;
        }
        match Log::begin(&self.dir, self.number) {
            Ok(next) => {
                self.log = next;
                (self.logs, self.full) = (1, 0);
                // If it fails now, the next start finds the same again.
                self.stale = false;
                let seals = self.seals.clone();
                let (dir, number, ceiling, entries) = (self.dir.clone(), self.number, self.ceiling, live());
                let write = move || checkpoint::write(&dir, number, ceiling, &seals, &entries);
                let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(write);
                self.checkpoint = thread.inspect_err(warn_late).ok();
            }
            Err(error) => warn_late(&error),
        }
    }

    fn checkpointed(&mut self, finished: JoinHandle<io::Result<u64>>) {
        match finished.join() {
            Ok(Ok(live)) => self.live = live,
            Ok(Err(error)) => warn_late(&error),
            Err(_) => tracing::error!("the store's checkpoint panicked; its log keeps growing"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(running) = self.checkpoint.take() {
            self.checkpointed(running);
        }
    }
}

fn warn_late(error: &io::Error) {
    tracing::warn!(%error, "the store's checkpoint did not come about; its log grows until the next one");
}

/// One process at a time; the lock ends with the process.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = private().create(true).truncate(false).open(&path);
    let file = file.map_err(|cause| reach(&path, cause))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(reach(&path, cause)),
    }
}

/// The store holds Secrets: nobody else may read it.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Makes new, renamed and removed names in `dir` durable.
fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn reach(path: &Path, cause: io::Error) -> OpenError {
    OpenError::Reach {
        path: path.to_owned(),
        cause,
    }
}

fn disk_error(changes: usize, path: &Path, cause: io::Error) -> DiskError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let path = path.to_owned();
    match cause.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => DiskError::Full { changes, path, cause },
        _ => DiskError::Failed { changes, path, cause },
    }
}
