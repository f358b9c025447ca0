//! What a store's files hold: the last checkpoint, and every commit after it.
//!
//! The last log may end with half a commit: nobody was told that it happened, and it is dropped. Anything else that does
//! not fit is damage, which is named and not repaired: acknowledged commits may be in it.

use super::checkpoint::{self, Checkpoint};
use super::frame;
use super::log::{self, BEGINNING};
use super::{Damage, OpenError, reach};
use crate::engine::{Entry, Revision};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Commits that a log can be ahead of a damaged one: more than any log holds.
const PLAUSIBLE: u64 = 1 << 32;

/// What was found.
pub(super) struct Found {
    /// The next commit.
    pub(super) number: u64,
    pub(super) ceiling: Revision,
    /// Bytes of keys and values.
    pub(super) live: u64,
    /// Logs after the checkpoint, and their bytes.
    pub(super) logs: usize,
    pub(super) logged: u64,
    /// In key order.
    pub(super) entries: Vec<Entry>,
}

type Entries = BTreeMap<Arc<str>, Option<Entry>>;

/// Reads everything in `dir`; an empty folder is an empty store.
pub(super) fn recover(dir: &Path) -> Result<Found, OpenError> {
    let list = |kind| checkpoint::numbered(dir, kind).map_err(|cause| reach(dir, cause));
    let (first, base) = match list("checkpoint")?.pop() {
        Some((number, path)) => (number, read_checkpoint(&path)?),
        None => (
            0,
            Checkpoint {
                ceiling: 0,
                entries: Vec::new(),
            },
        ),
    };
    let mut state = State {
        number: first,
        ceiling: base.ceiling,
        logged: 0,
        entries: base.entries.into_iter().collect(),
    };
    let logs: Vec<_> = list("log")?
        .into_iter()
        .filter(|(number, _)| *number >= first)
        .collect();
    for (at, (number, path)) in logs.iter().enumerate() {
        if *number != state.number {
            return Err(OpenError::Unreadable {
                path: path.clone(),
                damage: Damage::Missing { number: state.number },
            });
        }
        state.replay(path, at + 1 == logs.len())?;
    }
    let entries: Vec<Entry> = state.entries.into_values().flatten().collect();
    let live = entries.iter().map(|entry| (entry.key.len() + entry.value.len()) as u64);
    Ok(Found {
        number: state.number,
        ceiling: state.ceiling,
        live: live.sum(),
        logs: logs.len(),
        logged: state.logged,
        entries,
    })
}

fn read_checkpoint(path: &Path) -> Result<Checkpoint, OpenError> {
    let read = checkpoint::read(path).map_err(|cause| reach(path, cause))?;
    read.map_err(|damage| OpenError::Unreadable {
        path: path.to_owned(),
        damage,
    })
}

struct State {
    number: u64,
    ceiling: Revision,
    logged: u64,
    entries: Entries,
}

impl State {
    /// Does again what the log's commits did.
    fn replay(&mut self, path: &Path, last: bool) -> Result<(), OpenError> {
        let bytes = std::fs::read(path).map_err(|cause| reach(path, cause))?;
        let damaged = |damage| OpenError::Unreadable {
            path: path.to_owned(),
            damage,
        };
        let salt = log::salt(&bytes).ok_or_else(|| damaged(Damage::Foreign))?;
        let mut at = BEGINNING;
        while let Some((frame, length)) = frame::first(&bytes[at..], salt) {
            let changes = frame.changes().filter(|_| frame.number == self.number);
            let changes = changes.ok_or_else(|| damaged(Damage::Changed { at: at as u64 }))?;
            self.entries.extend(changes);
            self.number += 1;
            self.ceiling = frame.ceiling;
            at += length;
        }
        self.logged += at as u64;
        // The next log begins with the commit after this one's last, so only the last one's end must be looked into.
        if last && later_commit(&bytes[at..], salt, self.number) {
            return Err(damaged(Damage::Changed { at: at as u64 }));
        }
        Ok(())
    }
}

/// Whether a whole commit stands behind bytes that are none: then those were one that was durable.
fn later_commit(bytes: &[u8], salt: u32, number: u64) -> bool {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (1..used).any(|at| {
        let plausible = |frame: &frame::Frame| (number..number + PLAUSIBLE).contains(&frame.number);
        starts_plausibly(&bytes[at..], number) && frame::first(&bytes[at..], salt).is_some_and(|(f, _)| plausible(&f))
    })
}

/// A look at the number alone, so that not every byte of a damaged log costs a checksum of what follows.
fn starts_plausibly(bytes: &[u8], number: u64) -> bool {
    let found = bytes.get(frame::HEAD..).and_then(|rest| rest.first_chunk::<8>());
    found.is_some_and(|found| (number..number + PLAUSIBLE).contains(&u64::from_le_bytes(*found)))
}
