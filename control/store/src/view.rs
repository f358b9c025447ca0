//! Everything visible, in memory: the index of live entries, the history since the last compaction, the watchers.

use crate::engine::{Change, Entry, Revision, Snapshot};
use crate::watch::{Feed, Notice, Watch};
use std::cmp;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

/// Bytes that the history may keep alive besides the live entries; older changes are forgotten to stay below.
const HISTORY_BYTES: usize = 64 << 20;

/// What a change costs besides the value it replaced: itself, its key, allocation. An estimate, rounded up.
const CHANGE_BYTES: usize = 320;

/// The asked-for revision is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {asked} is no longer kept: history begins after revision {compacted}")]
pub struct Compacted {
    /// What was asked for.
    pub asked: Revision,
    /// History begins after this.
    pub compacted: Revision,
}

pub(crate) struct View {
    /// Taken before `state` by whoever needs both.
    feeds: Mutex<Feeds>,
    state: RwLock<State>,
    delivered: AtomicU64,
}

struct State {
    revision: Revision,
    compacted: Revision,
    index: BTreeMap<Arc<str>, Entry>,
    history: VecDeque<Arc<Change>>,
    history_bytes: usize,
    history_limit: usize,
}

/// Watchers by prefix, with the prefixes' lengths, so that a change finds its watchers in a few look-ups.
#[derive(Default)]
struct Feeds {
    by_prefix: HashMap<Box<str>, BTreeMap<u64, Arc<Feed>>>,
    lengths: BTreeMap<usize, usize>,
    last_id: u64,
}

impl View {
    pub(crate) fn new(revision: Revision, entries: Vec<Entry>) -> View {
        View::with_history_limit(revision, entries, HISTORY_BYTES)
    }

    fn with_history_limit(revision: Revision, entries: Vec<Entry>, history_limit: usize) -> View {
        let index = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        let state = State {
            revision,
            compacted: revision,
            index,
            history: VecDeque::new(),
            history_bytes: 0,
            history_limit,
        };
        View {
            feeds: Mutex::default(),
            state: RwLock::new(state),
            delivered: AtomicU64::new(revision),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        self.state().index.get(key).cloned()
    }

    pub(crate) fn revision(&self) -> Revision {
        self.state().revision
    }

    pub(crate) fn compacted(&self) -> Revision {
        self.state().compacted
    }

    /// Every watcher was given every change up to here.
    pub(crate) fn delivered(&self) -> Revision {
        self.delivered.load(Ordering::Acquire)
    }

    pub(crate) fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Snapshot {
        let state = self.state();
        snapshot(state.revision, state.live(prefix, after).cloned(), limit, true)
    }

    pub(crate) fn range_at(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        revision: Revision,
    ) -> Result<Snapshot, Compacted> {
        self.read(prefix, after, limit, Some(revision), true)
    }

    /// `counts`: whether all that is left is counted; else it is one if there is any.
    pub(crate) fn read(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
        counts: bool,
    ) -> Result<Snapshot, Compacted> {
        let state = self.state();
        let live = state.live(prefix, after);
        let Some(revision) = at.filter(|revision| *revision < state.revision) else {
            return Ok(snapshot(state.revision, live.cloned(), limit, counts));
        };
        // What was there instead, for each key that changed since: the oldest change knows.
        let mut before: BTreeMap<&str, Option<&Entry>> = BTreeMap::new();
        for change in state.since(revision)?.rev() {
            if in_range(&change.entry.key, prefix, after) {
                before.insert(&change.entry.key, change.previous.as_ref());
            }
        }
        Ok(snapshot(revision, as_before(live, before).cloned(), limit, counts))
    }

    pub(crate) fn watch(self: &Arc<View>, prefix: &str, from: Revision) -> Result<Watch, Compacted> {
        let mut feeds = self.feeds();
        let backlog = {
            let state = self.state();
            state
                .since(from)?
                .filter(|change| change.entry.key.starts_with(prefix))
                .map(|change| Arc::new(Notice::new(change.clone())))
                .collect()
        };
        let feed = Arc::new(Feed::new(backlog));
        let id = feeds.add(prefix, feed.clone());
        Ok(Watch {
            view: self.clone(),
            feed,
            prefix: prefix.into(),
            id,
        })
    }

    pub(crate) fn unwatch(&self, prefix: &str, id: u64) {
        self.feeds().remove(prefix, id);
    }

    /// Makes changes visible, in order, and gives them to the watchers.
    pub(crate) fn apply(&self, changes: &[Arc<Change>]) {
        // Held throughout: a watch that begins now either finds a change in the history or is given it, never both.
        let feeds = self.feeds();
        let revision = {
            let mut state = self.state.write().expect("no holder of the view panics");
            changes.iter().for_each(|change| state.apply(change));
            state.revision
        };
        changes.iter().for_each(|change| feeds.deliver(change));
        self.delivered.store(revision, Ordering::Release);
    }

    pub(crate) fn compact(&self, revision: Revision) {
        let mut state = self.state.write().expect("no holder of the view panics");
        let revision = revision.min(state.revision);
        while state.history.front().is_some_and(|change| change.revision <= revision) {
            state.forget_oldest();
        }
        state.compacted = state.compacted.max(revision);
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no holder of the view panics")
    }

    fn feeds(&self) -> MutexGuard<'_, Feeds> {
        self.feeds.lock().expect("no holder of the watchers panics")
    }
}

