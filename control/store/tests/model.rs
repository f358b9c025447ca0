//! Random writes, ranges, watches and reopenings behave like a plain ordered map with a list of its changes.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use store::{Change, Entry, Expect, Store, Write, WriteError};

#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, expect: u8, durable: bool },
    Delete { key: u8, expect: u8 },
    Reopen,
    Compact { back: u64 },
}

fn step() -> impl Strategy<Value = Step> {
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

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut model = Model::default();
    let mut watch = store.watch("/a/", 0).unwrap();
    let mut seen = Vec::new();
    let mut expected_from = 0;
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
                store = Store::open(dir.path()).unwrap();
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_an_ordered_map_with_history(steps in vec(step(), 1..80)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}
