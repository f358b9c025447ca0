//! A pod of the cluster as far as it concerns the scheduler: most pods have a node or are somebody else's, and each is kept in
//! memory for as long as it is there.

use crate::pod::Pod;
use crate::report::SCHEDULER;
use client::Object;
use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is kept of a pod.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "core::Pod")]
pub(crate) struct Seen {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    resource_version: Box<str>,
    #[serde(skip)]
    pub(crate) standing: Standing,
}

/// How it stands with a pod.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It has ended and uses nothing.
    Ended,
    /// It has a node.
    Placed(Arc<Pod>),
    /// It waits for this scheduler, and may be placed now.
    Waiting(Arc<Pod>),
    /// It is another scheduler's, is to end, or may not be placed yet.
    Foreign,
}

impl Object for Seen {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

impl From<core::Pod> for Seen {
    fn from(pod: core::Pod) -> Seen {
        let standing = standing(&pod);
        let metadata = pod.metadata;
        let boxed = |text: Option<String>| text.unwrap_or_default().into_boxed_str();
        Seen {
            namespace: boxed(metadata.namespace),
            name: boxed(metadata.name),
            uid: boxed(metadata.uid),
            resource_version: boxed(metadata.resource_version),
            standing,
        }
    }
}

fn standing(pod: &core::Pod) -> Standing {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        Standing::Ended
    } else if node.is_some_and(|node| !node.is_empty()) {
        Standing::Placed(Arc::new(Pod::read(pod)))
    } else if is_ours(pod) {
        Standing::Waiting(Arc::new(Pod::read(pod)))
    } else {
        Standing::Foreign
    }
}

/// Waits for this scheduler, and may be placed now.
fn is_ours(pod: &core::Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    pod.metadata.deletion_timestamp.is_none()
        && spec.scheduler_name.as_deref().unwrap_or(SCHEDULER) == SCHEDULER
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(metadata: Value, spec: Value, phase: &str) -> Standing {
        let pod = json!({ "metadata": metadata, "spec": spec, "status": { "phase": phase } });
        serde_json::from_value::<Seen>(pod).unwrap().standing
    }

    #[test]
    fn only_pods_that_matter_are_read() {
        let plain = || json!({ "containers": [] });
        let with = |field: &str, value: Value| {
            let mut spec = plain();
            spec[field] = value;
            spec
        };
        let named = || json!({ "name": "p" });
        let ending = json!({ "name": "p", "deletionTimestamp": "2020-01-01T00:00:00Z" });
        assert!(matches!(of(named(), plain(), "Pending"), Standing::Waiting(_)));
        assert!(matches!(
            of(named(), with("nodeName", "n".into()), "Running"),
            Standing::Placed(_)
        ));
        assert!(matches!(
            of(named(), with("nodeName", "n".into()), "Failed"),
            Standing::Ended
        ));
        assert!(matches!(
            of(named(), with("schedulerName", "x".into()), "Pending"),
            Standing::Foreign
        ));
        let gated = with("schedulingGates", json!([{ "name": "g" }]));
        assert!(matches!(of(named(), gated, "Pending"), Standing::Foreign));
        assert!(matches!(of(ending, plain(), "Pending"), Standing::Foreign));
    }
}
