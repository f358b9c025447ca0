//! What every engine promises: random writes, ranges, watches and reopenings behave like a plain ordered map with a list of
//! its changes; many writers and watchers at once miss and repeat nothing; a snapshot can be restored.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use store::{Change, Entry, Expect, Store, Write, WriteError, snapshot};

/// Where a store is kept.
pub trait Place {
    /// Opens it, again and again.
    fn open(&self) -> impl Future<Output = Store>;
}

/// One step of a random history.
#[derive(Clone, Debug)]
pub enum Step {
    Put { key: u8, expect: u8, durable: bool },
    Delete { key: u8, expect: u8 },
    Reopen,
    Compact { back: u64 },
}

/// Any step.
pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..12u8, 0..4u8, any::<bool>()).prop_map(|(key, expect, durable)| Step::Put { key, expect, durable }),
        5 => (0..12u8, 0..4u8).prop_map(|(key, expect)| Step::Delete { key, expect }),
        1 => Just(Step::Reopen),
        1 => (0..20u64).prop_map(|back| Step::Compact { back }),
    ]
}

fn key(number: u8) -> String {
    format!("/{}/{number}", if number.is_multiple_of(2) { "a" } else { "b" })
}

/// The map, each of its states by revision, and its changes.
#[derive(Default)]
struct Model {
    live: BTreeMap<String, Entry>,
    states: BTreeMap<u64, BTreeMap<String, Entry>>,
    changes: Vec<Change>,
}

impl Model {
    fn expect(&self, key: &str, number: u8) -> Expect {
        let modified = self.live.get(key).map(|entry| entry.modified);
        match number {
            0 => Expect::Absent,
            1 => Expect::At(modified.unwrap_or(1)),
            2 => Expect::At(modified.unwrap_or(7) + 1),
            _ => Expect::Anything,
        }
    }

    fn allows(&self, key: &str, expect: Expect, deletes: bool) -> bool {
        match (self.live.get(key), expect) {
            (Some(_), Expect::Absent) | (None, Expect::At(_)) => false,
            (Some(entry), Expect::At(revision)) => entry.modified == revision,
            (None, Expect::Absent | Expect::Anything) => !deletes,
            (Some(_), Expect::Anything) => true,
        }
    }

    fn apply(&mut self, change: &Change) {
        let key = change.entry.key.to_string();
        assert_eq!(change.previous.as_ref(), self.live.get(&key));
        match change.deleted {
            true => drop(self.live.remove(&key)),
            false => drop(self.live.insert(key, change.entry.clone())),
        }
        self.states.insert(change.revision, self.live.clone());
        self.changes.push(change.clone());
    }

    /// What must hold after every step.
    fn check(&self, store: &Store) {
        for prefix in ["/a/", "/b/", "/", "/c"] {
            let all: Vec<Entry> = self
                .live
                .values()
                .filter(|entry| entry.key.starts_with(prefix))
                .cloned()
                .collect();
            assert_eq!(store.range(prefix, None, 0).entries, all);
            let page = store.range(prefix, Some("/a/4"), 2);
            let rest: Vec<Entry> = all.into_iter().filter(|entry| &*entry.key > "/a/4").collect();
            assert_eq!(page.entries, rest[..rest.len().min(2)]);
            assert_eq!(page.remaining as usize, rest.len() - page.entries.len());
            let uncounted = store.page(prefix, Some("/a/4"), 2, None).unwrap();
            assert_eq!(uncounted.entries, page.entries);
            assert_eq!(uncounted.remaining, page.remaining.min(1));
        }
        for (revision, state) in &self.states {
            match store.range_at("/", None, 0, *revision) {
                Ok(snapshot) => {
                    assert_eq!(snapshot.revision, *revision);
                    assert!(snapshot.entries.iter().eq(state.values()), "at {revision}");
                }
                Err(compacted) => assert!(*revision < compacted.compacted),
            }
        }
    }
}

/// Does the steps in a new place and compares with the model after each.
pub async fn run(place: &impl Place, steps: Vec<Step>) {
    let mut store = place.open().await;
    let mut model = Model::default();
    let mut expected_from = store.revision();
    let mut watch = store.watch("/a/", expected_from).unwrap();
    let mut seen = Vec::new();
    for step in steps {
        let write = match step {
            Step::Put {
                key: number,
                expect,
                durable,
            } => {
                let key = key(number);
                let expect = model.expect(&key, expect);
                Write {
                    key,
                    expect,
                    value: Some(format!("{number} {expect:?}").into()),
                    durable,
                }
            }
            Step::Delete { key: number, expect } => {
                let key = key(number);
                Write {
                    expect: model.expect(&key, expect),
                    key,
                    value: None,
                    durable: true,
                }
            }
            Step::Compact { back } => {
                store.compact(store.revision().saturating_sub(back));
                continue;
            }
            Step::Reopen => {
                seen.extend(drain(&mut watch, store.revision()).await);
                assert_eq!(seen, changes_of(&model.changes, "/a/", expected_from));
                let revision = store.revision();
                drop((watch, store));
                store = place.open().await;
                assert_eq!(store.revision(), revision, "an orderly close keeps the revision");
                watch = store.watch("/a/", revision).unwrap();
                (seen, expected_from) = (Vec::new(), revision);
                model.states.clear();
                continue;
            }
        };
        let allowed = model.allows(&write.key, write.expect, write.value.is_none());
        let present = model.live.get(&write.key).cloned();
        match store.write(write).await {
            Ok(change) => {
                assert!(allowed);
                model.apply(&change);
            }
            Err(WriteError::Conflict { present: found }) => {
                assert!(!allowed);
                assert_eq!(found, present);
            }
            Err(other) => panic!("{other}"),
        }
        model.check(&store);
    }
    seen.extend(drain(&mut watch, store.revision()).await);
    assert_eq!(seen, changes_of(&model.changes, "/a/", expected_from));
}

