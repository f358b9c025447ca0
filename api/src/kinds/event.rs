//! Event: something that happened to an object, kept for an hour. `events.k8s.io/v1` will be a second view of the same key.

use crate::kind::Kind;

/// `v1` Event.
pub struct Event;

impl Kind for Event {
    const KIND: &'static str = "Event";
    const PLURAL: &'static str = "events";
    const SINGULAR: &'static str = "event";
    const SHORT_NAMES: &'static [&'static str] = &["ev"];
    const DURABLE: bool = false;
    const KEY: &'static str = "events";
    const CREATE_ON_UPDATE: bool = true;
    type Object = k8s_openapi::api::core::v1::Event;
}
