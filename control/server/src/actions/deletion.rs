//! How kinds end: who gets a grace, who waits for dependents, what holds an object until it lets go, what a deletion writes first.

use crate::options::{DeleteOptions, Propagation};
use api::status::{self, Status};
use api::{Rules, custom, metadata, read};
use serde_json::{Value, json};

/// Held until the garbage collector took the object out of its dependents' owners.
const ORPHAN: &str = "orphan";
/// Held until the garbage collector removed the dependents that block.
const FOREGROUND: &str = "foregroundDeletion";

/// Kinds whose deletion answers with the object instead of a Status (upstream's `ReturnDeletedObject`).
const RETURNED: [(&str, &str); 13] = [
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
];

/// How long an object may go on after somebody wishes it gone.
pub(crate) enum Grace {
    /// The kind has none.
    None,
    /// So long; 0 ends it at once.
    Seconds(i64),
}

/// What becomes of the dependents of a kind's objects if nobody says (upstream's `DefaultGarbageCollectionPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dependents {
    /// They go too.
    Deleted,
    /// They stay, without their owner.
    Orphaned,
    /// The kind's objects own nothing.
    None,
}

fn is_pod(rules: &Rules) -> bool {
    rules.plural == "pods" && rules.group.is_empty()
}

fn is_namespace(rules: &Rules) -> bool {
    rules.plural == "namespaces" && rules.group.is_empty()
}

fn is_definition(rules: &Rules) -> bool {
    rules.plural == "customresourcedefinitions" && rules.group == custom::GROUP
}

fn is_job(rules: &Rules) -> bool {
    rules.plural == "jobs" && rules.group == "batch"
}

/// The grace of an object that is not being deleted yet (upstream: podStrategy `CheckGracefulDelete`).
pub(crate) fn grace(rules: &Rules, object: &Value, asked: Option<i64>) -> Grace {
    if !is_pod(rules) {
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
        || is_namespace(rules) && !read::list(object, "/spec/finalizers").is_empty()
        // A definition that is wished gone waits for its objects.
        || is_definition(rules) && !metadata::is_deleting(object)
}

/// The finalizers of an object whose deletion is wished with these options: those of the garbage collector are put on and
/// taken off as they say (upstream: `deletionFinalizersForGarbageCollection`).
pub(crate) fn finalizers(rules: &Rules, object: &Value, options: &DeleteOptions) -> Vec<Value> {
    let present = read::list(object, "/metadata/finalizers");
    let has = |name: &str| present.iter().any(|finalizer| finalizer == name);
    let policy = match (options.orphan, options.propagation) {
        (Some(true), _) => Some(Propagation::Orphan),
        (Some(false), _) => Some(Propagation::Background),
        (None, Some(asked)) => Some(asked),
        (None, None) if has(ORPHAN) => Some(Propagation::Orphan),
        (None, None) if has(FOREGROUND) => Some(Propagation::Foreground),
        (None, None) => None,
    };
    let wanted = match (dependents(rules), policy) {
        (Dependents::None, _) | (_, Some(Propagation::Background)) | (Dependents::Deleted, None) => None,
        (Dependents::Orphaned, None) | (_, Some(Propagation::Orphan)) => Some(ORPHAN),
        (_, Some(Propagation::Foreground)) => Some(FOREGROUND),
    };
    let others = present.iter().filter(|name| *name != ORPHAN && *name != FOREGROUND);
    let all: Vec<Value> = others.cloned().chain(wanted.map(Value::from)).collect();
    // The same ones in another order are no change.
    let same = all.len() == present.len() && present.iter().all(|name| all.contains(name));
    if same { present.to_vec() } else { all }
}

fn dependents(rules: &Rules) -> Dependents {
    match (rules.group, rules.plural) {
        ("", "replicationcontrollers") | ("batch", "jobs") => Dependents::Orphaned,
        ("" | "events.k8s.io", "events") => Dependents::None,
        (_, _) => Dependents::Deleted,
    }
}

/// What a client that deletes with these options should hear.
pub(crate) fn warning(rules: &Rules, options: &DeleteOptions) -> Option<&'static str> {
    let says_nothing = options.propagation.is_none() && options.orphan.is_none();
    (is_job(rules) && says_nothing).then_some(
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or \
         set propagationPolicy=Orphan to suppress this warning",
    )
}

