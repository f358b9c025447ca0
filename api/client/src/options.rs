//! What a list, watch or patch is asked to do, and how that is written in a query.

use serde_json::Value;
use std::fmt::Write;

/// Which objects a list gives.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// As in `kubectl -l`; empty for all.
    pub label_selector: String,
    /// As in `spec.nodeName=a`; empty for all.
    pub field_selector: String,
    /// Objects a page; 0 for all at once.
    pub limit: u32,
    /// Where the page before this one ended; empty for the first.
    pub continue_token: String,
    /// The oldest acceptable state; empty for the newest.
    pub resource_version: String,
}

/// What a watch gives.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// As in a list.
    pub label_selector: String,
    /// As in a list.
    pub field_selector: String,
    /// Changes after this version; empty: present objects first, as additions.
    pub resource_version: String,
    /// Present objects first, then a bookmark that says that these were all.
    pub send_initial_events: bool,
    /// When the server shall end the watch, in seconds; 0 leaves it to the server.
    pub timeout_seconds: u32,
}

/// A change to an object in one of three languages.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// RFC 6902.
    Json(Value),
    /// Kubernetes' own: lists merge by key.
    Strategic(Value),
}

impl Patch {
    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Patch::Merge(_) => "application/merge-patch+json",
            Patch::Json(_) => "application/json-patch+json",
            Patch::Strategic(_) => "application/strategic-merge-patch+json",
        }
    }

    pub(crate) fn body(&self) -> &Value {
        match self {
            Patch::Merge(body) | Patch::Json(body) | Patch::Strategic(body) => body,
        }
    }
}

impl ListOptions {
    pub(crate) fn query(&self) -> String {
        let mut query = Query::default();
        query.text("labelSelector", &self.label_selector);
        query.text("fieldSelector", &self.field_selector);
        query.count("limit", self.limit);
        query.text("continue", &self.continue_token);
        query.text("resourceVersion", &self.resource_version);
        query.0
    }
}

impl WatchOptions {
    pub(crate) fn query(&self) -> String {
        let mut query = Query::default();
        query.text("watch", "true");
        query.text("allowWatchBookmarks", "true");
        query.text("labelSelector", &self.label_selector);
        query.text("fieldSelector", &self.field_selector);
        query.text("resourceVersion", &self.resource_version);
        if self.send_initial_events {
            query.text("sendInitialEvents", "true");
            query.text("resourceVersionMatch", "NotOlderThan");
        }
        query.count("timeoutSeconds", self.timeout_seconds);
        query.0
    }
}

/// `?a=b&c=d`, or nothing.
#[derive(Default)]
struct Query(String);

impl Query {
    fn text(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => self.0.push(byte as char),
                _ => write!(self.0, "%{byte:02X}").expect("a String takes everything"),
            }
        }
    }

    fn count(&mut self, name: &str, value: u32) {
        if value > 0 {
            self.text(name, &value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_leave_out_what_is_empty_and_escape_the_rest() {
        let list = ListOptions {
            field_selector: "spec.nodeName=".into(),
            limit: 5,
            ..ListOptions::default()
        };
        assert_eq!(list.query(), "?fieldSelector=spec.nodeName%3D&limit=5");
        assert_eq!(ListOptions::default().query(), "");
        let watch = WatchOptions {
            send_initial_events: true,
            ..WatchOptions::default()
        };
        assert_eq!(
            watch.query(),
            "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        );
    }
}
