//! Latencies of one kind of request, and what is said of them.

use crate::report::Report;
use std::time::Duration;

/// Latencies as they were measured, one a request.
#[derive(Default)]
pub struct Latencies(Vec<Duration>);

// === impl Latencies ===

impl Latencies {
    /// Adds one.
    pub fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// Adds all of another's.
    pub fn append(&mut self, mut other: Latencies) {
        self.0.append(&mut other.0);
    }

    /// Reports rate, p50, p99 and the worst of what took `elapsed` in all.
    pub fn report(mut self, benchmark: &str, elapsed: Duration, report: &mut Report) {
        self.0.sort_unstable();
        report.add(benchmark, "rate", self.0.len() as f64 / elapsed.as_secs_f64(), "1/s");
        for (measure, share) in [("p50", 0.50), ("p99", 0.99), ("max", 1.0)] {
            report.add(benchmark, measure, self.quantile(share).as_secs_f64() * 1e3, "ms");
        }
    }

    /// The latency that the given share of sorted ones does not exceed.
    fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * share).ceil() as usize;
        self.0.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted() {
        let latencies = Latencies((1..=100).map(Duration::from_millis).collect());
        assert_eq!(latencies.quantile(0.5), Duration::from_millis(51));
        assert_eq!(latencies.quantile(0.99), Duration::from_millis(100));
        assert_eq!(latencies.quantile(1.0), Duration::from_millis(100));
        assert_eq!(Latencies::default().quantile(0.5), Duration::ZERO);
    }
}
