//! How often probes were asked and what was answered, for the node's metrics; forgotten with the pod.

use super::{Answer, Kind};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// Of the pod.
    pub uid: String,
    /// Of the pod.
    pub namespace: String,
    /// Of the pod.
    pub pod: String,
    /// Its container.
    pub container: String,
    /// `Liveness`, `Readiness` or `Startup`.
    pub kind: &'static str,
    /// `successful`, `failed` or `unknown`.
    pub result: &'static str,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<Counted, u64>>);

// === impl Tally ===

impl Tally {
    /// One answer more.
    pub fn count(&self, pod: &Pod, container: &str, kind: Kind, answer: &Answer) {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let counted = Counted {
            uid: text(&pod.metadata.uid),
            namespace: text(&pod.metadata.namespace),
            pod: text(&pod.metadata.name),
            container: container.to_owned(),
            kind: kind.name(),
            result: match answer {
                Answer::Success | Answer::Warning(_) => "successful",
                Answer::Failure(_) => "failed",
                Answer::Error(_) => "unknown",
            },
        };
        *self.lock().entry(counted).or_default() += 1;
    }

    /// The pod is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().retain(|counted, _| counted.uid != uid);
    }

    /// All counters.
    pub fn all(&self) -> Vec<(Counted, u64)> {
        self.lock()
            .iter()
            .map(|(counted, count)| (counted.clone(), *count))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Counted, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
