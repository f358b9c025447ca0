//! How long to wait before the next try: twice as long each time, with jitter, up to a limit.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Growing pauses between tries of the same thing.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    failures: u32,
}

impl Backoff {
    /// Begins with `first`, never above `limit`.
    pub fn new(first: Duration, limit: Duration) -> Backoff {
        Backoff {
            first,
            limit,
            failures: 0,
        }
    }

    /// The pause after one more failure: between the step and 1.5 times it, so that many clients do not come back at once.
    pub fn fail(&mut self) -> Duration {
        let step = step(self.first, self.limit, self.failures);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(1.0 + random_fraction() / 2.0)
    }

    /// It worked: the next pause is the first one again.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }
}

/// `first` doubled `failures` times, at most `limit`.
pub(crate) fn step(first: Duration, limit: Duration, failures: u32) -> Duration {
    first
        .saturating_mul(1u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX))
        .min(limit)
}

/// 0 up to 1. The hasher's keys come from the kernel; good enough for jitter, for nothing else.
fn random_fraction() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_begin_anew_after_success() {
        let (first, limit) = (Duration::from_millis(10), Duration::from_millis(50));
        let steps: Vec<u128> = (0..5)
            .map(|failures| step(first, limit, failures).as_millis())
            .collect();
        assert_eq!(steps, [10, 20, 40, 50, 50]);
        assert_eq!(step(first, limit, u32::MAX), limit);
        let mut backoff = Backoff::new(first, limit);
        backoff.fail();
        assert!(backoff.fail() >= Duration::from_millis(20));
        backoff.succeed();
        assert!(backoff.fail() < Duration::from_millis(16));
    }
}
