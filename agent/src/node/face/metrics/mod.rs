//! The node's metrics in Prometheus' text format: its own, those of containers under cAdvisor's names, and the few that
//! autoscaling reads.

mod cadvisor;
mod kubelet;
mod probes;
mod resource;

pub use cadvisor::{FAMILIES, NETWORK, cadvisor};
pub use kubelet::kubelet;
pub use probes::probes;
pub use resource::resource;

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Prometheus' text format 0.0.4.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics, written one family after the other.
#[derive(Default)]
pub struct Text(String);

/// One family; its samples follow.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

// === impl Text ===

impl Text {
    /// `kind` is `counter` or `gauge`.
    pub fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family {
            text: &mut self.0,
            name,
        }
    }

    /// All of it.
    pub fn into_string(self) -> String {
        self.0
    }
}

// === impl Family ===

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.write(labels, &value, "");
    }

    /// One sample of then.
    pub fn sample_at(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.write(labels, &value, &format!(" {}", since.as_millis()));
    }

    fn write(&mut self, labels: &[(&str, &str)], value: &dyn std::fmt::Display, end: &str) {
        self.text.push_str(self.name);
        for (index, (name, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{before}{name}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}{end}");
    }
}

/// Seconds since 1970.
fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn text_is_written_as_prometheus_reads_it() {
        let mut text = Text::default();
        let mut family = text.family("things_total", "counter", "Things.");
        family.sample(&[], 1);
        family.sample_at(
            &[("name", "a\"b\\c\nd"), ("kind", "")],
            0.5,
            UNIX_EPOCH + Duration::from_millis(1500),
        );
        assert_eq!(
            text.into_string(),
            "# HELP things_total Things.\n# TYPE things_total counter\nthings_total 1\n\
             things_total{name=\"a\\\"b\\\\c\\nd\",kind=\"\"} 0.5 1500\n"
        );
    }
}
