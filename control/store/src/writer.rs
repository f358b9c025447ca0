//! The embedded engine's thread: takes what is queued, decides it, commits it with one fsync, shows it, answers.

use crate::draft::Draft;
use crate::embedded::{Disk, DiskError, OpenError};
use crate::engine::{Change, Engine, Entry, Expect, HISTORY, Replacement, Reply, Revision, Write};
use crate::seal::Seals;
use crate::snapshot::Restored;
use crate::store::WriteError;
use crate::view::View;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Writes in one commit. Past this the fsync is a small part of a commit's cost and only latency grows.
const COMMIT_WRITES: usize = 1024;
/// Bytes in one commit, for the same reason.
const COMMIT_BYTES: usize = 8 << 20;
/// How long a non-durable write may stay in memory only: an idle cluster's heartbeats cost one fsync a minute.
const LAZY: Duration = Duration::from_secs(60);
/// Keys that may wait for the lazy commit. A commit of this many takes some tens of milliseconds.
const LAZY_KEYS: usize = 8192;
/// After a failed commit, how long further ones fail at once, so that a full disk is not asked thousands of times a second.
const RETRY_DISK: Duration = Duration::from_secs(1);
/// Revisions promised to the disk ahead, so that non-durable writes can take theirs without a commit.
const RESERVE: Revision = 1 << 16;

/// In key order, so that neighbours in the file are written together.
type Keys = BTreeMap<Arc<str>, Option<Entry>>;

/// What the thread is asked.
enum Request {
    Write(Write, Reply),
    Replace(Replacement),
}

/// The handle of the writing thread. Dropping it commits what is not on disk yet and closes the file.
pub(crate) struct Writer {
    queue: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the store in `dir` and starts the thread.
    pub(crate) fn start(dir: &Path, seals: Arc<Seals>) -> Result<(Arc<View>, Writer), OpenError> {
        let started = Instant::now();
        let (disk, loaded) = Disk::open(dir, seals)?;
        let ceiling = loaded.ceiling;
        tracing::info!(
            dir = %dir.display(), entries = loaded.entries.len(), revision = ceiling, took = ?started.elapsed(), "store open"
        );
        let view = Arc::new(View::new(ceiling, loaded.entries));
        let (queue, requests) = channel();
        let commits = Commits {
            view: view.clone(),
            disk,
            ceiling,
            unsaved: Keys::new(),
            lazy_since: None,
            failed: None,
            forget: (Instant::now(), ceiling),
        };
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || commits.run(&requests))
            .map_err(|cause| OpenError::Reach {
                path: dir.to_owned(),
                cause,
            })?;
        Ok((
            view,
            Writer {
                queue: Some(queue),
                thread: Some(thread),
            },
        ))
    }
}

impl Writer {
    fn ask(&self, request: Request) {
        if let Some(queue) = &self.queue {
            // A closed queue drops the reply, which its owner reads as "closed".
            let _ = queue.send(request);
        }
    }
}

impl Engine for Writer {
    fn submit(&self, write: Write, reply: Reply) {
        self.ask(Request::Write(write, reply));
    }

    fn replace(&self, replacement: Replacement) {
        self.ask(Request::Replace(replacement));
    }

    /// The file holds live entries only.
    fn compact(&self, _revision: Revision) {}
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked; writes that were not durable are lost");
        }
    }
}

/// The thread's state.
struct Commits {
    view: Arc<View>,
    disk: Disk,
    /// The last revision that the disk allows to be handed out.
    ceiling: Revision,
    /// Keys whose last state is not known to be on disk: non-durable writes, and whatever a failed commit touched.
    unsaved: Keys,
    lazy_since: Option<Instant>,
    failed: Option<(Instant, Arc<DiskError>)>,
    /// The next step of forgetting: what was before this revision is older than this.
    forget: (Instant, Revision),
}

