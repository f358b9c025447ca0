//! Event: something that happened to an object, kept for an hour. `events.k8s.io/v1` is a second view of the same objects.

use crate::{
    field::FieldError,
    kind::{Column, Kind, SelectableField},
    metadata, names,
    read::{self, int, some, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `v1` Event.
pub struct Event;

/// A field that is read as it stands.
macro_rules! fields {
    ($($label:literal => $pointer:literal),* $(,)?) => {
        &[
            $(SelectableField { label: $label, read: |event| text(event, $pointer).to_owned() },)*
            SelectableField { label: "source", read: component },
        ]
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
        "type" => "/type",
    };
    type Object = k8s_openapi::api::core::v1::Event;

    fn default(event: &mut Value) {
        // Go writes these also when they are empty.
        read::set_default(event, "source", json!({}));
        read::set_default(event, "reportingComponent", "");
        read::set_default(event, "reportingInstance", "");
    }

    fn validate(event: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let (mine, its) = (metadata::namespace(event), text(event, "/involvedObject/namespace"));
        let old = text(event, "/eventTime").is_empty();
        // What has no namespace is reported in `default`, by newer reporters also in `kube-system`.
        let good = match (old, its.is_empty()) {
            (true, true) => mine == "default",
            (true, false) => mine == its,
            (false, true) => matches!(mine, "default" | "kube-system"),
            (false, false) => true,
        };
        if !good {
            let why = "does not match event.namespace";
            errors.push(FieldError::invalid("involvedObject.namespace", its, why));
        }
        if !old {
            reported(event, &mut errors);
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
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

/// What an event with an `eventTime` must say (core `validation.legacyValidateEvent`).
fn reported(event: &Value, errors: &mut Vec<FieldError>) {
    let reporter = text(event, "/reportingComponent");
    if reporter.is_empty() {
        errors.push(FieldError::required("reportingController", ""));
    }
    let wrong = names::qualified_name(reporter).into_iter();
    errors.extend(wrong.map(|m| FieldError::invalid("reportingController", reporter, m)));
    for (member, limit) in [
        ("reportingInstance", 128),
        ("action", 128),
        ("reason", 128),
        ("message", 1024),
    ] {
        let said = text(event, &format!("/{member}"));
        if said.is_empty() && member != "message" {
            errors.push(FieldError::required(member, ""));
        }
        if said.len() > limit {
            let why = format!("can have at most {limit} characters");
            errors.push(FieldError::invalid(member, "", why));
        }
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

/// Who reported it, in the older place or in the newer one.
fn component(event: &Value) -> String {
    match text(event, "/source/component") {
        "" => text(event, "/reportingComponent").to_owned(),
        component => component.to_owned(),
    }
}

/// `component, host`.
fn source(event: &Value) -> String {
    let component = component(event);
    let host = match text(event, "/source/host") {
        "" => text(event, "/reportingInstance"),
        host => host,
    };
    if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
