//! The field manager: managedFields kept through every write, and server-side apply (apimachinery `util/managedfields`).

use super::owners::{self, Owner, Owners};
use super::update::{self, Refused, Taken};
use super::view::View;
use super::{Element, Set, collect, compare, conform, go, set};
use crate::metadata;
use serde_json::{Value, json};
use std::sync::OnceLock;

/// The owner of everything that was there before the first apply to an object that nobody tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager of `kubectl apply --server-side`: it takes over what `kubectl apply` owned before.
const KUBECTL: &str = "kubectl";
/// Where `kubectl apply` keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations together may be so large, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Who writes what how.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The kind's shape.
    pub view: View<'a>,
    /// The manager's name; `unknown` if empty.
    pub manager: &'a str,
    /// The version written through.
    pub api_version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// The subresource written to; empty for the object itself.
    pub subresource: &'a str,
    /// Now, RFC 3339 in whole seconds.
    pub now: &'a str,
    /// Fields that this write cannot change and nobody comes to own by it.
    pub resets: &'a Set,
}

/// One field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// `"kubectl" using apps/v1`.
    pub manager: String,
    /// `.spec.replicas`.
    pub field: String,
}

/// Why an apply was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// 400.
    Bad(String),
    /// 500: upstream has no better word for a configuration that does not fit its kind.
    Misfit(String),
    /// 409: fields of others, by manager.
    Conflicts(Vec<Conflict>),
}

// === impl ApplyError ===

impl ApplyError {
    /// Upstream's sentence.
    pub fn message(&self) -> String {
        match self {
            ApplyError::Bad(message) | ApplyError::Misfit(message) => message.clone(),
            ApplyError::Conflicts(conflicts) => match conflicts.as_slice() {
                [one] => format!(
                    "Apply failed with 1 conflict: conflict with {}: {}",
                    one.manager, one.field
                ),
                many => {
                    let mut lines = Vec::new();
                    let mut last = None;
                    for conflict in many {
                        if last != Some(&conflict.manager) {
                            lines.push(format!("conflicts with {}:", conflict.manager));
                            last = Some(&conflict.manager);
                        }
                        lines.push(format!("- {}", conflict.field));
                    }
                    format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
                }
            },
        }
    }
}

// === impl Write ===

impl Write<'_> {
    fn owner(&self, applies: bool) -> Owner {
        let manager = if self.manager.is_empty() {
            "unknown"
        } else {
            self.manager
        };
        Owner {
            manager: manager.to_owned(),
            applies,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
            time: Some(self.now.to_owned()),
            set: Set::default(),
        }
    }
}

/// Fields that nobody owns.
fn stripped() -> &'static Set {
    static STRIPPED: OnceLock<Set> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        Set::of_names(&[
            &["apiVersion"],
            &["kind"],
            &["metadata"],
            &["metadata", "name"],
            &["metadata", "namespace"],
            &["metadata", "creationTimestamp"],
            &["metadata", "selfLink"],
            &["metadata", "uid"],
            &["metadata", "clusterName"],
            &["metadata", "generation"],
            &["metadata", "managedFields"],
            &["metadata", "resourceVersion"],
        ])
    })
}

/// Writes into `new` who owns what after a write that is no apply. `live` is none for a create. Where the objects do not fit
/// their kind, the entries stay those of `live`.
pub fn track(write: &Write<'_>, live: Option<&Value>, new: &mut Value) {
    let entries = |object: &Value| owners::decode(object).unwrap_or_default();
    let of_live = || live.map(entries).unwrap_or_default();
    let owners = if !write.subresource.is_empty() {
        of_live()
    } else if owners::is_reset(new) {
        Owners::new()
    } else {
        Some(entries(new)).filter(|o| !o.is_empty()).unwrap_or_else(of_live)
    };
    if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
    // An object that exists and that nobody tracks is not tracked from here on either.
    if owners.is_empty() && live.is_some_and(|live| !metadata::uid(live).is_empty()) {
        return;
    }
    let nothing = json!({});
    match updated(write, live.unwrap_or(&nothing), new, owners, write.manager) {
        Ok(owners) => owners::encode(new, owners),
        Err(_) => {
            let kept = live.and_then(|live| live.pointer("/metadata/managedFields"));
            if let (Some(kept), Some(metadata)) = (kept, new.get_mut("metadata").and_then(Value::as_object_mut)) {
                metadata.insert("managedFields".to_owned(), kept.clone());
            }
        }
    }
}

fn updated(
    write: &Write<'_>,
    live: &Value,
    new: &Value,
    owners: Owners,
    manager: &str,
) -> Result<Owners, super::Misfit> {
    let (mut owners, mut took) = update::update(write.view, live, new, owners, write.resets)?;
    took.subtract(stripped());
    if !took.is_empty() {
        let me = Write { manager, ..*write }.owner(false);
        match owners.iter_mut().find(|owner| owner.is(&me)) {
            Some(previous) => {
                previous.set = took.union(&previous.set);
                previous.time = me.time;
            }
            None => owners.push(Owner { set: took, ..me }),
        }
    }
    owners::cap(&mut owners);
    Ok(owners)
}