impl Commits {
    fn run(mut self, requests: &Receiver<Request>) {
        let view = self.view.clone();
        self.disk.checkpoint_if_due(|| view.range("", None, 0).entries);
        loop {
            match self.wait(requests) {
                Ok(first) => {
                    let (batch, replacement) = gather(first, requests);
                    if !batch.is_empty() {
                        self.settle(batch);
                    }
                    if let Some(replacement) = replacement {
                        self.replace(replacement);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.save_lazily(),
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
        }
    }

    fn wait(&self, requests: &Receiver<Request>) -> Result<Request, RecvTimeoutError> {
        match self.lazy_since {
            Some(since) => requests.recv_timeout(LAZY.saturating_sub(since.elapsed())),
            None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Decides, commits, shows and answers a batch.
    fn settle(&mut self, batch: Vec<(Write, Reply)>) {
        let view = self.view.clone();
        let mut draft = Draft::new(&view);
        let mut durable = self.unsaved.len() > LAZY_KEYS;
        let mut decided = Vec::with_capacity(batch.len());
        for (write, reply) in batch {
            let waits_for_disk = write.durable;
            let decision = draft.decide(write);
            durable |= waits_for_disk && decision.is_ok();
            decided.push((reply, decision));
        }
        durable |= draft.revision() > self.ceiling;
        let revision = draft.revision();
        let (changes, keys) = draft.finish();
        let kept = if durable {
            self.save(keys, revision)
        } else {
            self.keep(keys)
        };
        if kept.is_ok() && !changes.is_empty() {
            self.view.apply(&changes);
            self.forget(revision);
        }
        decided
            .into_iter()
            .for_each(|(reply, decision)| answer(reply, decision, &kept));
        self.disk.checkpoint_if_due(|| view.range("", None, 0).entries);
    }

    /// Replaces everything in one commit.
    fn replace(&mut self, Replacement { entries, reply }: Replacement) {
        let view = self.view.clone();
        let mut draft = Draft::new(&view);
        let mut restored = Restored::default();
        for present in view.range("", None, 0).entries {
            if !entries.contains_key(&present.key) && draft.decide(unconditional(&present.key, None)).is_ok() {
                restored.deleted += 1;
            }
        }
        for (key, value) in entries {
            let differs = view.get(&key).is_none_or(|present| present.value != value);
            if differs && draft.decide(unconditional(&key, Some(value))).is_ok() {
                restored.written += 1;
            }
        }
        restored.revision = draft.revision();
        let (changes, keys) = draft.finish();
        let outcome = match self.save(keys, restored.revision) {
            Ok(()) => {
                self.view.apply(&changes);
                Ok(restored)
            }
            Err(error) => Err(WriteError::of(&error)),
        };
        // Whoever asked may have gone away; the replacement stands all the same.
        let _ = reply.send(outcome);
        self.disk.checkpoint_if_due(|| view.range("", None, 0).entries);
    }

    /// Commits `keys` and everything unsaved; on failure the unsaved keys include `keys` as they were before.
    fn save(&mut self, keys: Keys, revision: Revision) -> Result<(), Arc<DiskError>> {
        if let Some((when, error)) = &self.failed
            && when.elapsed() < RETRY_DISK
        {
            return Err(error.clone());
        }
        let changed: Vec<Arc<str>> = keys.keys().cloned().collect();
        self.unsaved.extend(keys);
        let ceiling = revision + RESERVE;
        match self.disk.commit(self.unsaved.iter(), ceiling) {
            Ok(()) => {
                self.ceiling = ceiling;
                self.unsaved = Keys::new();
                self.lazy_since = None;
                if self.failed.take().is_some() {
                    tracing::info!("the store can write again");
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot write");
                // The failed commit may still be found after a restart: the next one says again how it really is.
                for key in changed {
                    let present = self.view.get(&key);
                    self.unsaved.insert(key, present);
                }
                self.lazy_since = Some(Instant::now());
                let error = Arc::new(error);
                self.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Done by writes and by no timer: a store that nobody writes to has no history that grows.
    fn forget(&mut self, revision: Revision) {
        let (when, before) = self.forget;
        if when.elapsed() >= HISTORY {
            self.view.compact(before);
            self.forget = (Instant::now(), revision);
        }
    }

    fn keep(&mut self, keys: Keys) -> Result<(), Arc<DiskError>> {
        if !keys.is_empty() {
            self.lazy_since.get_or_insert_with(Instant::now);
            self.unsaved.extend(keys);
        }
        Ok(())
    }

    fn save_lazily(&mut self) {
        // A failure is logged and tried again one lazy period later, or by the next durable write.
        let _ = self.save(Keys::new(), self.view.revision());
    }

    fn close(mut self) {
        let revision = self.view.revision();
        // Nothing above `revision` was handed out, so that the next start goes on from here.
        if let Err(error) = self.disk.commit(self.unsaved.iter(), revision) {
            tracing::error!(%error, "the store was closed without its non-durable writes");
        }
    }
}

/// `first` and what else is queued already, within one commit's bounds, up to a replacement.
fn gather(first: Request, requests: &Receiver<Request>) -> (Vec<(Write, Reply)>, Option<Replacement>) {
    let size = |write: &Write| write.key.len() + write.value.as_ref().map_or(0, |value| value.len());
    let (mut bytes, mut batch) = (0, Vec::new());
    let mut next = Some(first);
    while let Some(request) = next {
        match request {
            Request::Write(write, reply) => {
                bytes += size(&write);
                batch.push((write, reply));
            }
            Request::Replace(replacement) => return (batch, Some(replacement)),
        }
        let room = batch.len() < COMMIT_WRITES && bytes < COMMIT_BYTES;
        next = room.then(|| requests.try_recv().ok()).flatten();
    }
    (batch, None)
}

fn unconditional(key: &str, value: Option<Bytes>) -> Write {
    Write {
        key: key.to_owned(),
        expect: Expect::Anything,
        value,
        durable: true,
    }
}

fn answer(reply: Reply, decision: Result<Arc<Change>, Option<Entry>>, kept: &Result<(), Arc<DiskError>>) {
    let result = match (kept, decision) {
        (Ok(()), Ok(change)) => Ok(Change::clone(&change)),
        // Also for refused writes: what refused them may be a write that failed with the same commit.
        (Ok(()), Err(present)) => Err(WriteError::Conflict { present }),
        (Err(error), _) => Err(WriteError::of(error)),
    };
    // Whoever asked may have gone away; the write stands all the same.
    let _ = reply.send(result);
}
