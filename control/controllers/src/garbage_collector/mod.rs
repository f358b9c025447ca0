//! garbage-collector-controller: objects whose owners are all gone go too; who asked to go last waits for its dependents.

mod graph;
mod judge;

use crate::context::Context;
use crate::every_kind::{EveryKind, Sighting};
use client::{Queue, Recorder, Transport, Update, work};
use graph::{Duty, Graph};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Upstream's `--concurrent-gc-syncs` is 20 over a network; ours wait for the disk alone.
const WORKERS: usize = 8;

/// Before another try at what was written meanwhile.
const CONFLICT: Duration = Duration::from_millis(20);

/// What the workers share.
struct Collector {
    transport: Arc<dyn Transport>,
    kinds: EveryKind,
    events: Recorder,
    graph: Mutex<Graph>,
    queue: Queue<Duty>,
}

pub(crate) async fn run(context: Context) {
    let collector = Arc::new(Collector {
        transport: context.transport.clone(),
        kinds: context.kinds.clone(),
        events: context.events.clone(),
        graph: Mutex::default(),
        queue: Queue::new(),
    });
    // Whoever judges before everything is known would judge twice.
    if !context.kinds.ready().await {
        return;
    }
    collector.load();
    let mut sightings = context.kinds.follow();
    let feed = async {
        loop {
            tokio::select! {
                Some(sighting) = sightings.recv() => collector.see(sighting),
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let collector = collector.clone();
        move |duty: Duty| {
            let collector = collector.clone();
            async move {
                let outcome = match &duty {
                    Duty::Judge(uid) => collector.judge(uid).await,
                    Duty::Orphan(uid) => collector.orphan(uid).await,
                };
                match outcome {
                    // It was written between our look and our deed: everyday life, no failure.
                    Err(error) if error.is_conflict() => {
                        collector.queue.add_after(duty, CONFLICT);
                        Ok(())
                    }
                    outcome => outcome,
                }
            }
        }
    };
    tokio::join!(
        feed,
        work(
            "garbage-collector-controller",
            &collector.queue,
            WORKERS,
            &context.stop,
            reconcile
        )
    );
}

impl Collector {
    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().expect("no holder of the graph panics")
    }

    fn load(&self) {
        let mut graph = self.graph();
        for (kind, object) in self.kinds.list() {
            graph.put(kind, object);
        }
        graph.all_duties().into_iter().for_each(|duty| self.queue.add(duty));
    }

    fn see(&self, Sighting { kind, update }: Sighting) {
        let duties = match update {
            Update {
                now: Some(object),
                before,
            } => {
                // One name, another object: the one before is gone.
                let gone = before.filter(|before| before.metadata.uid != object.metadata.uid);
                let mut graph = self.graph();
                let mut duties = gone.map(|gone| graph.remove(&gone.metadata.uid)).unwrap_or_default();
                duties.extend(graph.put(kind, object));
                duties
            }
            Update {
                now: None,
                before: Some(object),
            } => self.graph().remove(&object.metadata.uid),
            Update {
                now: None,
                before: None,
            } => Vec::new(),
        };
        duties.into_iter().for_each(|duty| self.queue.add(duty));
    }
}
