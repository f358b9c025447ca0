//! The machine goes down: the node says so, then its pods end in the order of their priorities, each group within its time
//! (upstream: pkg/kubelet/nodeshutdown).

use super::ledger::Ending;
use crate::node::NodeContext;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use std::time::Duration;

/// Upstream's words.
const MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";
/// The lowest priority of the classes that the system's own pods have.
const CRITICAL: i32 = 2_000_000_000;
/// Once all have ended: how long the API's word on that may take.
const PUBLISHED: Duration = Duration::from_secs(5);

/// Pods of one range of priorities.
#[derive(Debug)]
struct Group {
    grace: u32,
    pods: Vec<Arc<Pod>>,
}

/// Ends them all; returns when they have ended or their time is up.
pub async fn run(context: &NodeContext) {
    context
        .readiness
        .send_modify(|readiness| readiness.shutting_down = true);
    for group in groups(&context.config.node.shutdown, context.ledger.pods()) {
        let uids: Vec<String> = group.pods.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        tracing::info!(
            pods = uids.len(),
            seconds = group.grace,
            "the machine goes down, pods end"
        );
        for uid in &uids {
            let ending = Ending {
                reason: "Terminated",
                message: MESSAGE.to_owned(),
                grace: Some(group.grace.into()),
                disruption: Some(MESSAGE.to_owned()),
            };
            context.ledger.end(uid, ending);
        }
        context
            .ledger
            .gone(&uids, Duration::from_secs(group.grace.into()))
            .await;
    }
}

/// Waits a moment until the API knows how the pods have ended, if the machine goes down.
pub async fn last_words(context: &NodeContext) {
    if context.readiness.borrow().shutting_down {
        context.ledger.empty(PUBLISHED).await;
    }
}

/// Ordinary pods, then critical ones; a group without pods is none.
fn groups(config: &config::Shutdown, pods: Vec<Arc<Pod>>) -> Vec<Group> {
    let is_critical = |pod: &Arc<Pod>| {
        let priority = pod.spec.as_ref().and_then(|spec| spec.priority);
        priority.is_some_and(|priority| priority >= CRITICAL)
    };
    let (critical, ordinary) = pods.into_iter().partition(is_critical);
    let groups = [
        Group {
            grace: config.grace_seconds - config.critical_seconds,
            pods: ordinary,
        },
        Group {
            grace: config.critical_seconds,
            pods: critical,
        },
    ];
    groups.into_iter().filter(|group| !group.pods.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ordinary_pods_end_before_those_that_they_may_need() {
        let pod = |name: &str, priority: i32| -> Arc<Pod> {
            let pod = json!({"metadata": {"name": name}, "spec": {"priority": priority, "containers": []}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let told = |pods: Vec<Arc<Pod>>| -> Vec<(u32, Vec<String>)> {
            let named = |group: Group| {
                let names = group.pods.iter().filter_map(|pod| pod.metadata.name.clone());
                (group.grace, names.collect())
            };
            let groups = groups(&config::Shutdown::default(), pods);
            groups.into_iter().map(named).collect()
        };
        let all = vec![
            pod("a", 0),
            pod("dns", 2_000_000_000),
            pod("b", 1_999_999_999),
            pod("net", 2_000_001_000),
        ];
        let expected = [
            (20, vec!["a".to_owned(), "b".to_owned()]),
            (10, vec!["dns".to_owned(), "net".to_owned()]),
        ];
        assert_eq!(told(all), expected);
        assert!(told(Vec::new()).is_empty());
    }
}
