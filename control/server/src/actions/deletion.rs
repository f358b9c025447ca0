//! How kinds end: who gets a grace, what holds an object until it lets go, what a deletion writes first.

use api::{Rules, read};
use serde_json::Value;

/// How long an object may go on after somebody wishes it gone.
pub(crate) enum Grace {
    /// The kind has none.
    None,
    /// So long; 0 ends it at once.
    Seconds(i64),
}

/// The grace of an object that is not being deleted yet (upstream: podStrategy `CheckGracefulDelete`).
pub(crate) fn grace(rules: &Rules, object: &Value, asked: Option<i64>) -> Grace {
    if rules.key != "pods" {
        return Grace::None;
    }
    let nobody_runs_it = read::text(object, "/spec/nodeName").is_empty()
        || matches!(read::text(object, "/status/phase"), "Failed" | "Succeeded");
    if nobody_runs_it {
        return Grace::Seconds(0);
    }
    match asked.unwrap_or_else(|| read::int(object, "/spec/terminationGracePeriodSeconds")) {
        negative if negative < 0 => Grace::Seconds(1),
        seconds => Grace::Seconds(seconds),
    }
}

/// Whether something must happen before the object may go: its finalizers, and a namespace's own.
pub(crate) fn is_held(rules: &Rules, object: &Value) -> bool {
    !read::list(object, "/metadata/finalizers").is_empty()
        || rules.key == "namespaces" && !read::list(object, "/spec/finalizers").is_empty()
}

/// What the mark of a deletion says besides its time.
pub(crate) fn begin(rules: &Rules, object: &mut Value) {
    if rules.key == "namespaces" {
        object["status"]["phase"] = "Terminating".into();
        // Upstream marks a namespace without a grace: there is none to shorten.
        if let Some(metadata) = read::map_mut(object, "metadata") {
            metadata.shift_remove("deletionGracePeriodSeconds");
        }
    }
}

/// Whether a delete answers with the object instead of a Status (upstream's `ReturnDeletedObject`).
pub(crate) fn returns_object(rules: &Rules) -> bool {
    matches!(rules.key, "pods" | "services" | "serviceaccounts")
}
