//! The pods that have no node yet: ready in order of priority and arrival, waiting out a pause, or parked until the
//! cluster changes.

use crate::pod::Pod;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Upstream's pauses between tries of one pod (`podInitialBackoffSeconds`, `podMaxBackoffSeconds`).
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// First by priority, then by arrival.
type Rank = (Reverse<i32>, u64);

#[derive(Default)]
pub(crate) struct Queue {
    pods: HashMap<String, Waiting>,
    ready: BTreeMap<Rank, String>,
    later: BTreeMap<(Instant, u64), String>,
    arrivals: u64,
}

struct Waiting {
    pod: Arc<Pod>,
    arrival: u64,
    tries: u32,
    state: State,
}

enum State {
    Ready,
    /// A try is going on.
    Trying,
    Later(Instant),
    /// Until the cluster changes; tried last at this time.
    Parked(Instant),
}

impl Queue {
    /// A pod is there or has changed. What decides nothing, such as its conditions, wakes nothing.
    pub(crate) fn set(&mut self, pod: Pod, now: Instant) {
        let uid = pod.uid.clone();
        let pod = Arc::new(pod);
        match self.pods.get_mut(&uid) {
            None => {
                self.arrivals += 1;
                self.ready.insert((Reverse(pod.priority), self.arrivals), uid.clone());
                self.pods.insert(
                    uid,
                    Waiting {
                        pod,
                        arrival: self.arrivals,
                        tries: 0,
                        state: State::Ready,
                    },
                );
            }
            Some(known) if *known.pod == *pod => {}
            Some(known) if matches!(known.state, State::Parked(_)) => {
                known.pod = pod;
                self.wake(&uid, now);
            }
            Some(known) => known.pod = pod,
        }
    }

    /// A pod is gone or has a node.
    pub(crate) fn remove(&mut self, uid: &str) {
        let Some(known) = self.pods.remove(uid) else { return };
        match known.state {
            State::Ready => drop(self.ready.remove(&(Reverse(known.pod.priority), known.arrival))),
            State::Later(at) => drop(self.later.remove(&(at, known.arrival))),
            State::Trying | State::Parked(_) => {}
        }
    }

    /// The next pod to try.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Arc<Pod>> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let uid = first.remove();
            self.make_ready(&uid);
        }
        let (_, uid) = self.ready.pop_first()?;
        let known = self.pods.get_mut(&uid)?;
        known.state = State::Trying;
        known.tries += 1;
        Some(known.pod.clone())
    }

    /// It fits nowhere: nothing to do until the cluster changes.
    pub(crate) fn park(&mut self, uid: &str, now: Instant) {
        if let Some(known) = self.pods.get_mut(uid) {
            known.state = State::Parked(now);
        }
    }

    /// The try failed for a reason that passes: again after a pause.
    pub(crate) fn retry(&mut self, uid: &str, now: Instant) {
        self.park(uid, now);
        self.wake(uid, now);
    }

    /// The cluster has changed: parked pods are tried again, each once its pause is over.
    pub(crate) fn wake_all(&mut self, now: Instant) {
        let parked = |known: &Waiting| matches!(known.state, State::Parked(_));
        let uids: Vec<String> = self
            .pods
            .iter()
            .filter(|(_, known)| parked(known))
            .map(|(uid, _)| uid.clone())
            .collect();
        uids.iter().for_each(|uid| self.wake(uid, now));
    }

    /// When the next pause is over.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.later.keys().next().map(|(at, _)| *at)
    }

    fn wake(&mut self, uid: &str, now: Instant) {
        let Some(known) = self.pods.get_mut(uid) else { return };
        let State::Parked(tried) = known.state else { return };
        let at = tried + pause(known.tries);
        if at <= now {
            return self.make_ready(uid);
        }
        known.state = State::Later(at);
        self.later.insert((at, known.arrival), uid.to_owned());
    }

    fn make_ready(&mut self, uid: &str) {
        if let Some(known) = self.pods.get_mut(uid) {
            known.state = State::Ready;
            self.ready
                .insert((Reverse(known.pod.priority), known.arrival), uid.to_owned());
        }
    }
}

fn pause(tries: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << tries.saturating_sub(1).min(16))
        .min(LONGEST_PAUSE)
}
