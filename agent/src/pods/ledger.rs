//! Which pods have a place on this node, what they were given, and how their workers are reached: what admission, resizes,
//! eviction and the machine's end count by.

use super::cpus::Set;
use super::plan::requests::Amounts;
use super::spec::{Qos, qos};
use super::worker::Input;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Why this node ends a pod that nobody deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// For status.
    pub reason: &'static str,
    /// One sentence, for status.
    pub message: String,
    /// Seconds between the stop signal and SIGKILL at most; nothing: the pod's own.
    pub grace: Option<i64>,
    /// The message of the condition DisruptionTarget, where there is to be one.
    pub disruption: Option<String>,
}

/// One pod's place.
#[derive(Clone)]
struct Place {
    pod: Arc<Pod>,
    given: Amounts,
    /// It was told to end: what it has is as good as free.
    leaving: bool,
    /// CPUs that its containers have for themselves.
    cpus: BTreeMap<String, Set>,
    worker: mpsc::UnboundedSender<Input>,
}

/// All places, by the pods' UIDs.
pub struct Ledger {
    places: Mutex<BTreeMap<String, Place>>,
    changes: watch::Sender<u64>,
}

// === impl Ledger ===

impl Default for Ledger {
    fn default() -> Self {
        Self {
            places: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Ledger {
    /// Gives a pod a place.
    pub fn take(&self, pod: Arc<Pod>, given: Amounts, worker: mpsc::UnboundedSender<Input>) {
        let uid = uid(&pod);
        let mut places = self.places();
        let cpus = places.remove(&uid).map(|before| before.cpus).unwrap_or_default();
        let place = Place {
            pod,
            given,
            leaving: false,
            cpus,
            worker,
        };
        places.insert(uid, place);
        drop(places);
        self.changed();
    }

    /// Containers of a pod that has a place have these CPUs for themselves.
    pub fn pin(&self, uid: &str, cpus: BTreeMap<String, Set>) {
        if let Some(place) = self.places().get_mut(uid) {
            place.cpus = cpus;
        }
        self.changed();
    }

    /// The CPUs that a container has for itself.
    pub fn pinned(&self, uid: &str, container: &str) -> Option<Set> {
        self.places().get(uid)?.cpus.get(container).cloned()
    }

    /// All CPUs that containers have for themselves. One that was told to leave has its own until it has left.
    pub fn all_pinned(&self) -> Set {
        let places = self.places();
        places
            .values()
            .flat_map(|place| place.cpus.values().flatten())
            .copied()
            .collect()
    }

    /// What a pod has from now on.
    pub fn give(&self, pod: &Arc<Pod>, given: Amounts) {
        if let Some(place) = self.places().get_mut(&uid(pod)) {
            place.given = given;
            place.pod = pod.clone();
        }
        self.changed();
    }

    /// Takes a place back: nothing of the pod runs any more, nor will.
    pub fn release(&self, uid: &str) {
        if self.places().remove(uid).is_some() {
            self.changed();
        }
    }

    /// All pods that have a place and keep it.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        let places = self.places();
        let staying = places.values().filter(|place| !place.leaving);
        staying.map(|place| place.pod.clone()).collect()
    }

    /// What others than this pod have together, their number among it as `pods`.
    pub fn used_besides(&self, uid: &str) -> Amounts {
        let mut used = Amounts::new();
        let mut add = |name: &str, amount: i64| {
            let sum = used.entry(name.to_owned()).or_insert(0);
            *sum = sum.saturating_add(amount);
        };
        for (_, place) in self
            .places()
            .iter()
            .filter(|(own, place)| *own != uid && !place.leaving)
        {
            add("pods", 1);
            place.given.iter().for_each(|(name, amount)| add(name, *amount));
        }
        used
    }

    /// Thousandths of CPUs that Burstable pods ask for together: the weight of the group that all of them are in.
    pub fn burstable_cpu(&self) -> i64 {
        let places = self.places();
        let burstable = places
            .values()
            .filter(|place| place.pod.spec.as_ref().is_some_and(|spec| qos(spec) == Qos::Burstable));
        let asked = burstable.filter_map(|place| place.given.get("cpu"));
        asked.fold(0, |sum, asked| sum.saturating_add(*asked))
    }

    /// Has a pod's worker end it; whether there is one.
    pub fn end(&self, uid: &str, ending: Ending) -> bool {
        let mut places = self.places();
        let Some(place) = places.get_mut(uid) else {
            return false;
        };
        place.leaving = true;
        place.worker.send(Input::End(ending)).is_ok()
    }

    /// Has a pod's worker look at its ConfigMaps and Secrets anew.
    pub fn refresh(&self, uid: &str) {
        if let Some(place) = self.places().get(uid) {
            let _ = place.worker.send(Input::Stale);
        }
    }

    /// Waits until none of these pods has a place, or so long; whether that is so.
    pub async fn gone(&self, uids: &[String], within: Duration) -> bool {
        let mut changes = self.changes.subscribe();
        let are_gone = changes.wait_for(|_| {
            let places = self.places();
            uids.iter().all(|uid| !places.contains_key(uid))
        });
        tokio::time::timeout(within, are_gone).await.is_ok()
    }

    /// Waits until no pod has a place any more, or so long.
    pub async fn empty(&self, within: Duration) {
        let all: Vec<String> = self.places().keys().cloned().collect();
        self.gone(&all, within).await;
    }

    /// Says when anything has changed.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, cpu: &str) -> Arc<Pod> {
        let containers = json!([{"name": "a", "resources": {"requests": {"cpu": cpu}}}]);
        let pod = json!({"metadata": {"name": uid, "uid": uid}, "spec": {"containers": containers}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn cpu(milli: i64) -> Amounts {
        [("cpu".to_owned(), milli)].into()
    }

    #[tokio::test]
    async fn whoever_was_told_to_leave_is_not_counted_and_is_waited_for() {
        let ledger = Ledger::default();
        let (worker, mut told) = mpsc::unbounded_channel();
        ledger.take(pod("a", "1"), cpu(1000), worker.clone());
        ledger.take(pod("b", "2"), cpu(2000), worker);
        assert_eq!(ledger.used_besides("c")["cpu"], 3000);
        assert_eq!(ledger.used_besides("a")["pods"], 1);
        assert_eq!(ledger.burstable_cpu(), 3000);
        let ending = Ending {
            reason: "Evicted",
            message: "so".to_owned(),
            grace: Some(1),
            disruption: None,
        };
        assert!(ledger.end("b", ending.clone()) && !ledger.end("nobody", ending));
        assert!(matches!(told.recv().await, Some(Input::End(ending)) if ending.reason == "Evicted"));
        assert_eq!(
            ledger.used_besides("c"),
            [("cpu".to_owned(), 1000), ("pods".to_owned(), 1)].into()
        );
        let b = ["b".to_owned()];
        assert!(!ledger.gone(&b, Duration::from_millis(1)).await);
        ledger.release("b");
        assert!(ledger.gone(&b, Duration::from_secs(60)).await);
    }
}
