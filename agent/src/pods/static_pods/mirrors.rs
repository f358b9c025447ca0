//! Which mirrors the API has of this node's static pods, and of which there are to be any.

use super::MIRROR;
use client::{Key, Object, Update};
use k8s_openapi::api::core::v1::Pod;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared by all who read or write them.
pub struct Mirrors {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Static pods that run or are to run: their UIDs by their names.
    wanted: BTreeMap<Key, String>,
    in_api: BTreeMap<Key, Arc<Pod>>,
    /// Whether what is not in `in_api` is not in the API.
    is_listed: bool,
}

/// Whether the API's pod is a mirror of one that it has no say in.
pub fn is_mirror(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key(MIRROR))
}

// === impl Mirrors ===

impl Default for Mirrors {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Mirrors {
    /// There is to be a static pod of that name; its UID.
    pub fn want(&self, name: Key, uid: String) {
        self.change(|state| drop(state.wanted.insert(name, uid)));
    }

    /// There is none any more.
    pub fn drop_name(&self, name: &Key) {
        self.change(|state| drop(state.wanted.remove(name)));
    }

    /// UIDs of all static pods.
    pub fn uids(&self) -> BTreeSet<String> {
        self.state().wanted.values().cloned().collect()
    }

    /// Takes over a step of one of this node's pods in the API, if it has to do with mirrors.
    pub fn take(&self, update: &Update<Pod>) {
        let now = update.now.as_ref().filter(|pod| is_mirror(pod));
        let before = update.before.as_ref().filter(|pod| is_mirror(pod));
        if now.is_some() || before.is_some() {
            self.change(|state| match now {
                Some(now) => drop(state.in_api.insert(now.key(), now.clone())),
                None => drop(state.in_api.remove(&update.key())),
            });
        }
    }

    /// All of them have been taken over once.
    pub fn listed(&self) {
        self.change(|state| state.is_listed = true);
    }

    /// The mirror of that name: nothing within where the API has none, nothing at all while that is not known.
    pub fn find(&self, name: &Key) -> Option<Option<Arc<Pod>>> {
        let state = self.state();
        let found = state.in_api.get(name).cloned();
        (state.is_listed || found.is_some()).then_some(found)
    }

    /// Mirrors of nothing.
    pub fn orphans(&self) -> Vec<Arc<Pod>> {
        let state = self.state();
        let orphans = state.in_api.iter().filter(|(name, _)| !state.wanted.contains_key(name));
        orphans.map(|(_, pod)| pod.clone()).collect()
    }

    /// Says when anything has changed.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.state());
        self.changes.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
