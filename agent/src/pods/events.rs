//! What people are told about pods, in the order in which it happened and with upstream's words.

mod flood;

use client::Recorder;
use flood::Flood;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use std::borrow::Cow;
use tokio::sync::mpsc;

/// Says events without waiting for them to be stored.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Said>,
    node: ObjectReference,
}

/// Events that wait; past it new ones are dropped, as they are while the API server is away.
const QUEUE: usize = 1024;

struct Said {
    about: ObjectReference,
    kind: &'static str,
    reason: Cow<'static, str>,
    message: String,
}

impl Events {
    /// Starts the task that writes them one after the other.
    pub fn start(recorder: Recorder, node: &str) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Said>(QUEUE);
        tokio::spawn(async move {
            let mut flood = Flood::default();
            while let Some(said) = receiver.recv().await {
                let uid = said.about.uid.as_deref().unwrap_or_default();
                let Some(message) = flood.judge(uid, said.kind, &said.reason, said.message, Timestamp::now()) else {
                    continue;
                };
                if let Err(error) = recorder.record(&said.about, said.kind, &said.reason, message).await {
                    tracing::debug!(error = %crate::node::chain(&error), reason = %said.reason, "event lost");
                }
            }
        });
        let node = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            // As upstream's kubelet does, since it speaks before it knows the object.
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        };
        Self { queue: sender, node }
    }

    /// About a container, or with an empty name about the pod.
    pub fn normal(&self, pod: &Pod, container: &str, reason: impl Into<Cow<'static, str>>, message: String) {
        self.say(pod, container, "Normal", reason.into(), message);
    }

    /// About this node.
    pub fn about_node(&self, kind: &'static str, reason: &'static str, message: String) {
        let about = self.node.clone();
        self.put(Said {
            about,
            kind,
            reason: reason.into(),
            message,
        });
    }

    /// The same, for what a person should look at.
    pub fn warning(&self, pod: &Pod, container: &str, reason: impl Into<Cow<'static, str>>, message: String) {
        self.say(pod, container, "Warning", reason.into(), message);
    }

    fn say(&self, pod: &Pod, container: &str, kind: &'static str, reason: Cow<'static, str>, message: String) {
        let list = super::spec::list_of(pod, container);
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: (!container.is_empty()).then(|| format!("spec.{list}{{{container}}}")),
        };
        self.put(Said {
            about,
            kind,
            reason,
            message,
        });
    }

    fn put(&self, said: Said) {
        // A full queue means that the API server is away; statuses will tell the rest.
        let _ = self.queue.try_send(said);
    }
}
