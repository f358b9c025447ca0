//! What was asked, what was acknowledged, and what must therefore be so.

use super::brief;
use super::watcher::{Event, Told};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Mutex;

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Create,
    /// Whatever is there.
    Put,
    /// Only what was last written at this revision.
    Pinned(u64),
    Patch,
    Delete,
}

/// A write that was asked for. Its stamp is in the object that it makes, and in no other.
#[derive(Clone, Debug)]
pub struct Asked {
    pub name: String,
    pub kind: Kind,
    pub stamp: String,
    /// The newest revision that was acknowledged before it.
    after: u64,
}

/// What was known of an object when a read began.
#[derive(Clone, Debug)]
pub struct Floor {
    /// The newest acknowledged revision of it that is not a deletion.
    revision: u64,
    /// Deletions that were asked for, ever, that were not refused.
    deletions_before: usize,
    /// Whether it was known to be there.
    present: bool,
}

/// How much was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub acknowledged: u64,
    pub refused: u64,
    pub unanswered: u64,
    pub reads: u64,
    pub events: u64,
}

#[derive(Default)]
struct State {
    counts: Counts,
    last_stamp: u64,
    newest: u64,
    /// Since the last start.
    open: HashMap<String, Asked>,
    written: BTreeMap<u64, Asked>,
    /// Acknowledged or unanswered.
    deletions: HashMap<String, Vec<Asked>>,
    acknowledged_deletions: HashMap<String, usize>,
    /// What there was at the start.
    base: HashMap<String, (u64, String)>,
    /// What watches told, which must survive as well as what was acknowledged.
    told: BTreeMap<u64, Event>,
}

#[derive(Default)]
pub struct History(Mutex<State>);

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            acknowledged,
            refused,
            unanswered,
            reads,
            events,
        } = self;
        write!(
            out,
            "{acknowledged} writes acknowledged, {refused} refused, {unanswered} unanswered, {reads} reads, {events} events"
        )
    }
}

// === impl History ===

impl History {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// A new start: what is there is what everything begins from.
    pub fn settle(&self, list: &Value) {
        let mut state = self.state();
        let items = list["items"].as_array().unwrap().iter().map(brief);
        let base = items.map(|(name, revision, stamp)| (name, (revision, stamp))).collect();
        let (_, newest, _) = brief(list);
        assert!(
            newest >= state.newest,
            "the store went back from {} to {newest}",
            state.newest
        );
        *state = State {
            counts: state.counts,
            last_stamp: state.last_stamp,
            newest,
            base,
            ..State::default()
        };
    }

    pub fn ask(&self, name: &str, kind: Kind) -> Asked {
        let mut state = self.state();
        state.last_stamp += 1;
        let asked = Asked {
            name: name.to_owned(),
            kind,
            stamp: state.last_stamp.to_string(),
            after: state.newest,
        };
        state.open.insert(asked.stamp.clone(), asked.clone());
        if kind == Kind::Delete {
            state
                .deletions
                .entry(asked.name.clone())
                .or_default()
                .push(asked.clone());
        }
        asked
    }

    pub fn written(&self, asked: &Asked, revision: u64) {
        let mut state = self.state();
        state.open.remove(&asked.stamp);
        state.counts.acknowledged += 1;
        // Whoever asked after another write was acknowledged comes after it.
        assert!(
            revision > asked.after,
            "{asked:?} got {revision}, acknowledged before it was {}",
            asked.after
        );
        state.newest = state.newest.max(revision);
        let other = state.written.insert(revision, asked.clone());
        assert!(other.is_none(), "{revision} was given to {other:?} and to {asked:?}");
    }

    pub fn deleted(&self, asked: &Asked) {
        let mut state = self.state();
        state.open.remove(&asked.stamp);
        state.counts.acknowledged += 1;
        *state.acknowledged_deletions.entry(asked.name.clone()).or_default() += 1;
    }