/// What becomes of `live` (none: it does not exist) when `config` is applied, with managedFields; not yet defaulted.
pub fn apply(write: &Write<'_>, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, ApplyError> {
    fits(write, live, config)?;
    let nothing = json!({});
    let live = live.unwrap_or(&nothing);
    let mut owners =
        owners::decode(live).map_err(|e| ApplyError::Misfit(format!("failed to decode managed fields: {e}")))?;
    if owners.is_empty() {
        owners = updated(write, &nothing, live, owners, BEFORE_FIRST_APPLY)
            .map_err(|m| ApplyError::Misfit(format!("failed to create manager for existing fields: {m}")))?;
    }
    let me = write.owner(true);
    let once = |force: bool| update::apply(write.view, live, config, owners.clone(), &me, write.resets, force);
    let outcome = match once(force) {
        Err(Refused::Conflicts(taken)) if write.manager == KUBECTL => match not_ours(write, live, taken) {
            taken if taken.is_empty() => once(true),
            taken => Err(Refused::Conflicts(taken)),
        },
        outcome => outcome,
    };
    let (new, mut owners) = outcome.map_err(refusal)?;
    for owner in owners.iter_mut().filter(|owner| owner.is(&me)) {
        owner.set = owner.set.difference(stripped());
        if new.is_some() || owner.time.is_none() {
            owner.time = Some(write.now.to_owned());
        }
    }
    owners.retain(|owner| !owner.set.is_empty());
    let mut new = new.unwrap_or_else(|| live.clone());
    owners::encode(&mut new, owners);
    if write.manager == KUBECTL && !last_applied(&new).is_empty() {
        remember(&mut new, config);
    }
    Ok(new)
}

/// Refuses a configuration of another kind, with managedFields, or with fields that the kind does not have.
fn fits(write: &Write<'_>, live: Option<&Value>, config: &Value) -> Result<(), ApplyError> {
    let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let group_version = if api_version.contains('/') {
        api_version.to_owned()
    } else {
        format!("/{api_version}")
    };
    if api_version != write.api_version || kind != write.kind {
        return Err(ApplyError::Bad(format!(
            "invalid object type: {group_version}, Kind={kind}"
        )));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|m| !m.is_null()) {
        return Err(ApplyError::Bad("metadata.managedFields must be nil".to_owned()));
    }
    let named = live.unwrap_or(config);
    conform(write.view, config).map_err(|misfit| {
        ApplyError::Misfit(format!(
            "failed to create typed patch object ({}/{}; {group_version}, Kind={kind}): {misfit}",
            metadata::namespace(config),
            match metadata::name(config) {
                "" => metadata::name(named),
                name => name,
            }
        ))
    })
}

fn refusal(refused: Refused) -> ApplyError {
    match refused {
        Refused::Misfit(misfit) => ApplyError::Misfit(misfit.0),
        Refused::Conflicts(mut taken) => {
            taken.sort_by(|a, b| a.owner.manager.cmp(&b.owner.manager));
            let mut conflicts = Vec::new();
            for Taken { owner, fields } in &taken {
                let manager = printed(owner);
                fields.each(&mut |path: &[Element]| {
                    conflicts.push(Conflict {
                        manager: manager.clone(),
                        field: set::path_text(path),
                    });
                });
            }
            ApplyError::Conflicts(conflicts)
        }
    }
}

fn printed(owner: &Owner) -> String {
    let mut text = format!("{:?}", owner.manager);
    if !owner.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", owner.subresource));
    }
    if !owner.applies {
        text.push_str(&format!(" using {}", owner.api_version));
    }
    text
}

fn last_applied(object: &Value) -> &str {
    object
        .get("metadata")
        .and_then(|m| m.get("annotations"))
        .and_then(|a| a.get(LAST_APPLIED))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The conflicts without those on fields that stand as `kubectl apply` left them.
fn not_ours(write: &Write<'_>, live: &Value, taken: Vec<Taken>) -> Vec<Taken> {
    let Some(ours) = left_by_client_side_apply(write, live) else {
        return taken;
    };
    taken
        .into_iter()
        .map(|t| Taken {
            fields: t.fields.difference(&ours),
            ..t
        })
        .filter(|t| !t.fields.is_empty())
        .collect()
}

fn left_by_client_side_apply(write: &Write<'_>, live: &Value) -> Option<Set> {
    let last: Value = serde_json::from_str(last_applied(live)).ok()?;
    if last.get("apiVersion")?.as_str()? != write.api_version || conform(write.view, &last).is_err() {
        return None;
    }
    let set = collect(write.view, &last).ok()?;
    let changes = compare(write.view, &last, live).ok()?;
    Some(
        set.difference(&changes.modified)
            .difference(&changes.added)
            .difference(&changes.removed),
    )
}

/// Keeps the annotation of `kubectl apply` in step, so that a later client-side apply finds what it needs.
fn remember(object: &mut Value, config: &Value) {
    let mut config = config.clone();
    if let Some(annotations) = config
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.shift_remove(LAST_APPLIED);
    }
    let mut text = String::new();
    go::write_json(&mut text, &config);
    text.push('\n');
    let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    annotations.insert(LAST_APPLIED.to_owned(), text.into());
    let size: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > ANNOTATIONS_MAX {
        annotations.shift_remove(LAST_APPLIED);
    }
}

/// Whether `new` differs from `old` in the times of managedFields at most; `new` then gets `old`'s times.
pub fn same_but_for_times(old: &Value, new: &mut Value) -> bool {
    let entries = |object: &Value| {
        object
            .get("metadata")
            .and_then(|m| m.get("managedFields"))
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let (before, after) = (entries(old), entries(new));
    if before == after || before.len() != after.len() {
        return false;
    }
    let timeless = |entry: &Value| {
        let mut entry = entry.clone();
        if let Some(entry) = entry.as_object_mut() {
            entry.shift_remove("time");
        }
        entry
    };
    if !before.iter().zip(&after).all(|(a, b)| timeless(a) == timeless(b)) {
        return false;
    }
    let mut revert = new.clone();
    revert["metadata"]["managedFields"] = Value::Array(before);
    let mut same = revert == *old;
    if !same {
        // The revision is the store's to count.
        let mut pinned = revert.clone();
        pinned["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        same = pinned == *old;
    }
    if same {
        *new = revert;
    }
    same
}
