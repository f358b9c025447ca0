//! A work queue: each key waits at most once, is worked on by one worker at a time, and comes back later after a failure.

use crate::backoff::step;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pauses after failures of one key; upstream's controllers begin with 5 ms and end at about 17 minutes, which no one waits for.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A queue of keys; clones are the same queue.
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue {
            shared: self.shared.clone(),
        }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Notify,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// What waits, or is to wait again once it is done.
    wanted: HashSet<T>,
    working: HashSet<T>,
    later: BTreeMap<(Instant, u64), T>,
    sequence: u64,
    failures: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Default for Queue<T> {
    fn default() -> Self {
        Queue::new()
    }
}

impl<T: Clone + Eq + Hash> Queue<T> {
    /// An empty queue.
    pub fn new() -> Queue<T> {
        let state = State {
            waiting: VecDeque::new(),
            wanted: HashSet::new(),
            working: HashSet::new(),
            later: BTreeMap::new(),
            sequence: 0,
            failures: HashMap::new(),
        };
        Queue {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                wake: Notify::new(),
            }),
        }
    }

    /// Asks for work on `item`; once, however often it is asked before the work begins.
    pub fn add(&self, item: T) {
        self.state().want(item);
        self.shared.wake.notify_one();
    }

    /// The same, but not before `pause` is over.
    pub fn add_after(&self, item: T, pause: Duration) {
        let mut state = self.state();
        state.sequence += 1;
        let at = (Instant::now() + pause, state.sequence);
        state.later.insert(at, item);
        drop(state);
        self.shared.wake.notify_one();
    }

    /// The same, after a pause that doubles each time until [`Queue::forget`].
    pub fn add_after_failure(&self, item: T) {
        let failures = {
            let mut state = self.state();
            let count = state.failures.entry(item.clone()).or_default();
            *count = count.saturating_add(1);
            *count - 1
        };
        self.add_after(item, step(FIRST_PAUSE, LONGEST_PAUSE, failures));
    }

    /// `item` worked: its next failure is its first.
    pub fn forget(&self, item: &T) {
        self.state().failures.remove(item);
    }

    /// Waits for the next item; nobody else gets it until [`Queue::done`]. Cancel safe.
    pub async fn next(&self) -> T {
        loop {
            let woken = self.shared.wake.notified();
            let due = {
                let mut state = self.state();
                if let Some(item) = state.take(Instant::now()) {
                    if !state.waiting.is_empty() {
                        self.shared.wake.notify_one();
                    }
                    return item;
                }
                state.later.keys().next().map(|(at, _)| *at)
            };
            match due {
                Some(at) => drop(tokio::time::timeout_at(at, woken).await),
                None => woken.await,
            }
        }
    }

    /// The work on `item` ended; if it was asked for meanwhile, it waits again.
    pub fn done(&self, item: &T) {
        let mut state = self.state();
        state.working.remove(item);
        if state.wanted.contains(item) {
            state.waiting.push_back(item.clone());
            self.shared.wake.notify_one();
        }
    }

    /// How many wait now.
    pub fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Whether none waits now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.shared.state.lock().expect("no holder of a queue panics")
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn want(&mut self, item: T) {
        if self.wanted.insert(item.clone()) && !self.working.contains(&item) {
            self.waiting.push_back(item);
        }
    }

    fn take(&mut self, now: Instant) -> Option<T> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let item = first.remove();
            self.want(item);
        }
        let item = self.waiting.pop_front()?;
        self.wanted.remove(&item);
        self.working.insert(item.clone());
        Some(item)
    }
}

/// Works off `queue` with `workers` tasks until `stop`; what fails is logged under `name` and tried again later.
pub async fn work<T, E, F>(
    name: &'static str,
    queue: &Queue<T>,
    workers: usize,
    stop: &CancellationToken,
    reconcile: impl Fn(T) -> F + Clone + Send + 'static,
) where
    T: Clone + Eq + Hash + Debug + Send + Sync + 'static,
    E: Display + Send,
    F: Future<Output = Result<(), E>> + Send,
{
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (queue, stop, reconcile) = (queue.clone(), stop.clone(), reconcile.clone());
        tasks.spawn(async move {
            while let Some(item) = stop.run_until_cancelled(queue.next()).await {
                match reconcile(item.clone()).await {
                    Ok(()) => queue.forget(&item),
                    Err(error) => {
                        tracing::warn!(controller = name, ?item, %error, "failed; will try again");
                        queue.add_after_failure(item.clone());
                    }
                }
                queue.done(&item);
            }
        });
    }
    tasks.join_all().await;
}