    pub fn refused(&self, asked: &Asked) {
        let mut state = self.state();
        state.open.remove(&asked.stamp);
        state.counts.refused += 1;
        if let Some(deletions) = state.deletions.get_mut(&asked.name) {
            deletions.retain(|deletion| deletion.stamp != asked.stamp);
        }
    }

    /// What a read that begins now may not go behind.
    pub fn floor(&self, name: &str) -> Floor {
        let mut state = self.state();
        state.counts.reads += 1;
        let base = state.base.get(name).map(|(revision, _)| *revision);
        let written = state.written.iter().rev().find(|(_, asked)| asked.name == name);
        let newest = written.map(|(revision, _)| *revision).or(base);
        Floor {
            revision: newest.unwrap_or_default(),
            deletions_before: state.deletions.get(name).map_or(0, Vec::len),
            present: newest.is_some(),
        }
    }

    pub fn check_read(&self, name: &str, floor: &Floor, revision: u64, stamp: &str) {
        assert!(
            revision >= floor.revision,
            "{name} was read at {revision}, {floor:?} was acknowledged before"
        );
        let state = self.state();
        let of_base = state
            .base
            .get(name)
            .is_some_and(|base| *base == (revision, stamp.to_owned()));
        let of_write = state
            .written
            .get(&revision)
            .is_some_and(|asked| (asked.name.as_str(), asked.stamp.as_str()) == (name, stamp));
        let of_open = state.open.get(stamp).is_some_and(|asked| asked.name == name);
        assert!(
            of_base || of_write || of_open,
            "{name} was read at {revision} with {stamp}, which nobody wrote there"
        );
    }

    /// An object that was there is gone only if somebody asked for that.
    pub fn check_absent(&self, name: &str, floor: &Floor) {
        let deletions = self.state().deletions.get(name).map_or(0, Vec::len);
        let may_be = !floor.present || deletions > 0 || floor.deletions_before > 0;
        assert!(may_be, "{name} is gone, {floor:?}, and nobody deleted it");
    }

    /// A watch tells each change after its beginning once and in order: all of them if it was `whole`.
    pub fn check_watch(&self, told: &Told, whole: bool) {
        let mut state = self.state();
        let mut present = told.present.clone();
        let (mut last, mut deleted) = (told.from, HashMap::<&str, usize>::new());
        for event in &told.events {
            assert!(event.revision > last, "{event:?} came after {last}");
            last = event.revision;
            let before = match event.kind.as_str() {
                "DELETED" => present.remove(&event.name),
                _ => present.insert(event.name.clone(), (event.revision, event.stamp.clone())),
            };
            assert_eq!(before.is_some(), event.kind != "ADDED", "{event:?} after {before:?}");
            if event.kind == "DELETED" {
                *deleted.entry(&event.name).or_default() += 1;
            } else {
                state.check_event(event, before.map(|(revision, _)| revision));
            }
            let other = state.told.insert(event.revision, event.clone());
            assert!(
                other.as_ref().is_none_or(|other| other == event),
                "one watch told {event:?}, another {other:?}"
            );
        }
        state.counts.events += told.events.len() as u64;
        state.check_complete(told, last, whole);
        for (name, count) in deleted {
            let asked = state.deletions.get(name).map_or(0, Vec::len);
            assert!(
                count <= asked || name.starts_with("fence-"),
                "{name} was deleted {count} times, asked for {asked}"
            );
        }
    }

