//! What a change adds, modifies and removes.

use super::listed::{Listed, items, listed};
use super::view::{Form, Misfit, View};
use super::{Element, Set, go};
use serde_json::{Map, Value};

/// The difference between two objects; a field is in one of the sets at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Fields that are gone.
    pub removed: Set,
    /// Fields that have another value.
    pub modified: Set,
    /// Fields that are new.
    pub added: Set,
}

/// What became of one field itself, apart from what is below it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Same,
    Removed,
    Modified,
    Added,
}

// === impl Comparison ===

impl Comparison {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    /// The comparison without `fields` and everything below them.
    #[must_use]
    pub fn without(mut self, fields: &Set) -> Self {
        for set in [&mut self.removed, &mut self.modified, &mut self.added] {
            set.subtract_recursively(fields);
        }
        self
    }

    fn note(&mut self, element: Element, fate: Fate, below: Comparison) {
        for (set, child) in [
            (&mut self.removed, below.removed),
            (&mut self.modified, below.modified),
            (&mut self.added, below.added),
        ] {
            if !child.is_empty() {
                set.insert_child(element.clone(), child);
            }
        }
        match fate {
            Fate::Same => {}
            Fate::Removed => self.removed.insert_member(element),
            Fate::Modified => self.modified.insert_member(element),
            Fate::Added => self.added.insert_member(element),
        }
    }
}

/// Compares two objects. A field that upstream's Go type always writes (a struct that is no pointer) counts as there on
/// either side, empty.
pub fn compare(view: View<'_>, old: &Value, new: &Value) -> Result<Comparison, Misfit> {
    let mut found = Comparison::default();
    pair(view, Some(old), Some(new), &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn pair(
    view: View<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Element>,
    found: &mut Comparison,
) -> Result<Fate, Misfit> {
    let (before, after) = (old.map(|v| view.form(v)), new.map(|v| view.form(v)));
    match (before, after) {
        (Some(form), None) | (None, Some(form)) => one_form(view, form, old, new, path, found),
        (Some(before), Some(after)) if before != after => {
            one_form(view, before, old, new, path, found)?;
            one_form(view, after, old, new, path, found)?;
            Ok(Fate::Modified)
        }
        (_, Some(form)) => one_form(view, form, old, new, path, found),
        (None, None) => Ok(Fate::Same),
    }
}

fn one_form(
    view: View<'_>,
    form: Form,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Element>,
    found: &mut Comparison,
) -> Result<Fate, Misfit> {
    match form {
        Form::Leaf => return Ok(leaf(old, new)),
        Form::Map => {
            let (before, after) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            let zeros = || view.kind().is_some_and(|kind| kind.zeros().next().is_some());
            let nothing = |map: Option<&Map<String, Value>>| map.is_none_or(|m| m.is_empty());
            if nothing(before) && nothing(after) && !((before.is_some() != after.is_some()) && zeros()) {
                return Ok(leaf(old, new));
            }
            maps(view, before, after, path, found)?;
        }
        Form::List => {
            let (before, after) = (old.and_then(Value::as_array), new.and_then(Value::as_array));
            let (before, after) = (
                before.map_or(&[][..], Vec::as_slice),
                after.map_or(&[][..], Vec::as_slice),
            );
            if before.is_empty() && after.is_empty() {
                return Ok(leaf(old, new));
            }
            lists(view, before, after, path, found)?;
        }
    }
    Ok(match (old, new) {
        (None, Some(_)) => Fate::Added,
        (Some(_), None) => Fate::Removed,
        (_, _) => Fate::Same,
    })
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Fate {
    match (old, new) {
        (None, Some(_)) => Fate::Added,
        (Some(_), None) => Fate::Removed,
        (Some(old), Some(new)) if !go::equal(old, new) => Fate::Modified,
        (_, _) => Fate::Same,
    }
}

fn maps(
    view: View<'_>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    path: &mut Vec<Element>,
    found: &mut Comparison,
) -> Result<(), Misfit> {
    let kind = view.kind();
    let zero = |name: &str| kind.and_then(|k| k.field(name)).and_then(|f| f.zero.as_ref());
    for (name, value) in new.into_iter().flatten() {
        let before = old.and_then(|map| map.get(name).or_else(|| zero(name)));
        if before != Some(value) {
            member(view, name, before, Some(value), path, found)?;
        }
    }
    for (name, value) in old.into_iter().flatten() {
        if new.is_some_and(|map| map.contains_key(name)) {
            continue;
        }
        member(view, name, Some(value), new.and_then(|_| zero(name)), path, found)?;
    }
    // What neither writes is on both sides the same, unless one side is not there at all.
    if let (Some(kind), true) = (kind, old.is_some() != new.is_some()) {
        for field in kind.zeros() {
            let there = |map: Option<&Map<String, Value>>| map.is_some_and(|m| m.contains_key(&*field.name));
            if !there(old) && !there(new) {
                let (before, after) = (old.and(field.zero.as_ref()), new.and(field.zero.as_ref()));
                member(view, &field.name, before, after, path, found)?;
            }
        }
    }
    Ok(())
}

fn member(
    view: View<'_>,
    name: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Element>,
    found: &mut Comparison,
) -> Result<(), Misfit> {
    descend(view.member(name), Element::field(name), old, new, path, found)
}

fn descend(
    view: View<'_>,
    element: Element,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Element>,
    found: &mut Comparison,
) -> Result<(), Misfit> {
    let mut below = Comparison::default();
    path.push(element);
    let fate = pair(view, old, new, path, &mut below)?;
    if let Some(element) = path.pop() {
        found.note(element, fate, below);
    }
    Ok(())
}

fn lists(
    view: View<'_>,
    old: &[Value],
    new: &[Value],
    path: &mut Vec<Element>,
    found: &mut Comparison,
) -> Result<(), Misfit> {
    let (before, after): (Listed<'_>, Listed<'_>) = (listed(view, old, path)?, listed(view, new, path)?);
    for (element, old) in &before {
        let new = items(&after, element);
        same_element(view, element, old, new, path, found)?;
    }
    for (element, new) in &after {
        if items(&before, element).is_empty() {
            same_element(view, element, &[], new, path, found)?;
        }
    }
    Ok(())
}

/// Compares what one element names. Several items under one element are taken as a whole.
fn same_element(
    view: View<'_>,
    element: &Element,
    old: &[&Value],
    new: &[&Value],
    path: &mut Vec<Element>,
    found: &mut Comparison,
) -> Result<(), Misfit> {
    match (old, new) {
        ([] | [_], [] | [_]) => {
            let (old, new) = (old.first().copied(), new.first().copied());
            if old != new {
                descend(view.item(), element.clone(), old, new, path, found)?;
            }
        }
        ([_, _, ..], [_, _, ..]) => {
            if old.len() != new.len() || !old.iter().zip(new).all(|(a, b)| go::equal(a, b)) {
                found.modified.insert_member(element.clone());
            }
        }
        ([_, _, ..], new) => {
            if let [new] = new {
                descend(view.item(), element.clone(), None, Some(new), path, found)?;
            }
            found.removed.insert_member(element.clone());
        }
        (old, [_, _, ..]) => {
            if let [old] = old {
                descend(view.item(), element.clone(), Some(old), None, path, found)?;
            }
            found.added.insert_member(element.clone());
        }
    }
    Ok(())
}
