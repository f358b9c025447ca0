//! Measures nodes: two looks at a node's counters make a rate. Nothing is asked of a node while nobody asks here.

use super::text::{self, Amounts, Counters};
use crate::encode;
use crate::server::Server;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A measurement is given out again for so long; metrics-server's resolution.
const FRESH: Duration = Duration::from_secs(15);
/// Of what is older than this no rate is made: it would hide what happens now. Autoscaling asks every 15 s.
const STALE: Duration = Duration::from_secs(90);
/// The window of somebody who asks for the first time and waits.
const FIRST_WINDOW: Duration = Duration::from_secs(1);
/// A node that does not answer by then is left out.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nodes that are asked at the same time.
const AT_ONCE: usize = 64;

/// What the nodes were last seen to use.
#[derive(Default)]
pub(crate) struct Measures(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Kept>>>>);

#[derive(Default)]
struct Kept {
    last: Option<(Instant, Counters)>,
    measured: Option<(Instant, Arc<Measured>)>,
}

/// What a node uses.
pub(crate) struct Measured {
    /// The window's end.
    pub(super) at: Timestamp,
    pub(super) window: Duration,
    pub(super) node: Used,
    /// By namespace and pod, then by container.
    pub(super) pods: BTreeMap<(String, String), BTreeMap<String, Used>>,
}

/// Cores and bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Used {
    cores: f64,
    bytes: f64,
}

// === impl Used ===

impl Used {
    /// As upstream writes them: billionths of cores, and kibibytes.
    pub(super) fn to_value(self) -> Value {
        let (nano, kibi) = ((self.cores * 1e9).ceil() as u64, (self.bytes / 1024.0) as u64);
        json!({"cpu": format!("{nano}n"), "memory": format!("{kibi}Ki")})
    }
}

// === impl Measures ===

impl Measures {
    /// These nodes' measurements; those that do not answer are missing.
    pub(super) async fn of(&self, server: &Arc<Server>, nodes: BTreeSet<String>) -> BTreeMap<String, Arc<Measured>> {
        let each = nodes.into_iter().map(|name| {
            let kept = self.kept(&name);
            async move {
                let mut kept = kept.lock().await;
                let measured = kept.measure(server, &name).await?;
                Some((name, measured))
            }
        });
        let each: Vec<_> = each.collect();
        let all = futures_util::stream::iter(each).buffer_unordered(AT_ONCE);
        all.filter_map(std::future::ready).collect().await
    }

    fn kept(&self, node: &str) -> Arc<tokio::sync::Mutex<Kept>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nodes go; whoever is being asked is held by its asker.
        all.retain(|name, kept| {
            name == node || Arc::strong_count(kept) > 1 || kept.try_lock().is_ok_and(|kept| kept.is_of_use())
        });
        all.entry(node.to_owned()).or_default().clone()
    }
}

// === impl Kept ===

impl Kept {
    fn is_of_use(&self) -> bool {
        self.last.as_ref().is_some_and(|(when, _)| when.elapsed() < STALE)
    }

    async fn measure(&mut self, server: &Arc<Server>, node: &str) -> Option<Arc<Measured>> {
        if let Some((when, measured)) = &self.measured
            && when.elapsed() < FRESH
        {
            return Some(measured.clone());
        }
        if !self.is_of_use() {
            self.last = Some((Instant::now(), look(server, node).await?));
            tokio::time::sleep(FIRST_WINDOW).await;
        }
        let now = look(server, node).await?;
        let (_, before) = self.last.replace((Instant::now(), now.clone()))?;
        let measured = Arc::new(between(&before, &now)?);
        self.measured = Some((Instant::now(), measured.clone()));
        Some(measured)
    }
}

async fn look(server: &Arc<Server>, node: &str) -> Option<Counters> {
    let catalog = server.catalog();
    let entry = server.store.get(&catalog.find("", "v1", "nodes")?.key_of("", node))?;
    let object = encode::object(&entry);
    let read = tokio::time::timeout(PATIENCE, server.nodes.read(&object, "/metrics/resource")).await;
    match read {
        Ok(Ok(text)) => Some(text::parse(&String::from_utf8_lossy(&text))),
        Ok(Err(refusal)) => {
            tracing::debug!(node, why = %refusal.message, "a node's metrics could not be read");
            None
        }
        Err(_) => {
            tracing::debug!(node, "a node's metrics did not come");
            None
        }
    }
}

/// What was used between two looks; none where the node's clock or counters went back.
fn between(before: &Counters, now: &Counters) -> Option<Measured> {
    let millis = u64::try_from(now.at - before.at).ok().filter(|millis| *millis > 0)?;
    let window = Duration::from_millis(millis);
    let used = |before: &Amounts, now: &Amounts| {
        let spent = now.cpu - before.cpu;
        (spent >= 0.0).then(|| Used {
            cores: spent / window.as_secs_f64(),
            bytes: now.memory,
        })
    };
    let mut pods: BTreeMap<(String, String), BTreeMap<String, Used>> = BTreeMap::new();
    for (key, amounts) in &now.containers {
        let [namespace, pod, container] = key.clone();
        let earlier = before.containers.get(key);
        if let Some(used) = earlier.and_then(|earlier| used(earlier, amounts)) {
            pods.entry((namespace, pod)).or_default().insert(container, used);
        }
    }
    Some(Measured {
        at: Timestamp::from_millisecond(now.at).ok()?,
        window,
        node: used(&before.node, &now.node)?,
        pods,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(at: i64, cpu: f64) -> Counters {
        let key = ["n", "p", "c"].map(str::to_owned);
        Counters {
            at,
            node: Amounts {
                cpu: cpu * 4.0,
                memory: 2048.0,
            },
            containers: BTreeMap::from([(key, Amounts { cpu, memory: 1024.0 })]),
        }
    }

    #[test]
    fn two_looks_make_a_rate() {
        let measured = between(&counters(1000, 1.0), &counters(3000, 1.5)).unwrap();
        assert_eq!(measured.window, Duration::from_secs(2));
        assert_eq!(measured.node.to_value(), json!({"cpu": "1000000000n", "memory": "2Ki"}));
        let pod = &measured.pods[&("n".to_owned(), "p".to_owned())];
        assert_eq!(pod["c"].to_value(), json!({"cpu": "250000000n", "memory": "1Ki"}));
    }

    #[test]
    fn counters_that_went_back_make_none() {
        assert!(between(&counters(3000, 1.0), &counters(1000, 2.0)).is_none());
        assert!(between(&counters(1000, 2.0), &counters(2000, 1.0)).is_none());
        let mut before = counters(1000, 1.0);
        before.containers.clear();
        assert!(between(&before, &counters(2000, 1.0)).unwrap().pods.is_empty());
    }
}
