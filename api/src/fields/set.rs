//! Sets of fields, as trees: what is in the set at this level, and what is below.

use super::{Element, View};
use std::cmp::Ordering;
use std::fmt::Write;

/// A set of fields. A path being in it says nothing of the paths above or below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Elements that are in the set; sorted.
    pub(super) members: Vec<Element>,
    /// What is in the set below each element; sorted. A child may be empty.
    pub(super) children: Vec<(Element, Set)>,
}

// === impl Set ===

impl Set {
    /// The set of these paths of names.
    pub fn of_names(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<Element> = path.iter().map(|name| Element::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    /// Adds a path. The empty path is nobody's.
    pub fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => self.insert_member(last.clone()),
            [first, rest @ ..] => self.child_mut(first).insert(rest),
        }
    }

    pub(super) fn insert_member(&mut self, element: Element) {
        if let Err(at) = self.members.binary_search(&element) {
            self.members.insert(at, element);
        }
    }

    fn child_mut(&mut self, element: &Element) -> &mut Set {
        let at = match self.children.binary_search_by(|(e, _)| e.cmp(element)) {
            Ok(at) => at,
            Err(at) => {
                self.children.insert(at, (element.clone(), Set::default()));
                at
            }
        };
        &mut self.children[at].1
    }

    /// Adds a whole subtree below `element`; nothing if it is empty.
    pub(super) fn insert_child(&mut self, element: Element, child: Set) {
        if child.is_empty() {
            return;
        }
        match self.children.binary_search_by(|(e, _)| e.cmp(&element)) {
            Ok(at) => self.children[at].1 = self.children[at].1.union(&child),
            Err(at) => self.children.insert(at, (element, child)),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.iter().all(|(_, child)| child.is_empty())
    }

    /// Whether a path is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.has_member(last),
            [first, rest @ ..] => self.child(first).is_some_and(|child| child.has(rest)),
        }
    }

    pub(super) fn has_member(&self, element: &Element) -> bool {
        self.members.binary_search(element).is_ok()
    }

    /// What is in it below `element`.
    pub fn child(&self, element: &Element) -> Option<&Set> {
        let at = self.children.binary_search_by(|(e, _)| e.cmp(element)).ok()?;
        Some(&self.children[at].1)
    }

    /// What is in either.
    pub fn union(&self, other: &Set) -> Set {
        Set {
            members: zip(&self.members, &other.members, Element::cmp, |a, b| a.or(b).cloned()),
            children: zip(&self.children, &other.children, by_element, |a, b| match (a, b) {
                (Some((element, a)), Some((_, b))) => Some((element.clone(), a.union(b))),
                (one, other) => one.or(other).cloned(),
            }),
        }
    }

    /// What is in both.
    pub fn intersection(&self, other: &Set) -> Set {
        Set {
            members: zip(&self.members, &other.members, Element::cmp, |a, b| a.and(b).cloned()),
            children: zip(&self.children, &other.children, by_element, |a, b| {
                let ((element, a), (_, b)) = (a?, b?);
                let both = a.intersection(b);
                (!both.is_empty()).then(|| (element.clone(), both))
            }),
        }
    }

    /// What is in this one alone.
    pub fn difference(&self, other: &Set) -> Set {
        let mut rest = self.clone();
        rest.subtract(other);
        rest
    }

    /// What is in this one alone, without what lies below anything that is in the other.
    pub fn recursive_difference(&self, other: &Set) -> Set {
        let mut rest = self.clone();
        rest.subtract_recursively(other);
        rest
    }

    /// [`Set::union`], moving what is in one alone where possible.
    pub(super) fn or(self, other: Set) -> Set {
        if self.is_empty() {
            other
        } else if other.is_empty() {
            self
        } else {
            self.union(&other)
        }
    }

    /// [`Set::difference`] in place.
    pub(super) fn subtract(&mut self, other: &Set) {
        self.members.retain(|element| !other.has_member(element));
        self.children.retain_mut(|(element, child)| {
            if let Some(other) = other.child(element) {
                child.subtract(other);
            }
            !child.is_empty()
        });
    }

    /// [`Set::recursive_difference`] in place.
    pub(super) fn subtract_recursively(&mut self, other: &Set) {
        self.members.retain(|element| !other.has_member(element));
        self.children.retain_mut(|(element, child)| {
            if other.has_member(element) {
                return false;
            }
            if let Some(other) = other.child(element) {
                child.subtract_recursively(other);
            }
            !child.is_empty()
        });
    }

    /// The paths that have no longer path in the set.
    pub fn leaves(&self) -> Set {
        let leaf = |e: &&Element| self.children.binary_search_by(|(c, _)| c.cmp(e)).is_err();
        Set {
            members: self.members.iter().filter(leaf).cloned().collect(),
            children: self
                .children
                .iter()
                .map(|(e, child)| (e.clone(), child.leaves()))
                .collect(),
        }
    }

    /// The set together with every struct field that has something in the set below it.
    pub fn with_named_fields(&self, view: View<'_>) -> Set {
        let mut named = Set {
            members: self.members.clone(),
            children: Vec::with_capacity(self.children.len()),
        };
        for (element, child) in &self.children {
            if let Element::Field(name) = element
                && view.declares(name)
            {
                named.insert_member(element.clone());
            }
            named
                .children
                .push((element.clone(), child.with_named_fields(view.step(element))));
        }
        named
    }

    /// Calls `visit` with each path, those at one level before those below.
    pub fn each(&self, visit: &mut impl FnMut(&[Element])) {
        self.each_below(&mut Vec::new(), visit);
    }

    fn each_below(&self, path: &mut Vec<Element>, visit: &mut impl FnMut(&[Element])) {
        for element in &self.members {
            path.push(element.clone());
            visit(path);
            path.pop();
        }
        for (element, child) in &self.children {
            path.push(element.clone());
            child.each_below(path, visit);
            path.pop();
        }
    }
}

/// A path as errors show it: `.spec.containers[name="a"].image`.
pub(super) fn path_text(path: &[Element]) -> String {
    let mut text = String::new();
    for element in path {
        // Writing into a String cannot fail.
        let _ = write!(text, "{element}");
    }
    text
}

fn by_element(a: &(Element, Set), b: &(Element, Set)) -> Ordering {
    a.0.cmp(&b.0)
}

/// Walks two sorted lists side by side and keeps what `pick` makes of each pair.
fn zip<T>(
    first: &[T],
    second: &[T],
    order: impl Fn(&T, &T) -> Ordering,
    pick: impl Fn(Option<&T>, Option<&T>) -> Option<T>,
) -> Vec<T> {
    let mut picked = Vec::with_capacity(first.len());
    let (mut i, mut j) = (0, 0);
    while i < first.len() || j < second.len() {
        let (a, b) = match (first.get(i), second.get(j)) {
            (Some(a), Some(b)) => match order(a, b) {
                Ordering::Less => (Some(a), None),
                Ordering::Greater => (None, Some(b)),
                Ordering::Equal => (Some(a), Some(b)),
            },
            (a, b) => (a, b),
        };
        i += usize::from(a.is_some());
        j += usize::from(b.is_some());
        picked.extend(pick(a, b));
    }
    picked
}
