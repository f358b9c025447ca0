//! Event: something that happened to an object, kept for an hour. `events.k8s.io/v1` will be a second view of the same key.

use crate::{
    field::FieldError,
    kind::{Column, Kind, SelectableField},
    metadata,
    read::{int, some, text},
};
use jiff::Timestamp;
use serde_json::Value;

/// `v1` Event.
pub struct Event;

/// A field that is read as it stands.
macro_rules! fields {
    ($($label:literal => $pointer:literal),* $(,)?) => {
        &[$(SelectableField { label: $label, read: |event| text(event, $pointer).to_owned() }),*]
    };
}

impl Kind for Event {
    const KIND: &'static str = "Event";
    const PLURAL: &'static str = "events";
    const SINGULAR: &'static str = "event";
    const SHORT_NAMES: &'static [&'static str] = &["ev"];
    const DURABLE: bool = false;
    const KEY: &'static str = "events";
    const CREATE_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::narrow("Last Seen", "string", "The time since it last happened."),
        Column::narrow("Type", "string", "Normal or Warning."),
        Column::narrow("Reason", "string", "Why, in one word."),
        Column::narrow("Object", "string", "To what it happened."),
        Column::wide("Subobject", "string", "To which part of it."),
        Column::wide("Source", "string", "Who says so."),
        Column::narrow("Message", "string", "What happened."),
        Column::wide("First Seen", "string", "The time since it first happened."),
        Column::wide("Count", "string", "How often it happened."),
        Column {
            priority: 1,
            ..Column::NAME
        },
    ];
    const FIELDS: &'static [SelectableField] = fields! {
        "involvedObject.kind" => "/involvedObject/kind",
        "involvedObject.namespace" => "/involvedObject/namespace",
        "involvedObject.name" => "/involvedObject/name",
        "involvedObject.uid" => "/involvedObject/uid",
        "involvedObject.apiVersion" => "/involvedObject/apiVersion",
        "involvedObject.resourceVersion" => "/involvedObject/resourceVersion",
        "involvedObject.fieldPath" => "/involvedObject/fieldPath",
        "reason" => "/reason",
        "reportingComponent" => "/reportingComponent",
        "source" => "/source/component",
        "type" => "/type",
    };
    type Object = k8s_openapi::api::core::v1::Event;

    fn validate(event: &Value) -> Vec<FieldError> {
        let (mine, its) = (metadata::namespace(event), text(event, "/involvedObject/namespace"));
        // What has no namespace is reported in `default`.
        if its == mine || (its.is_empty() && mine == "default") {
            return Vec::new();
        }
        vec![FieldError::invalid(
            "involvedObject.namespace",
            its,
            "does not match event.namespace",
        )]
    }

    fn row(event: &Value, now: Timestamp) -> Vec<Value> {
        let when = |pointers: &[&str]| {
            let found = pointers.iter().map(|p| text(event, p)).find(|t| !t.is_empty());
            Value::from(metadata::since(found.unwrap_or_default(), now))
        };
        let first: &[&str] = &["/firstTimestamp", "/eventTime"];
        let last: &[&str] = &[
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/firstTimestamp",
            "/eventTime",
        ];
        let count = if some(event, "/series").is_some() {
            int(event, "/series/count")
        } else {
            int(event, "/count").max(1)
        };
        vec![
            when(last),
            text(event, "/type").into(),
            text(event, "/reason").into(),
            object(event).into(),
            text(event, "/involvedObject/fieldPath").into(),
            source(event).into(),
            text(event, "/message").trim().into(),
            when(first),
            count.into(),
            metadata::name(event).into(),
        ]
    }
}

/// `pod/name`.
fn object(event: &Value) -> String {
    let (kind, name) = (
        text(event, "/involvedObject/kind").to_lowercase(),
        text(event, "/involvedObject/name"),
    );
    if name.is_empty() {
        kind
    } else {
        format!("{kind}/{name}")
    }
}

/// `component, host`.
fn source(event: &Value) -> String {
    let either = |old: &str, new: &str| -> String {
        let old = text(event, old);
        if old.is_empty() {
            text(event, new).to_owned()
        } else {
            old.to_owned()
        }
    };
    let (component, host) = (
        either("/source/component", "/reportingComponent"),
        either("/source/host", "/reportingInstance"),
    );
    if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_read_as_upstream_prints_them() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("it is a time");
        let event = json!({
            "metadata": { "name": "p.1" }, "type": "Normal", "reason": "Pulled", "message": " done\n", "count": 3,
            "involvedObject": { "kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}" },
            "source": { "component": "agent", "host": "n" },
            "firstTimestamp": "2026-01-01T00:50:00Z", "lastTimestamp": "2026-01-01T00:59:30Z",
        });
        let cells = json!([
            "30s",
            "Normal",
            "Pulled",
            "pod/p",
            "spec.containers{a}",
            "agent, n",
            "done",
            "10m",
            3,
            "p.1"
        ]);
        assert_eq!(Value::from(Event::row(&event, now)), cells);
        let new = json!({ "eventTime": "2026-01-01T00:59:00.000000Z", "reportingComponent": "c" });
        let row = Event::row(&new, now);
        assert_eq!((&row[0], &row[5], &row[8]), (&json!("60s"), &json!("c"), &json!(1)));
    }

    #[test]
    fn an_event_lives_where_its_object_does() {
        for (mine, its, good) in [
            ("a", "a", true),
            ("a", "b", false),
            ("default", "", true),
            ("a", "", false),
        ] {
            let event = json!({ "metadata": { "namespace": mine }, "involvedObject": { "namespace": its } });
            assert_eq!(Event::validate(&event).is_empty(), good, "{mine} {its}");
        }
    }
}
