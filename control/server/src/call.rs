//! One request on a resource, as the verbs see it.

use crate::encode;
use crate::negotiate::Accepted;
use crate::query::Query;
use crate::server::Server;
use crate::user::User;
use api::{Context, RulesRef, Verb};
use bytes::Bytes;
use http::HeaderMap;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use store::{Entry, Revision};

/// A request on a resource, authorized, its body not yet read.
pub struct Call {
    /// The server that answers it.
    pub server: Arc<Server>,
    /// Who asks.
    pub user: User,
    /// What is done.
    pub verb: Verb,
    /// To which kind.
    pub rules: RulesRef,
    /// In which namespace; empty for none and for all.
    pub namespace: String,
    /// To which object; empty for a collection.
    pub name: String,
    /// To which part of it; empty for the object itself.
    pub subresource: String,
    /// The options.
    pub query: Query,
    /// The request's headers.
    pub headers: HeaderMap,
    /// What the client reads.
    pub accepted: Accepted,
    /// What the client should hear besides the answer.
    pub warnings: Warnings,
}

/// Sentences for `Warning` headers, each once. Clones are the same.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

/// What one write takes from outside: the clock, a UID, random characters.
pub struct Draw {
    now: String,
    uid: String,
    suffix: String,
}

// === impl Call ===

impl Call {
    /// The store's key of the object.
    pub fn key(&self) -> String {
        self.rules.key_of(&self.namespace, &self.name)
    }

    /// The prefix of the store's keys of the collection.
    pub fn prefix(&self) -> String {
        self.rules
            .key_prefix((self.rules.namespaced && !self.namespace.is_empty()).then_some(self.namespace.as_str()))
    }

    /// The object of an entry, in the version that this call is about.
    pub fn object(&self, entry: &Entry) -> Value {
        self.object_at(entry, entry.modified)
    }

    /// The same as of another revision.
    pub fn object_at(&self, entry: &Entry, revision: Revision) -> Value {
        let mut object = encode::object_at(entry, revision);
        self.rules.leave_storage(&mut object);
        object
    }

    /// The bytes of an object for the store.
    pub fn stored(&self, object: &Value) -> Bytes {
        encode::stored(&self.rules.enter_storage(object))
    }

    /// The same request on one object of the collection.
    pub fn of_object(&self, namespace: &str, name: &str) -> Self {
        Self {
            server: self.server.clone(),
            user: self.user.clone(),
            verb: self.verb,
            rules: self.rules.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: self.subresource.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            accepted: self.accepted,
            warnings: self.warnings.clone(),
        }
    }
}

// === impl Warnings ===

impl Warnings {
    /// Adds sentences; those that were said already are not said again.
    pub fn extend<S: Into<String>>(&self, sentences: impl IntoIterator<Item = S>) {
        let mut all = self
            .0
            .lock()
            .expect("this holds because no holder of the warnings panics");
        for sentence in sentences.into_iter().map(Into::into) {
            if !all.contains(&sentence) {
                all.push(sentence);
            }
        }
    }

    /// All of them, in the order in which they came.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(
            &mut *self
                .0
                .lock()
                .expect("this holds because no holder of the warnings panics"),
        )
    }
}

// === impl Draw ===

impl Draw {
    /// Fresh ones.
    pub fn new() -> Self {
        let uid = uuid::Uuid::new_v4();
        let mut random = [0; 5];
        // The last bytes of a version 4 UUID are random throughout.
        random.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[11..]);
        Self {
            now: timestamp(Timestamp::now()),
            uid: uid.to_string(),
            suffix: api::names::suffix(random),
        }
    }

    /// For an object of the cluster that nobody asked for: it follows from another.
    pub fn of_cluster(&self) -> Context<'_> {
        Context {
            now: &self.now,
            uid: &self.uid,
            suffix: &self.suffix,
            namespace: "",
            subresource: "",
        }
    }

    /// As the rules want them.
    pub fn context<'a>(&'a self, call: &'a Call) -> Context<'a> {
        Context {
            now: &self.now,
            uid: &self.uid,
            suffix: &self.suffix,
            namespace: &call.namespace,
            subresource: &call.subresource,
        }
    }
}

/// RFC 3339 in UTC with whole seconds, as `metav1.Time` is written.
pub fn timestamp(when: Timestamp) -> String {
    static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
    PRINTER.timestamp_to_string(&when)
}

/// The time `seconds` after `when`.
pub fn after(when: Timestamp, seconds: i64) -> Timestamp {
    when.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(when)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_whole_seconds_that_have_begun() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_999, "1970-01-01T00:00:01Z"),
            (1_795_868_063_500, "2026-11-28T12:14:23Z"),
        ] {
            let when = Timestamp::from_millisecond(millis).expect("it is a time");
            assert_eq!(timestamp(when), expected);
        }
    }
}
