//! Decides writes, in order, against the view and against those decided before them in the same commit.

use crate::engine::{Change, Entry, Expect, Revision, Write};
use crate::view::View;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Each changed key's last state; none for a key that is gone.
pub(crate) type Latest = BTreeMap<Arc<str>, Option<Entry>>;

/// The changes of one commit, before it happens.
pub(crate) struct Draft<'a> {
    view: &'a View,
    revision: Revision,
    latest: Latest,
    changes: Vec<Arc<Change>>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(view: &'a View) -> Draft<'a> {
        Draft {
            view,
            revision: view.revision(),
            latest: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// The change that `write` makes, or the present entry that forbids it.
    pub(crate) fn decide(&mut self, write: Write) -> Result<Arc<Change>, Option<Entry>> {
        let present = match self.latest.get(write.key.as_str()) {
            Some(entry) => entry.clone(),
            None => self.view.get(&write.key),
        };
        if !holds(write.expect, present.as_ref()) {
            return Err(present);
        }
        let revision = self.revision + 1;
        let change = match (write.value, present) {
            (None, None) => return Err(None),
            (None, Some(last)) => Change {
                revision,
                entry: last.clone(),
                previous: Some(last),
                deleted: true,
            },
            (Some(value), previous) => {
                let (key, created) = match &previous {
                    Some(before) => (before.key.clone(), before.created),
                    None => (Arc::from(write.key), revision),
                };
                Change {
                    revision,
                    entry: Entry::new(key, value, created, revision),
                    previous,
                    deleted: false,
                }
            }
        };
        self.revision = revision;
        let change = Arc::new(change);
        self.latest.insert(
            change.entry.key.clone(),
            (!change.deleted).then(|| change.entry.clone()),
        );
        self.changes.push(change.clone());
        Ok(change)
    }

    /// The revision that the store has once this is committed.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The changes in revision order, and each changed key's last state.
    pub(crate) fn finish(self) -> (Vec<Arc<Change>>, Latest) {
        (self.changes, self.latest)
    }
}

fn holds(expect: Expect, present: Option<&Entry>) -> bool {
    match expect {
        Expect::Absent => present.is_none(),
        Expect::At(revision) => present.is_some_and(|entry| entry.modified == revision),
        Expect::Anything => true,
    }
}
