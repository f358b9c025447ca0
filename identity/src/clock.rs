//! The time, for certificates: the machine's clock, but never before this program was built.
//!
//! A machine whose battery died starts in 1970 or 2000, and would find every certificate "not yet valid".

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::time::Duration;

/// 2026-11-01, when this code was young: no certificate that it must accept is older.
const FLOOR: u64 = 1_793_491_200;

/// The machine's clock, not before the build (`SOURCE_DATE_EPOCH` where the build sets it).
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

// === impl Clock ===

impl Clock {
    /// Since 1970-01-01 UTC.
    pub fn now(self) -> Duration {
        not_before_build(UnixTime::now().as_secs())
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.now()))
    }
}

fn not_before_build(clock: u64) -> Duration {
    let built = option_env!("SOURCE_DATE_EPOCH")
        .and_then(|text| text.parse().ok())
        .unwrap_or(FLOOR);
    Duration::from_secs(clock.max(built).max(FLOOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_battery_does_not_go_back_before_the_build() {
        assert!(not_before_build(0).as_secs() >= FLOOR);
        assert_eq!(not_before_build(4_000_000_000).as_secs(), 4_000_000_000);
    }
}
