//! Tells people what happened to an object: Kubernetes Events, a repeated one counted instead of written again.

use crate::api::Api;
use crate::error::Error;
use crate::options::Patch;
use crate::transport::Transport;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Events remembered for counting; past this all are forgotten, and begin with new objects.
const REMEMBERED: usize = 4096;

/// What an event says, to the name of the object that counts it and the count.
type Seen = HashMap<[String; 4], (String, i32)>;

/// Writes Events in the name of one component; clones share the counts.
#[derive(Clone)]
pub struct Recorder {
    transport: Arc<dyn Transport>,
    component: Arc<str>,
    host: Arc<str>,
    seen: Arc<Mutex<Seen>>,
}

impl Recorder {
    /// `host` is the node it speaks for, or empty.
    pub fn new(transport: Arc<dyn Transport>, component: &str, host: &str) -> Recorder {
        Recorder {
            transport,
            component: component.into(),
            host: host.into(),
            seen: Arc::default(),
        }
    }

    /// Says it in the background; a failure is logged and the event lost. `kind` is `Normal` or `Warning`.
    pub fn say(&self, about: ObjectReference, kind: &'static str, reason: &'static str, message: String) {
        let recorder = self.clone();
        tokio::spawn(async move {
            if let Err(error) = recorder.record(&about, kind, reason, message).await {
                tracing::debug!(%error, reason, "event lost");
            }
        });
    }

    /// Says it and waits until it is stored.
    pub async fn record(
        &self,
        about: &ObjectReference,
        kind: &str,
        reason: &str,
        message: String,
    ) -> Result<(), Error> {
        // Events about what has no namespace live in "default", as upstream's do.
        let namespace = about.namespace.clone().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or_else(|| "default".into());
        let api = Api::<Event>::namespaced(self.transport.clone(), &namespace);
        let seen = [
            namespace,
            // Two containers of one pod may say the same: the part of the object counts too, as upstream's does.
            [&about.uid, &about.field_path]
                .map(|part| part.as_deref().unwrap_or_default())
                .concat(),
            reason.to_owned(),
            message.clone(),
        ];
        let now = Timestamp::now();
        if let Some((name, count)) = self.count(&seen) {
            let patch = serde_json::json!({"count": count, "lastTimestamp": Time(now)});
            match api.amend(&name, &Patch::Merge(patch)).await {
                Err(error) if error.is_not_found() => {}
                result => return result,
            }
        }
        let event = self.event(about, kind, reason, message, now, &seen[0]);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.submit(&event).await?;
        self.remember(seen, name);
        Ok(())
    }

    fn event(
        &self,
        about: &ObjectReference,
        kind: &str,
        reason: &str,
        message: String,
        now: Timestamp,
        namespace: &str,
    ) -> Event {
        // As upstream's recorder names them: the object and the time in nanoseconds.
        let name = format!(
            "{}.{:x}",
            about.name.as_deref().unwrap_or("unknown"),
            now.as_nanosecond()
        );
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: about.clone(),
            type_: Some(kind.to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some(self.component.to_string()),
                host: Some(self.host.to_string()).filter(|host| !host.is_empty()),
            }),
            reporting_component: Some(self.component.to_string()),
            reporting_instance: Some(self.host.to_string()),
            ..Event::default()
        }
    }

    fn count(&self, seen: &[String; 4]) -> Option<(String, i32)> {
        let mut known = self.seen.lock().expect("no holder of the events panics");
        let (name, count) = known.get_mut(seen)?;
        *count += 1;
        Some((name.clone(), *count))
    }

    fn remember(&self, seen: [String; 4], name: String) {
        let mut known = self.seen.lock().expect("no holder of the events panics");
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(seen, (name, 1));
    }
}
