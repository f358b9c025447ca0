//! What requests there were: counts by their code, and how long they took (apiserver pkg/endpoints/metrics).

use crate::request::RequestInfo;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Upper ends of the histogram's buckets, in milliseconds; upstream's.
const BUCKETS: [u64; 22] = [
    5, 25, 50, 100, 200, 400, 600, 800, 1000, 1250, 1500, 2000, 3000, 4000, 5000, 6000, 8000, 10_000, 15_000, 20_000,
    30_000, 45_000,
];

/// Whoever asks for more different things than this gets them counted as one, so that paths made up by clients cost nothing.
const MOST: usize = 2000;

/// What is asked for, as far as it is counted apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

/// Counts since the start.
#[derive(Default)]
pub struct Traffic(Mutex<BTreeMap<Asked, Series>>);

#[derive(Default)]
struct Series {
    codes: BTreeMap<u16, u64>,
    /// One more than there are ends: what took longer than all.
    buckets: [u64; BUCKETS.len() + 1],
    total: Duration,
}

// === impl Asked ===

impl Asked {
    /// Of one request.
    pub fn of(info: &RequestInfo) -> Self {
        let Some(resource) = &info.resource else {
            return Self {
                verb: info.method.to_ascii_uppercase(),
                ..Self::default()
            };
        };
        Self {
            verb: resource.verb.to_string().to_ascii_uppercase(),
            group: resource.group.clone(),
            version: resource.version.clone(),
            resource: resource.resource.clone(),
            subresource: resource.subresource.clone(),
            scope: match (resource.name.is_empty(), resource.namespace.is_empty()) {
                (false, _) => "resource",
                (true, false) => "namespace",
                (true, true) => "cluster",
            },
        }
    }

    fn labels(&self) -> String {
        let mut labels = String::new();
        for (name, value) in [
            ("group", &*self.group),
            ("resource", &self.resource),
            ("scope", self.scope),
            ("subresource", &self.subresource),
            ("verb", &self.verb),
            ("version", &self.version),
        ] {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(labels, "{name}=\"{value}\",");
        }
        labels + "component=\"apiserver\""
    }
}

// === impl Traffic ===

impl Traffic {
    fn series(&self) -> MutexGuard<'_, BTreeMap<Asked, Series>> {
        self.0.lock().expect("this holds because nobody panics while counting")
    }

    /// Counts one request.
    pub fn count(&self, asked: Asked, code: u16, took: Duration) {
        let mut series = self.series();
        let asked = if series.len() < MOST || series.contains_key(&asked) {
            asked
        } else {
            Asked::default()
        };
        let series = series.entry(asked).or_default();
        *series.codes.entry(code).or_default() += 1;
        let took_ms = took.as_millis();
        series.buckets[BUCKETS.partition_point(|end| u128::from(*end) < took_ms)] += 1;
        series.total += took;
    }

    /// All of it, in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text =
            "# HELP apiserver_request_total Requests since the start.\n# TYPE apiserver_request_total counter\n"
                .to_owned();
        let series = self.series();
        for (asked, series) in series.iter() {
            let labels = asked.labels();
            for (code, count) in &series.codes {
                let _ = writeln!(text, "apiserver_request_total{{code=\"{code}\",{labels}}} {count}");
            }
        }
        const NAME: &str = "apiserver_request_duration_seconds";
        let _ = writeln!(
            text,
            "# HELP {NAME} Time until a reply's head was ready.\n# TYPE {NAME} histogram"
        );
        for (asked, series) in series.iter().filter(|(asked, _)| asked.verb != "WATCH") {
            let labels = asked.labels();
            let mut sum = 0;
            for (at, count) in series.buckets.iter().enumerate() {
                sum += count;
                let end = BUCKETS
                    .get(at)
                    .map_or_else(|| "+Inf".to_owned(), |ms| (*ms as f64 / 1000.0).to_string());
                let _ = writeln!(text, "{NAME}_bucket{{{labels},le=\"{end}\"}} {sum}");
            }
            let _ = writeln!(text, "{NAME}_sum{{{labels}}} {}", series.total.as_secs_f64());
            let _ = writeln!(text, "{NAME}_count{{{labels}}} {sum}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn asked(path: &str) -> Asked {
        Asked::of(&RequestInfo::of(&Method::GET, path, "").unwrap())
    }

    #[test]
    fn requests_are_counted_by_what_they_ask_for() {
        let traffic = Traffic::default();
        traffic.count(asked("/api/v1/namespaces/a/pods"), 200, Duration::from_millis(25));
        traffic.count(asked("/api/v1/namespaces/b/pods"), 403, Duration::from_secs(100));
        traffic.count(asked("/healthz"), 200, Duration::ZERO);
        let text = traffic.text();
        let pods = r#"group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1",component="apiserver""#;
        for line in [
            format!("apiserver_request_total{{code=\"200\",{pods}}} 1"),
            format!("apiserver_request_total{{code=\"403\",{pods}}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{pods},le=\"0.005\"}} 0"),
            format!("apiserver_request_duration_seconds_bucket{{{pods},le=\"0.025\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{pods},le=\"+Inf\"}} 2"),
            format!("apiserver_request_duration_seconds_count{{{pods}}} 2"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn made_up_paths_do_not_fill_the_memory() {
        let traffic = Traffic::default();
        for n in 0..3 * MOST {
            traffic.count(asked(&format!("/apis/g{n}/v1/xs")), 404, Duration::ZERO);
        }
        assert_eq!(traffic.series().len(), MOST + 1);
    }
}
