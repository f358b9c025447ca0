//! What the scheduler says: the binding, the condition and the events of one pod.

use crate::pod::Pod;
use client::{Api, Error, Patch, Recorder, Transport};
use k8s_openapi::api::core::v1::{self as core, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use std::sync::Arc;

/// Upstream's component name, which people look for in events.
pub(crate) const SCHEDULER: &str = "default-scheduler";

#[derive(Clone)]
pub(crate) struct Report {
    transport: Arc<dyn Transport>,
    events: Recorder,
}

impl Report {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Report {
        Report {
            events: Recorder::new(transport.clone(), SCHEDULER, ""),
            transport,
        }
    }

    /// Puts the pod on the node, and says so.
    pub(crate) async fn bind(&self, pod: &Pod, node: &str) -> Result<(), Error> {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        self.pods(pod).post(&pod.name, "binding", &binding).await?;
        let message = format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name);
        self.events.say(reference(pod), "Normal", "Scheduled", message);
        Ok(())
    }

    /// Says in an event and in the pod's condition why it has no node.
    pub(crate) async fn unplaceable(&self, pod: &Pod, message: String) {
        self.events
            .say(reference(pod), "Warning", "FailedScheduling", message.clone());
        let condition = json!({
            "type": "PodScheduled",
            "observedGeneration": pod.generation,
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": null,
            "lastTransitionTime": Time(jiff::Timestamp::now()),
        });
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}));
        match self.pods(pod).report_status(&pod.name, &patch).await {
            Ok(()) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => tracing::warn!(pod = %pod.name, namespace = %pod.namespace, %error, "condition not written"),
        }
    }

    fn pods(&self, pod: &Pod) -> Api<core::Pod> {
        Api::namespaced(self.transport.clone(), &pod.namespace)
    }
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}
