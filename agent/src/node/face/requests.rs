//! How many requests came, by method and by the first part of their path.

use http::Method;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// First parts of paths that are counted by their names; any other counts as `other`, so that nobody fills memory by asking.
const KNOWN: [&str; 12] = [
    "attach",
    "configz",
    "containerLogs",
    "exec",
    "healthz",
    "logs",
    "metrics",
    "pods",
    "portForward",
    "runningpods",
    "stats",
    "statusz",
];

/// Counts.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Requests {
    /// One more.
    pub fn count(&self, method: &Method, path: &str) {
        let first = path.split('/').find(|part| !part.is_empty()).unwrap_or_default();
        let known = KNOWN.iter().find(|known| **known == first).copied().unwrap_or("other");
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            _ => "OTHER",
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry((method, known)).or_default() += 1;
    }

    /// All of them.
    pub fn all(&self) -> Vec<((&'static str, &'static str), u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(key, count)| (*key, *count)).collect()
    }
}