    /// After a kill: what was acknowledged or told is there, or what somebody asked for after it.
    pub fn check_survivors(&self, list: &Value) {
        let mut state = self.state();
        state.counts.unanswered += state.open.len() as u64;
        let items: HashMap<String, (u64, String)> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(brief)
            .map(|(name, revision, stamp)| (name, (revision, stamp)))
            .collect();
        let unanswered = |name: &str, stamp: &str| state.open.get(stamp).is_some_and(|asked| asked.name == name);
        for name in super::NAMES {
            let newest = state.newest_of(name);
            let unanswered_deletion = state
                .open
                .values()
                .any(|asked| asked.name == name && asked.kind == Kind::Delete);
            match (items.get(name), newest) {
                (Some((revision, stamp)), Some((known, known_stamp))) => {
                    let same = *revision == known && known_stamp.as_ref().is_none_or(|known| known == stamp);
                    let newer = *revision > known && unanswered(name, stamp);
                    assert!(
                        same || newer,
                        "{name} is at {revision} ({stamp}); known is {known} ({known_stamp:?})"
                    );
                }
                (Some((revision, stamp)), None) => {
                    assert!(
                        unanswered(name, stamp),
                        "{name} is at {revision} ({stamp}), and nobody wrote that"
                    );
                }
                (None, Some((known, Some(stamp)))) => {
                    // An acknowledged deletion has no revision: it may be the newest, untold.
                    let untold = state.acknowledged_deletions.get(name).copied().unwrap_or_default()
                        > state.told_deletions(name);
                    assert!(
                        unanswered_deletion || untold,
                        "{name}, written at {known} ({stamp}), is lost"
                    );
                }
                (None, Some((_, None)) | None) => {}
            }
        }
    }
}

// === impl State ===

impl State {
    /// An event shows a write that somebody asked for; a pinned one follows what it was pinned to.
    fn check_event(&self, event: &Event, before: Option<u64>) {
        if event.name.starts_with("fence-") {
            return;
        }
        let asked = match self.written.get(&event.revision) {
            Some(asked) => asked,
            None => match self.open.get(&event.stamp) {
                Some(asked) => asked,
                None => {
                    let known = NOISE.iter().any(|name| event.name == *name);
                    assert!(known, "{event:?}, and nobody asked for it");
                    return;
                }
            },
        };
        assert_eq!(
            (&asked.name, &asked.stamp),
            (&event.name, &event.stamp),
            "{event:?} is not {asked:?}"
        );
        if let Kind::Pinned(revision) = asked.kind {
            assert_eq!(before, Some(revision), "{asked:?} came after another write");
        }
        assert!(
            asked.kind != Kind::Create || before.is_none(),
            "{asked:?} over {before:?}"
        );
    }

    fn check_complete(&self, told: &Told, last: u64, whole: bool) {
        let seen: HashSet<u64> = told.events.iter().map(|event| event.revision).collect();
        for (revision, asked) in self.written.range(told.from + 1..) {
            let must = whole || *revision <= last;
            assert!(
                !must || seen.contains(revision),
                "a watch up to {last} did not tell {asked:?} at {revision}"
            );
        }
        if !whole {
            return;
        }
        for (name, acknowledged) in self.acknowledged_deletions.iter().filter(|_| told.from_the_start) {
            let count = told
                .events
                .iter()
                .filter(|event| event.kind == "DELETED" && event.name == *name)
                .count();
            let asked = self.deletions.get(name).map_or(0, Vec::len);
            assert!(
                (*acknowledged..=asked).contains(&count),
                "{name}: {acknowledged} deletions, the watch told {count}"
            );
        }
    }

    /// Revision and stamp of the newest known state; no stamp for a deletion.
    fn newest_of(&self, name: &str) -> Option<(u64, Option<String>)> {
        let base = self
            .base
            .get(name)
            .map(|(revision, stamp)| (*revision, Some(stamp.clone())));
        let written = self.written.iter().rev().find(|(_, asked)| asked.name == name);
        let written = written.map(|(revision, asked)| (*revision, Some(asked.stamp.clone())));
        let told = self.told.values().rev().find(|event| event.name == name);
        let told = told.map(|event| (event.revision, (event.kind != "DELETED").then(|| event.stamp.clone())));
        [base, written, told]
            .into_iter()
            .flatten()
            .max_by_key(|(revision, _)| *revision)
    }

    fn told_deletions(&self, name: &str) -> usize {
        self.told
            .values()
            .filter(|event| event.name == name && event.kind == "DELETED")
            .count()
    }
}

/// What the control plane itself writes there.
const NOISE: [&str; 1] = ["kube-root-ca.crt"];