/// What the mark of a deletion says besides its time.
pub(crate) fn begin(rules: &Rules, object: &mut Value) {
    if is_definition(rules) {
        begin_definition(object);
    }
    if is_namespace(rules) {
        object["status"]["phase"] = "Terminating".into();
        // Upstream marks a namespace without a grace: there is none to shorten.
        if let Some(metadata) = read::map_mut(object, "metadata") {
            metadata.shift_remove("deletionGracePeriodSeconds");
        }
    }
}

/// The definition's objects go first (upstream: customresourcedefinition `REST.Delete`).
fn begin_definition(definition: &mut Value) {
    let finalizers = read::map_mut(definition, "metadata").map(|m| m.entry("finalizers").or_insert_with(|| json!([])));
    if let Some(Value::Array(finalizers)) = finalizers
        && !finalizers.iter().any(|finalizer| finalizer == custom::FINALIZER)
    {
        finalizers.push(custom::FINALIZER.into());
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    let now = read::text(definition, "/metadata/deletionTimestamp").to_owned();
    definition["status"] = custom::terminating(definition, &now, true, "InstanceDeletionPending", message);
}

/// Whether a delete answers with the object instead of a Status.
pub(crate) fn returns_object(rules: &Rules) -> bool {
    RETURNED.contains(&(rules.group, rules.plural))
}

/// Refuses to delete another incarnation or state than the one that is meant.
pub(crate) fn preconditions(rules: &Rules, name: &str, options: &DeleteOptions, old: &Value) -> Result<(), Status> {
    let (uid, revision) = (metadata::uid(old), metadata::resource_version(old));
    let (what, asked, present, since) = match (&options.uid, &options.resource_version) {
        (Some(asked), _) if asked != uid => ("UID", asked, uid, "deleted and then recreated"),
        (_, Some(asked)) if asked != revision => ("ResourceVersion", asked, revision, "modified"),
        (_, _) => return Ok(()),
    };
    if is_namespace(rules) {
        let why = format!("Precondition failed: {what} in precondition: {asked}, {what} in object meta: {present}");
        return Err(status::conflict(rules, name, &why));
    }
    let why = format!(
        "the {what} in the precondition ({asked}) does not match the {what} in record ({present}). The object might have been {since}"
    );
    let mut refusal = status::conflict(rules, name, &why);
    // Upstream names the kind here where every other conflict names the resource.
    let kind = if rules.group.is_empty() {
        rules.kind.to_string()
    } else {
        format!("{}.{}", rules.kind, rules.group)
    };
    refusal.message = format!("Operation cannot be fulfilled on {kind} {name:?}: {why}");
    refusal.details.insert("kind".to_owned(), rules.kind.to_string().into());
    Err(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_collectors_finalizers_follow_the_options_then_the_object_then_the_kind() {
        let maps = api::find("", "v1", "configmaps").expect("the kind is served");
        let events = api::find("", "v1", "events").expect("the kind is served");
        let options = |orphan, propagation| DeleteOptions {
            orphan,
            propagation,
            ..DeleteOptions::default()
        };
        let (orphan, foreground, background) = (Propagation::Orphan, Propagation::Foreground, Propagation::Background);
        for (rules, present, options, expected) in [
            (maps, json!([]), options(None, None), json!([])),
            (
                maps,
                json!(["a.b/c"]),
                options(None, Some(orphan)),
                json!(["a.b/c", "orphan"]),
            ),
            (
                maps,
                json!(["a.b/c"]),
                options(Some(true), None),
                json!(["a.b/c", "orphan"]),
            ),
            (
                maps,
                json!(["orphan", "a.b/c"]),
                options(None, None),
                json!(["orphan", "a.b/c"]),
            ),
            (
                maps,
                json!(["orphan"]),
                options(None, Some(foreground)),
                json!(["foregroundDeletion"]),
            ),
            (
                maps,
                json!(["foregroundDeletion"]),
                options(Some(false), None),
                json!([]),
            ),
            (
                maps,
                json!(["foregroundDeletion"]),
                options(None, Some(background)),
                json!([]),
            ),
            (events, json!([]), options(None, Some(foreground)), json!([])),
        ] {
            let object = json!({"metadata": {"finalizers": present}});
            assert_eq!(
                json!(finalizers(rules, &object, &options)),
                expected,
                "{present} {options:?}"
            );
        }
    }
}
