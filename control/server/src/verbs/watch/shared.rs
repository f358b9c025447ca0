//! What watchers make out of one change, made once for all of them: its object as JSON values, and its event as bytes.

use crate::call::Call;
use crate::negotiate::{Encoding, Form};
use api::RulesRef;
use bytes::Bytes;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Entry, Notice};

/// What was made so far. Few kinds of readers watch one change, so that lists are searched.
#[derive(Default)]
pub(super) struct Shared {
    objects: Mutex<Vec<(RulesRef, Side, Arc<Value>)>>,
    events: Mutex<Vec<(Shape, Bytes)>>,
}

/// Which state of the object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Now,
    Before,
}

/// Everything that an event's bytes depend on besides the change.
pub(super) struct Shape {
    pub(super) rules: RulesRef,
    pub(super) encoding: Encoding,
    pub(super) form: Form,
    pub(super) event: &'static str,
}

// === impl Shape ===

impl Shape {
    fn is(&self, other: &Shape) -> bool {
        let asked = |shape: &Shape| (shape.encoding, shape.form, shape.event);
        asked(self) == asked(other) && self.rules.is(&other.rules)
    }
}

/// The object of an entry of `notice`, as `call` reads it.
pub(super) fn object(notice: &Notice, call: &Call, side: Side, entry: &Entry) -> Arc<Value> {
    let Some(shared) = notice.made::<Shared>() else {
        return Arc::new(call.object(entry));
    };
    let mut objects = whole(&shared.objects);
    let mut known = objects.iter();
    if let Some((_, _, object)) = known.find(|(rules, which, _)| *which == side && rules.is(&call.rules)) {
        return object.clone();
    }
    let object = Arc::new(call.object(entry));
    objects.push((call.rules.clone(), side, object.clone()));
    object
}

/// The bytes of the event of that shape, made by `make` if nobody did before.
pub(super) fn event(notice: &Notice, shape: Shape, make: impl FnOnce() -> Bytes) -> Bytes {
    let Some(shared) = notice.made::<Shared>() else {
        return make();
    };
    let mut events = whole(&shared.events);
    if let Some((_, bytes)) = events.iter().find(|(known, _)| known.is(&shape)) {
        return bytes.clone();
    }
    let bytes = make();
    events.push((shape, bytes.clone()));
    bytes
}

/// Lists that are only added to are whole even if somebody panicked over them.
fn whole<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
