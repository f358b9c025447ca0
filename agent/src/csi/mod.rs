//! Volumes that storage drivers bring: drivers register on a socket, and are asked to mount what pods want at the paths that the
//! ecosystem expects (the Container Storage Interface v1; upstream: pkg/volume/csi).

mod attach;
mod client;
mod context;
mod expand;
mod mount;
mod node_info;
mod places;
mod record;
mod registration;
mod stats;
mod unmount;
mod wanted;

pub use places::Places;
pub use stats::Stats;
pub use wanted::{Wanted, wanted};

use crate::node::Readiness;
use crate::pods::plan::{Volume, What};
use client::Client;
use k8s_openapi::api::core::v1::Node;
use record::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// All drivers of this node and what they have mounted. Cheap to clone.
#[derive(Clone)]
pub struct Drivers {
    shared: Arc<Shared>,
}

struct Shared {
    places: Places,
    state: Mutex<State>,
    /// Woken when other volumes are in use.
    readiness: Arc<watch::Sender<Readiness>>,
    /// This node as the API had it lately.
    node: Arc<watch::Sender<Option<Arc<Node>>>>,
    /// One at a time writes what the node says about its drivers.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// By name.
    drivers: BTreeMap<String, Driver>,
    /// Volumes that have to stay attached, and the UIDs of the pods that need them.
    in_use: BTreeMap<String, BTreeSet<String>>,
    /// Volumes that were staged since this agent began; staging one again is allowed.
    staged: BTreeSet<String>,
    /// One at a time has a driver do something with a volume.
    busy: BTreeMap<String, Weak<tokio::sync::Mutex<()>>>,
    /// By the pod's UID and the name of its volume.
    stats: BTreeMap<(String, String), Stats>,
}

/// A driver that has registered.
#[derive(Clone)]
struct Driver {
    /// Where it registered.
    socket: PathBuf,
    client: Client,
}

/// Why a volume is not there yet: an event's reason and sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Upstream's reason.
    pub reason: &'static str,
    /// Upstream's sentence.
    pub message: String,
}

// === impl Drivers ===

impl Drivers {
    /// Nobody has registered yet; what was mounted before this agent began is known.
    pub fn new(
        places: Places,
        readiness: Arc<watch::Sender<Readiness>>,
        node: Arc<watch::Sender<Option<Arc<Node>>>>,
    ) -> Self {
        let mut state = State::default();
        for (uid, record) in record::all(&places) {
            if record.attach {
                state.in_use.entry(record.unique()).or_default().insert(uid);
            }
        }
        let shared = Shared {
            places,
            state: Mutex::new(state),
            readiness,
            node,
            writing: tokio::sync::Mutex::new(()),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Attached volumes that this node needs, by upstream's unique names.
    pub fn in_use(&self) -> Vec<String> {
        self.lock().in_use.keys().cloned().collect()
    }

    /// Whether a driver has, or may have, mounted something for a pod.
    pub fn serves(&self, pod_uid: &str) -> bool {
        !record::of_pod(&self.shared.places, pod_uid).is_empty()
    }

    /// What drivers have mounted for a pod, by the name of its volume.
    pub fn mounted(&self, pod_uid: &str) -> BTreeMap<String, Volume> {
        let places = &self.shared.places;
        let all = record::of_pod(places, pod_uid).into_iter();
        let done = all.filter(|record| record.published);
        done.map(|record| (record.volume.clone(), record.shown(places, pod_uid)))
            .collect()
    }

    fn client(&self, driver: &str) -> Result<Client, String> {
        let state = self.lock();
        let found = state.drivers.get(driver).map(|driver| driver.client.clone());
        found.ok_or_else(|| format!("driver name {driver} not found in the list of registered CSI drivers"))
    }

    /// Whoever holds it is the only one that does something with the volume.
    async fn alone(&self, unique: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut state = self.lock();
            state.busy.retain(|_, lock| lock.strong_count() > 0);
            let known = state.busy.get(unique).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let fresh = Arc::new(tokio::sync::Mutex::new(()));
                state.busy.insert(unique.to_owned(), Arc::downgrade(&fresh));
                fresh
            })
        };
        lock.lock_owned().await
    }

    /// Says that a pod needs an attached volume.
    fn use_attached(&self, pod_uid: &str, unique: &str) {
        let mut state = self.lock();
        let is_new = !state.in_use.contains_key(unique);
        state
            .in_use
            .entry(unique.to_owned())
            .or_default()
            .insert(pod_uid.to_owned());
        drop(state);
        if is_new {
            self.tell_node();
        }
    }

    /// Forgets what was known of a pod that has no volumes any more.
    pub fn forget(&self, pod_uid: &str) {
        let mut state = self.lock();
        let before = state.in_use.len();
        for users in state.in_use.values_mut() {
            users.remove(pod_uid);
        }
        state.in_use.retain(|_, users| !users.is_empty());
        state.stats.retain(|(uid, _), _| uid != pod_uid);
        let is_other = state.in_use.len() < before;
        drop(state);
        if is_other {
            self.tell_node();
        }
    }

    /// The same readiness again: the node's status is looked at anew.
    fn tell_node(&self) {
        self.shared.readiness.send_modify(|_| {});
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Record ===

impl Record {
    /// How containers see it.
    fn shown(&self, places: &Places, pod_uid: &str) -> Volume {
        let target = places.target(pod_uid, self);
        Volume {
            what: if self.block {
                What::Device(target)
            } else {
                What::Path(target)
            },
            readonly: self.readonly,
        }
    }
}

/// Upstream's `log`: whose words these are.
fn plugin(words: std::fmt::Arguments<'_>) -> String {
    format!("kubernetes.io/csi: {words}")
}
