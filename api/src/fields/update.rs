//! How ownership moves: a write takes what it changes, an apply also gives up what it no longer says
//! (structured-merge-diff `merge/update.go`).

use super::owners::{Owner, Owners};
use super::view::{Misfit, View};
use super::{Comparison, Set, collect, compare, go, merge, remove};
use serde_json::Value;

/// Fields that another manager owns and that an apply would change.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub owner: Owner,
    pub fields: Set,
}

/// Why an apply came to nothing.
#[derive(Debug)]
pub(super) enum Refused {
    Misfit(Misfit),
    Conflicts(Vec<Taken>),
}

impl From<Misfit> for Refused {
    fn from(misfit: Misfit) -> Self {
        Refused::Misfit(misfit)
    }
}

/// Takes from every owner but `me` what changed. Unless forced, nobody may lose a field that is not gone.
fn disown(changes: &Comparison, owners: &mut Owners, me: Option<&Owner>, force: bool) -> Result<(), Vec<Taken>> {
    let written = changes.modified.union(&changes.added);
    let is_me = |owner: &Owner| me.is_some_and(|me| me.is(owner));
    let taken: Vec<Taken> = owners
        .iter()
        .filter(|owner| !is_me(owner))
        .filter_map(|owner| {
            let fields = owner.set.intersection(&written);
            (!fields.is_empty()).then(|| Taken {
                owner: owner.clone(),
                fields,
            })
        })
        .collect();
    if !force && !taken.is_empty() {
        return Err(taken);
    }
    for owner in owners.iter_mut().filter(|owner| !is_me(owner)) {
        if let Some(taken) = taken.iter().find(|t| t.owner.is(owner)) {
            owner.set = owner.set.difference(&taken.fields);
        }
        if !changes.removed.is_empty() {
            owner.set = owner.set.difference(&changes.removed);
        }
    }
    owners.retain(|owner| !owner.set.is_empty());
    Ok(())
}

/// The owners after a write that is no apply, and what the write itself came to own.
pub(super) fn update(
    view: View<'_>,
    live: &Value,
    new: &Value,
    mut owners: Owners,
    ignored: &Set,
) -> Result<(Owners, Set), Misfit> {
    let changes = compare(view, live, new)?.without(ignored);
    if changes.is_same() {
        return Ok((owners, Set::default()));
    }
    if !owners.is_empty() {
        // Forced, so that nothing is refused.
        let _ = disown(&changes, &mut owners, None, true);
    }
    Ok((owners, changes.modified.or(changes.added)))
}

/// What an apply makes of `live`; none if it stays as it is. `me` says who applies; its set is not looked at.
pub(super) fn apply(
    view: View<'_>,
    live: &Value,
    config: &Value,
    mut owners: Owners,
    me: &Owner,
    ignored: &Set,
    force: bool,
) -> Result<(Option<Value>, Owners), Refused> {
    let mut new = merge(view, live, config).map_err(|m| Misfit(format!("failed to merge config: {m}")))?;
    let last = owners.iter().position(|owner| owner.is(me)).map(|at| owners.remove(at));
    let set = collect(view, config)
        .map_err(|m| Misfit(format!("failed to get field set: {m}")))?
        .recursive_difference(ignored);
    owners.push(Owner {
        set,
        time: last.as_ref().and_then(|last| last.time.clone()),
        ..me.clone()
    });
    if let Some(last) = last.filter(|last| !last.set.is_empty()) {
        new = prune(view, &new, &owners, &last.set).map_err(|m| Misfit(format!("failed to prune fields: {m}")))?;
    }
    let changes = compare(view, live, &new)
        .map_err(|m| Misfit(format!("failed to compare objects: {m}")))?
        .without(ignored);
    disown(&changes, &mut owners, Some(me), force).map_err(Refused::Conflicts)?;
    let changed = !go::equal(live, &new);
    Ok((changed.then_some(new), owners))
}

/// Removes what the applier said last time and says no more, unless somebody else owns it.
fn prune(view: View<'_>, merged: &Value, owners: &Owners, last: &Set) -> Result<Value, Misfit> {
    let last = last.with_named_fields(view);
    let merged_set = collect(view, merged)?.with_named_fields(view);
    let pruned = remove(view, merged, &last);
    let pruned_set = collect(view, &pruned)?.with_named_fields(view);
    let owned = owners
        .iter()
        .fold(Set::default(), |all, owner| all.union(&owner.set))
        .with_named_fields(view);
    let pruned = remove(view, merged, &merged_set.difference(&pruned_set.union(&owned)));
    // What nobody owned before goes only if the applier owned it.
    let pruned_set = collect(view, &pruned)?.with_named_fields(view);
    Ok(remove(
        view,
        merged,
        &merged_set.difference(&pruned_set).intersection(&last),
    ))
}
