//! The machine's lifecycle events: the newest are kept, and whoever listens gets each new one.

use crate::boottime;
use proto::machine::v1::Event;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::broadcast;

/// A boot has about 30; a machine in trouble some a minute.
const KEPT: usize = 512;
/// How many a slow listener may lag behind before it misses some, which it sees by their numbers.
const LAG: usize = 128;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A moment of the boot.
    Mark,
    /// A program that PID 1 keeps running.
    Service,
    /// The machine config.
    Config,
    /// Reboot, shutdown, reset.
    Power,
    /// Maintenance, booting, running.
    Stage,
    /// Links, addresses, names.
    Network,
}

/// All events since the agent started, as far as they are kept.
pub struct Events {
    kept: Mutex<Kept>,
    new: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Kept {
    last: u64,
    events: VecDeque<Event>,
}

// === impl Events ===

impl Events {
    /// None yet.
    pub fn new() -> Self {
        Self {
            kept: Mutex::default(),
            new: broadcast::channel(LAG).0,
        }
    }

    /// Notes an event, now.
    pub fn note(&self, kind: Kind, subject: &str, message: impl Into<String>) {
        let message = message.into();
        match message.as_str() {
            "" => tracing::info!("{} {subject}", kind.word()),
            message => tracing::info!("{} {subject}: {message}", kind.word()),
        }
        let mut kept = self.lock();
        kept.last += 1;
        let event = Event {
            number: kept.last,
            at_us: boottime::now_us(),
            unix_ms: boottime::unix_ms(),
            kind: kind.word().to_owned(),
            subject: subject.to_owned(),
            message,
        };
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event.clone());
        // Nobody listens: fine.
        let _ = self.new.send(event);
    }

    /// Those kept, and every one after them.
    pub fn follow(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let kept = self.lock();
        (kept.events.iter().cloned().collect(), self.new.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

// === impl Kind ===

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Mark => "mark",
            Kind::Service => "service",
            Kind::Config => "config",
            Kind::Power => "power",
            Kind::Stage => "stage",
            Kind::Network => "network",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_a_follower_misses_none() {
        let events = Events::new();
        for n in 0..KEPT + 3 {
            events.note(Kind::Mark, "test", n.to_string());
        }
        let (kept, mut new) = events.follow();
        events.note(Kind::Mark, "test", "after");
        assert_eq!((kept.len(), kept[0].number), (KEPT, 4));
        assert_eq!(new.try_recv().unwrap().number, kept.last().unwrap().number + 1);
    }
}
