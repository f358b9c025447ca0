//! One watcher's queue of changes: filled by the view, emptied by the watcher, bounded.

use crate::engine::{Change, Revision};
use crate::view::View;
use std::any::Any;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::Notify;

/// Changes that may wait for one watcher beyond those it began with: at 10 000 writes a second, 1.6 s of not being read.
pub(crate) const BACKLOG: usize = 16 * 1024;

/// And that many bytes of objects, so that whoever does not read what others write large cannot fill the memory.
pub(crate) const BACKLOG_BYTES: usize = 64 * 1024 * 1024;

/// The watcher did not read for too long and was cut off: it must list again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the watcher fell more than {BACKLOG} changes or {} MiB behind and was cut off; list again and watch from there",
    BACKLOG_BYTES >> 20
)]
pub struct Lagged;

/// A change as its watchers are told of it: one for all of them, gone when the last of them has read it.
pub struct Notice {
    change: Arc<Change>,
    made: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Notice {
    pub(crate) fn new(change: Arc<Change>) -> Notice {
        Notice {
            change,
            made: OnceLock::new(),
        }
    }

    /// A place for what a watcher makes out of the change, so that the others need not make it again. It begins empty. None
    /// where somebody keeps something of another type there.
    pub fn made<T: Default + Send + Sync + 'static>(&self) -> Option<&T> {
        self.made.get_or_init(|| Box::new(T::default())).downcast_ref()
    }
}

impl Deref for Notice {
    type Target = Change;

    fn deref(&self) -> &Change {
        &self.change
    }
}

/// The shared end of a watcher's queue.
pub(crate) struct Feed {
    queue: Mutex<Queue>,
    limit: usize,
    limit_bytes: usize,
    lagged: AtomicBool,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    notices: VecDeque<Arc<Notice>>,
    /// Of their objects.
    bytes: usize,
}

impl Feed {
    pub(crate) fn new(backlog: VecDeque<Arc<Notice>>) -> Feed {
        let bytes = backlog.iter().map(|notice| size(notice)).sum();
        Feed {
            limit: backlog.len() + BACKLOG,
            limit_bytes: bytes + BACKLOG_BYTES,
            queue: Mutex::new(Queue {
                notices: backlog,
                bytes,
            }),
            lagged: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Appends a change, or cuts the watcher off and frees its queue.
    pub(crate) fn push(&self, notice: &Arc<Notice>) {
        let mut queue = self.queue.lock().expect("no holder of a watcher's queue panics");
        if self.lagged.load(Ordering::Relaxed) {
            return;
        }
        let bytes = queue.bytes + size(notice);
        if queue.notices.len() < self.limit && bytes <= self.limit_bytes {
            queue.bytes = bytes;
            queue.notices.push_back(notice.clone());
        } else {
            *queue = Queue::default();
            self.lagged.store(true, Ordering::Relaxed);
        }
        drop(queue);
        self.wake.notify_one();
    }

    fn take(&self, most: usize) -> Result<Vec<Arc<Notice>>, Lagged> {
        let mut queue = self.queue.lock().expect("no holder of a watcher's queue panics");
        if self.lagged.load(Ordering::Relaxed) {
            return Err(Lagged);
        }
        let many = queue.notices.len().min(most);
        let taken: Vec<_> = queue.notices.drain(..many).collect();
        queue.bytes -= taken.iter().map(|notice| size(notice)).sum::<usize>();
        Ok(taken)
    }

    fn is_empty(&self) -> bool {
        self.queue
            .lock()
            .expect("no holder of a watcher's queue panics")
            .notices
            .is_empty()
    }
}

/// What a notice holds: the object, and the one before it for as long as nobody else does.
fn size(notice: &Notice) -> usize {
    notice.entry.value.len()
}

/// A watch on a prefix. Dropping it ends it.
pub struct Watch {
    pub(crate) view: Arc<View>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) prefix: Box<str>,
    pub(crate) id: u64,
}

impl Watch {
    /// Waits for the next change. Cancel safe.
    pub async fn next(&mut self) -> Result<Arc<Notice>, Lagged> {
        loop {
            if let Some(change) = self.feed.take(1)?.pop() {
                return Ok(change);
            }
            self.feed.wake.notified().await;
        }
    }

    /// Waits until there are changes and takes up to `most` of them, so that many cost one wake-up. Cancel safe.
    pub async fn next_batch(&mut self, most: usize) -> Result<Vec<Arc<Notice>>, Lagged> {
        loop {
            let changes = self.feed.take(most.max(1))?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            self.feed.wake.notified().await;
        }
    }

    /// What waits already, up to `most`; empty where nothing does. Never waits.
    ///
    /// A write that was acknowledged before this call is among it: its watchers were given it first.
    pub fn ready(&self, most: usize) -> Result<Vec<Arc<Notice>>, Lagged> {
        self.feed.take(most)
    }

    /// The revision up to which this watcher has taken everything, for bookmarks; none while changes wait for it.
    pub fn progress(&self) -> Option<Revision> {
        // The order matters: what was delivered is read before the queue is seen to be empty.
        let delivered = self.view.delivered();
        (self.feed.is_empty() && !self.feed.lagged.load(Ordering::Relaxed)).then_some(delivered)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.view.unwatch(&self.prefix, self.id);
    }
}
