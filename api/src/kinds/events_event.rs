//! Event of `events.k8s.io`: the newer view of the same objects, under newer names.

use super::event;
use crate::{
    at::root,
    field::FieldError,
    kind::{Column, Kind, SelectableField, View},
    read::{int, some, text},
};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Names in `events.k8s.io/v1` and what core calls the same. The first ones have no place in the other's newer half.
const NAMES: [(&str, &str); 7] = [
    ("deprecatedCount", "count"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedSource", "source"),
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
];

/// `events.k8s.io/v1` Event.
pub struct Event;

/// A field that is read as it stands.
macro_rules! fields {
    ($($label:literal => $pointer:literal),* $(,)?) => {
        &[$(SelectableField { label: $label, read: |event| text(event, $pointer).to_owned() }),*]
    };
}

impl Kind for Event {
    const GROUP: &'static str = "events.k8s.io";
    const KIND: &'static str = "Event";
    const PLURAL: &'static str = "events";
    const SINGULAR: &'static str = "event";
    const SHORT_NAMES: &'static [&'static str] = &["ev"];
    const DURABLE: bool = false;
    const KEY: &'static str = "events";
    const VIEW: Option<View> = Some(View {
        stored_as: "v1",
        to_stored: |event| rename(event, |(new, old)| (new, old)),
        from_stored: |event| rename(event, |(new, old)| (old, new)),
    });
    const CREATE_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = event::Event::COLUMNS;
    const FIELDS: &'static [SelectableField] = fields! {
        "reason" => "/reason",
        "regarding.kind" => "/regarding/kind",
        "regarding.namespace" => "/regarding/namespace",
        "regarding.name" => "/regarding/name",
        "regarding.uid" => "/regarding/uid",
        "regarding.apiVersion" => "/regarding/apiVersion",
        "regarding.resourceVersion" => "/regarding/resourceVersion",
        "regarding.fieldPath" => "/regarding/fieldPath",
        "reportingController" => "/reportingController",
        "type" => "/type",
    };
    type Object = k8s_openapi::api::events::v1::Event;

    fn default(event: &mut Value) {
        rename(event, |(new, old)| (new, old));
        event::Event::default(event);
        rename(event, |(new, old)| (old, new));
    }

    fn validate(event: &Value) -> Vec<FieldError> {
        let event = &stored(event);
        let mut errors = event::Event::validate(event);
        errors.extend(series(event));
        errors.extend(strict(event));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let (new, old) = (&stored(new), &stored(old));
        let mut errors = event::Event::validate(new);
        if new.get("series") != old.get("series") {
            errors.extend(series(new));
        }
        let fixed = [
            "involvedObject",
            "reason",
            "message",
            "source",
            "firstTimestamp",
            "lastTimestamp",
            "count",
            "type",
            "eventTime",
            "action",
            "related",
        ];
        errors.extend(fixed.iter().filter_map(|key| root(new).immutable(old, key)));
        if text(new, "/reportingComponent") != text(old, "/reportingComponent") {
            let now = text(new, "/reportingComponent");
            errors.push(FieldError::invalid("reportingController", now, "field is immutable"));
        }
        errors.extend(root(new).immutable(old, "reportingInstance"));
        errors
    }

    fn row(event: &Value, now: Timestamp) -> Vec<Value> {
        event::Event::row(&stored(event), now)
    }
}

/// Gives the members their other names, in their places.
fn rename(event: &mut Value, way: fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Some(members) = event.as_object_mut() else { return };
    let renamed = |key: String| {
        let pair = NAMES.iter().map(|pair| way(*pair)).find(|(from, _)| *from == key);
        pair.map_or(key, |(_, to)| to.to_owned())
    };
    let all: Map<String, Value> = std::mem::take(members)
        .into_iter()
        .map(|(k, v)| (renamed(k), v))
        .collect();
    *members = all;
}

/// The event as core names it.
fn stored(event: &Value) -> Value {
    let mut event = event.clone();
    rename(&mut event, |(new, old)| (new, old));
    event
}

fn series(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if some(event, "/series").is_some() {
        if int(event, "/series/count") < 2 {
            errors.push(FieldError::invalid("series.count", "", "should be at least 2"));
        }
        if text(event, "/series/lastObservedTime").is_empty() {
            errors.push(FieldError::required("series.lastObservedTime", ""));
        }
    }
    errors
}

/// What only this group asks for: that the newer fields are there and the older ones are not.
fn strict(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(event, "/eventTime").is_empty() {
        errors.push(FieldError::required("eventTime", ""));
    }
    let kind = text(event, "/type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid("type", "", format!("has invalid value: {kind}")));
    }
    let source = !text(event, "/source/component").is_empty() || !text(event, "/source/host").is_empty();
    for (member, set) in [
        ("firstTimestamp", some(event, "/firstTimestamp").is_some()),
        ("lastTimestamp", some(event, "/lastTimestamp").is_some()),
        ("count", int(event, "/count") != 0),
        ("source", source),
    ] {
        if set {
            errors.push(FieldError::invalid(member, "", "needs to be unset"));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;
    use serde_json::json;

    fn new() -> Value {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "e", "namespace": "n" }, "type": "Normal",
            "eventTime": "2026-01-01T00:00:00.000000Z", "note": "hi", "reason": "R", "action": "A",
            "regarding": { "kind": "Pod", "namespace": "n", "name": "p" },
            "reportingController": "c.d/e", "reportingInstance": "i",
        })
    }

    #[test]
    fn both_views_show_the_same_event() {
        let rules = find("events.k8s.io", "v1", "events").expect("events are served");
        let mut event = new();
        rules.default(&mut event);
        assert_eq!(event["deprecatedSource"], json!({}));
        assert_eq!(rules.validate(&event), []);
        let newer = event.clone();
        let event = rules.enter_storage(&event).into_owned();
        let core = find("", "v1", "events").expect("events are served");
        assert_eq!(
            (
                text(&event, "/apiVersion"),
                text(&event, "/message"),
                text(&event, "/involvedObject/name")
            ),
            ("v1", "hi", "p")
        );
        assert_eq!(text(&event, "/reportingComponent"), "c.d/e");
        let field = core.field("reportingComponent").expect("it is selectable");
        assert_eq!(field.read(&event), "c.d/e");
        let mut event = event;
        rules.leave_storage(&mut event);
        assert_eq!(event, newer);
        let field = rules.field("regarding.name").expect("it is selectable");
        assert_eq!(field.read(&event), "p");
    }

    #[test]
    fn new_events_are_judged_strictly() {
        let with = |member: &str, value: Value| {
            let mut event = new();
            event[member] = value;
            let messages: Vec<String> = Event::validate(&event).iter().map(ToString::to_string).collect();
            messages
        };
        assert_eq!(with("note", "x".into()), Vec::<String>::new());
        for (member, value, message) in [
            ("type", json!("x"), "type: Invalid value: \"\": has invalid value: x"),
            (
                "deprecatedCount",
                json!(2),
                "count: Invalid value: \"\": needs to be unset",
            ),
            ("action", json!(""), "action: Required value"),
            ("reportingController", json!(""), "reportingController: Required value"),
            (
                "series",
                json!({ "count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z" }),
                "series.count: Invalid value: \"\": should be at least 2",
            ),
        ] {
            assert_eq!(
                with(member, value).first().map(String::as_str),
                Some(message),
                "{member}"
            );
        }
        let mut changed = new();
        changed["note"] = "other".into();
        assert_eq!(
            Event::validate_update(&changed, &new(), "")[0].to_string(),
            "message: Invalid value: \"other\": field is immutable"
        );
    }
}