impl State {
    fn apply(&mut self, change: &Arc<Change>) {
        if change.deleted {
            self.index.remove(&change.entry.key);
        } else {
            self.index.insert(change.entry.key.clone(), change.entry.clone());
        }
        self.revision = change.revision;
        self.history_bytes += cost(change);
        self.history.push_back(change.clone());
        while self.history_bytes > self.history_limit {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(change) = self.history.pop_front() {
            self.history_bytes -= cost(&change);
            self.compacted = change.revision;
        }
    }

    fn live(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = &Entry> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let end = first_past(prefix);
        let past = after.zip(end.as_deref()).is_some_and(|(after, end)| after >= end);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        // A range whose start is past its end panics.
        let range = (!past).then(|| self.index.range::<str, _>((start, end)));
        range.into_iter().flatten().map(|(_, entry)| entry)
    }

    fn since(&self, revision: Revision) -> Result<impl DoubleEndedIterator<Item = &Arc<Change>>, Compacted> {
        if revision < self.compacted {
            return Err(Compacted {
                asked: revision,
                compacted: self.compacted,
            });
        }
        let start = self.history.partition_point(|change| change.revision <= revision);
        Ok(self.history.range(start..))
    }
}

impl Feeds {
    fn add(&mut self, prefix: &str, feed: Arc<Feed>) -> u64 {
        self.last_id += 1;
        let watchers = self.by_prefix.entry(prefix.into()).or_default();
        if watchers.is_empty() {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        watchers.insert(self.last_id, feed);
        self.last_id
    }

    fn remove(&mut self, prefix: &str, id: u64) {
        let Some(watchers) = self.by_prefix.get_mut(prefix) else {
            return;
        };
        watchers.remove(&id);
        if !watchers.is_empty() {
            return;
        }
        self.by_prefix.remove(prefix);
        if let Some(prefixes) = self.lengths.get_mut(&prefix.len()) {
            *prefixes -= 1;
            if *prefixes == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    fn deliver(&self, change: &Arc<Change>) {
        let key = &change.entry.key;
        let notice = Arc::new(Notice::new(change.clone()));
        for length in self.lengths.keys().take_while(|length| **length <= key.len()) {
            let watchers = key.get(..*length).and_then(|prefix| self.by_prefix.get(prefix));
            watchers
                .into_iter()
                .flat_map(BTreeMap::values)
                .for_each(|feed| feed.push(&notice));
        }
    }
}

fn cost(change: &Change) -> usize {
    CHANGE_BYTES + change.previous.as_ref().map_or(0, |before| before.value.len())
}

fn in_range(key: &str, prefix: &str, after: Option<&str>) -> bool {
    key.starts_with(prefix) && after.is_none_or(|after| key > after)
}

/// The least key greater than all that start with `prefix`, so that a range is counted without looking at its keys.
fn first_past(prefix: &str) -> Option<String> {
    let (head, last) = prefix.char_indices().next_back()?;
    match (last..=char::MAX).nth(1) {
        Some(next) => Some(format!("{}{next}", &prefix[..head])),
        None => first_past(&prefix[..head]),
    }
}

/// Present entries with those of `before` in their places, in key order; none there is none.
fn as_before<'a>(
    live: impl Iterator<Item = &'a Entry>,
    before: BTreeMap<&'a str, Option<&'a Entry>>,
) -> impl Iterator<Item = &'a Entry> {
    let (mut live, mut before) = (live.peekable(), before.into_iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (live.peek(), before.peek()) {
                (Some(live), Some((key, _))) => (*live.key).cmp(key),
                (Some(_), None) => cmp::Ordering::Less,
                (None, Some(_)) => cmp::Ordering::Greater,
                (None, None) => return None,
            };
            if order == cmp::Ordering::Less {
                return live.next();
            }
            if order == cmp::Ordering::Equal {
                live.next();
            }
            if let Some((_, Some(entry))) = before.next() {
                return Some(entry);
            }
        }
    })
}

fn snapshot(revision: Revision, mut entries: impl Iterator<Item = Entry>, limit: usize, counts: bool) -> Snapshot {
    let page: Vec<Entry> = entries
        .by_ref()
        .take(if limit == 0 { usize::MAX } else { limit })
        .collect();
    let remaining = if counts {
        entries.count()
    } else {
        entries.next().iter().count()
    };
    Snapshot {
        revision,
        entries: page,
        remaining: remaining as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::first_past;

    #[test]
    fn a_prefix_ends_where_its_last_character_does() {
        let table = [
            ("/a/", Some("/a0")),
            ("", None),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("é", Some("ê")),
        ];
        for (prefix, expected) in table {
            assert_eq!(first_past(prefix).as_deref(), expected);
        }
    }
}
