//! How long to wait before trying again what failed: upstream's numbers (pkg/kubelet: 10 s, doubling, at most 5 min,
//! forgotten after 10 min of peace).

use jiff::{SignedDuration, Timestamp};

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const LONGEST: SignedDuration = SignedDuration::from_secs(300);
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(600);

/// The history of failures of one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Zero until the first try after a failure was granted.
    pause: SignedDuration,
    granted: Option<Timestamp>,
}

impl Backoff {
    /// No failure yet.
    pub const NONE: Self = Self {
        pause: SignedDuration::ZERO,
        granted: None,
    };

    /// The present pause.
    pub fn pause(&self) -> SignedDuration {
        self.pause
    }

    /// Until when to wait after a failure at `failed`; None when the next try is free.
    pub fn until(&self, failed: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if self.is_forgotten(failed) {
            return None;
        }
        let until = failed + self.pause;
        (now < until).then_some(until)
    }

    /// The next try, after a failure at `failed`, is made now: the pause after that one grows.
    pub fn grant(&mut self, failed: Timestamp, now: Timestamp) {
        let fresh = self.is_forgotten(failed);
        self.pause = if fresh || self.pause.is_zero() {
            FIRST
        } else {
            (self.pause * 2).min(LONGEST)
        };
        self.granted = Some(now);
    }

    fn is_forgotten(&self, failed: Timestamp) -> bool {
        self.granted
            .is_none_or(|granted| failed.duration_since(granted) > FORGOTTEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn pauses_grow_from_none_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        let mut now = 0;
        for _ in 0..9 {
            let wait = backoff
                .until(at(now), at(now))
                .map_or(0, |until| until.as_second() - now);
            pauses.push(wait);
            now += wait;
            backoff.grant(at(now - wait), at(now));
            now += 1;
        }
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn ten_minutes_without_failure_are_forgiven() {
        let mut backoff = Backoff::default();
        for _ in 0..6 {
            backoff.grant(at(0), at(0));
        }
        assert_eq!(backoff.until(at(600), at(600)), Some(at(900)));
        assert_eq!(backoff.until(at(601), at(601)), None);
        backoff.grant(at(601), at(601));
        assert_eq!(backoff.pause().as_secs(), 10);
    }
}
