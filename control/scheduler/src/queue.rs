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
/// The same reason is said again after this, for people who look at events of the last minutes.
const SAY_AGAIN: Duration = Duration::from_secs(300);

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
    /// Why it has no node, as last said, and when.
    said: Option<(String, Instant)>,
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
    pub(crate) fn set(&mut self, pod: impl Into<Arc<Pod>>, now: Instant) {
        let pod = pod.into();
        let uid = pod.uid.clone();
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
                        said: None,
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

    /// Whether `reason` is news to those who watch this pod; from now on it is not.
    pub(crate) fn is_news(&mut self, uid: &str, reason: &str, now: Instant) -> bool {
        let Some(known) = self.pods.get_mut(uid) else {
            return false;
        };
        let said = known.said.as_ref();
        let news = said.is_none_or(|(last, when)| last != reason || now - *when >= SAY_AGAIN);
        if news {
            known.said = Some((reason.to_owned(), now));
        }
        news
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, priority: i32) -> Pod {
        let pod = json!({
            "metadata": {"namespace": "n", "name": name, "uid": name},
            "spec": {"priority": priority, "containers": []},
        });
        Pod::read(&serde_json::from_value(pod).unwrap())
    }

    fn names(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.take(now))
            .map(|pod| pod.name.clone())
            .collect()
    }

    #[tokio::test]
    async fn the_most_important_goes_first_then_the_oldest() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            queue.set(pod(name, priority), now);
        }
        queue.remove("c");
        assert_eq!(names(&mut queue, now), ["b", "d", "a"]);
    }

    #[tokio::test]
    async fn parked_pods_wait_for_a_change_and_then_for_their_pause() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        queue.set(pod("a", 0), start);
        assert_eq!(names(&mut queue, start), ["a"]);
        queue.park("a", start);
        queue.set(pod("a", 0), at(60));
        assert!(
            names(&mut queue, at(60)).is_empty(),
            "an update that decides nothing wakes nothing"
        );
        queue.wake_all(at(60));
        assert_eq!(names(&mut queue, at(60)), ["a"], "its pause is long over");
        queue.park("a", at(60));
        queue.wake_all(at(60));
        assert_eq!(queue.next_due(), Some(at(62)), "the second pause is twice the first");
        assert!(names(&mut queue, at(61)).is_empty());
        assert_eq!(names(&mut queue, at(62)), ["a"]);
        queue.park("a", at(62));
        queue.set(pod("a", 7), at(70));
        assert_eq!(
            names(&mut queue, at(70)),
            ["a"],
            "an update that decides something wakes"
        );
    }

    #[tokio::test]
    async fn the_same_reason_is_news_once_in_a_while() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.set(pod("a", 0), start);
        let table = [
            ("x", 0, true),
            ("x", 10, false),
            ("y", 20, true),
            ("y", 319, false),
            ("y", 320, true),
        ];
        for (reason, seconds, news) in table {
            assert_eq!(
                queue.is_news("a", reason, start + Duration::from_secs(seconds)),
                news,
                "{reason} at {seconds}"
            );
        }
    }
}
