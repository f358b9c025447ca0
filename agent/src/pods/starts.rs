//! How many sandboxes of pods with users of their own (`hostUsers: false`) were begun, and how many of those failed (KEP-127).

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the agent began.
#[derive(Debug, Default)]
pub struct Starts {
    begun: AtomicU64,
    failed: AtomicU64,
}

impl Starts {
    /// Counts one attempt, which ended so.
    pub fn count<T, E>(&self, outcome: &Result<T, E>) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
    }

    /// All attempts, and those that failed.
    pub fn all(&self) -> (u64, u64) {
        (self.begun.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}