fn changes_of(changes: &[Change], prefix: &str, from: u64) -> Vec<Change> {
    let wanted = |change: &&Change| change.revision > from && change.entry.key.starts_with(prefix);
    changes.iter().filter(wanted).cloned().collect()
}

async fn drain(watch: &mut store::Watch, until: u64) -> Vec<Change> {
    let mut changes = Vec::new();
    while watch.progress() != Some(until) {
        changes.push(Change::clone(&*watch.next().await.unwrap()));
    }
    changes
}

/// Many writers, and watchers that begin in the middle of it: each sees each key once, in order.
pub async fn crowd(place: &impl Place) {
    let store = place.open().await;
    let (writers, writes) = (16, 100);
    let begun = store.revision();
    let writing = (0..writers).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..writes {
                store
                    .write(put(format!("/k/{writer}/{number}"), number % 3 != 0))
                    .await
                    .unwrap();
            }
        })
    });
    let writing: Vec<_> = writing.collect();
    let watching = (0..8).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            while store.revision() < begun + number * 100 {
                tokio::task::yield_now().await;
            }
            let list = store.range("/k/", None, 0);
            let mut watch = store.watch("/k/", list.revision).unwrap();
            let keys = list.entries.into_iter().map(|entry| entry.key.clone());
            let mut known: BTreeSet<_> = keys.collect();
            let mut last = list.revision;
            while known.len() < writers * writes {
                for change in watch.next_batch(64).await.unwrap() {
                    assert!(change.revision > last, "in order");
                    last = change.revision;
                    assert!(known.insert(change.entry.key.clone()), "once");
                }
            }
        })
    });
    for task in writing.into_iter().chain(watching.collect::<Vec<_>>()) {
        task.await.unwrap();
    }
}

/// A snapshot holds what was there; restoring it brings that back, and watchers see what changed.
pub async fn snapshots(place: &impl Place) {
    let store = place.open().await;
    for number in 0..20 {
        store.write(put(format!("/s/{number}"), true)).await.unwrap();
    }
    let mut reader = snapshot::Reader::default();
    snapshot::encode(store.range("", None, 0)).for_each(|piece| reader.push(&piece).unwrap());
    let before = store.range("/s/", None, 0);
    let gone = Write {
        value: None,
        ..put("/s/3".to_owned(), true)
    };
    store.write(gone).await.unwrap();
    let changed = Write {
        value: Some("changed".into()),
        ..put("/s/4".to_owned(), true)
    };
    store.write(changed).await.unwrap();
    store.write(put("/s/new".to_owned(), true)).await.unwrap();
    let from = store.revision();
    let mut watch = store.watch("/s/", from).unwrap();
    let restored = store.restore(reader.finish().unwrap()).await.unwrap();
    assert_eq!((restored.written, restored.deleted), (2, 1));
    assert!(restored.revision > from);
    let values = |list: Vec<Entry>| {
        list.into_iter()
            .map(|e| (e.key.clone(), e.value.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        values(store.range("/s/", None, 0).entries),
        values(before.entries.clone())
    );
    let mut seen = BTreeMap::new();
    while seen.len() < 3 {
        let change = watch.next().await.unwrap();
        seen.insert(change.entry.key.to_string(), change.deleted);
    }
    let expected = [("/s/3", false), ("/s/4", false), ("/s/new", true)];
    assert!(seen.iter().map(|(key, deleted)| (key.as_str(), *deleted)).eq(expected));
    let untouched = store.get("/s/5").unwrap().modified;
    assert_eq!(
        untouched,
        before.entries.iter().find(|e| &*e.key == "/s/5").unwrap().modified
    );
    drop(watch);
    drop(store);
    let store = place.open().await;
    assert_eq!(values(store.range("/s/", None, 0).entries), values(before.entries));
}

fn put(key: String, durable: bool) -> Write {
    Write {
        value: Some(format!("value of {key}").into()),
        key,
        expect: Expect::Anything,
        durable,
    }
}
