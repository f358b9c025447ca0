//! What a server serves at one moment: the built-in kinds and the custom resources. It never changes; a new one replaces it.

use crate::{KINDS, rules::RulesRef};
use std::{
    cmp::{Ordering, Reverse},
    collections::{HashMap, HashSet},
    sync::OnceLock,
};

/// Group, version and plural.
type Name = (&'static str, &'static str, &'static str);

/// Every kind that is served, built-in ones first, in discovery's order.
#[derive(Debug)]
pub struct Catalog {
    kinds: Vec<RulesRef>,
    by_plural: HashMap<Name, usize>,
    /// Filled by `/openapi/v3`'s index: the hash of each group-version's document.
    pub(crate) hashes: OnceLock<Vec<(String, u64)>>,
    /// Filled by `/openapi/v2`: the hash of that document.
    pub(crate) v2_hash: OnceLock<u64>,
}

// === impl Catalog ===

impl Catalog {
    /// The built-in kinds and these custom ones. A custom kind under a built-in one's name is left out.
    pub fn new(custom: impl IntoIterator<Item = RulesRef>) -> Self {
        let mut kinds: Vec<RulesRef> = KINDS.iter().map(|rules| RulesRef::from(*rules)).collect();
        let mut custom: Vec<RulesRef> = custom.into_iter().collect();
        custom.sort_by(|a, b| {
            (a.group, Reverse(Priority(a.version)), a.plural).cmp(&(b.group, Reverse(Priority(b.version)), b.plural))
        });
        kinds.extend(custom);
        let mut seen = HashSet::new();
        kinds.retain(|rules| seen.insert(name(rules)));
        let by_plural = kinds.iter().enumerate().map(|(at, rules)| (name(rules), at)).collect();
        Self {
            kinds,
            by_plural,
            hashes: OnceLock::new(),
            v2_hash: OnceLock::new(),
        }
    }

    /// Every kind.
    pub fn iter(&self) -> impl Iterator<Item = &RulesRef> {
        self.kinds.iter()
    }

    /// The rules of what a path names.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&RulesRef> {
        self.by_plural.get(&(group, version, plural)).map(|at| &self.kinds[*at])
    }

    /// The rules of what `apiVersion` and `kind` name.
    pub fn find_kind(&self, api_version: &str, kind: &str) -> Option<&RulesRef> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.kinds
            .iter()
            .find(|r| r.kind == kind && r.group == group && r.version == version)
    }

    /// The kinds of a group-version, or all.
    pub(crate) fn of<'a>(&'a self, group_version: Option<(&'a str, &'a str)>) -> impl Iterator<Item = &'a RulesRef> {
        self.kinds
            .iter()
            .filter(move |r| group_version.is_none_or(|gv| gv == (r.group, r.version)))
    }
}

fn name(rules: &RulesRef) -> Name {
    (rules.group, rules.version, rules.plural)
}

/// Orders versions as discovery prefers them: `v2` over `v1` over `v1beta2` over `v1alpha1` over words, which are compared as
/// words, the first in the alphabet first (apimachinery `version.CompareKubeAwareVersionStrings`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Priority<'a>(pub &'a str);

impl Priority<'_> {
    /// Stability (alpha 0, beta 1, stable 2), major and minor number; none for a word.
    fn parts(self) -> Option<(u8, u64, u64)> {
        let rest = self.0.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..end].parse().ok().filter(|_| !rest.starts_with('0'))?;
        let (stability, minor) = match &rest[end..] {
            "" => return Some((2, major, 0)),
            tail if tail.starts_with("beta") => (1, &tail["beta".len()..]),
            tail if tail.starts_with("alpha") => (0, &tail["alpha".len()..]),
            _ => return None,
        };
        let digits = !minor.is_empty() && !minor.starts_with('0') && minor.bytes().all(|b| b.is_ascii_digit());
        Some((stability, major, minor.parse().ok().filter(|_| digits)?))
    }
}

impl Ord for Priority<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.parts(), other.parts()) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            (None, None) => other.0.cmp(self.0),
        }
    }
}

impl PartialOrd for Priority<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_upstream_orders_them() {
        let mut versions = [
            "foo10",
            "v1",
            "v11alpha2",
            "foo1",
            "v3beta1",
            "v12alpha1",
            "v10",
            "v2",
            "v11beta2",
            "v10beta3",
        ];
        versions.sort_by_key(|version| Reverse(Priority(version)));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v11beta2",
                "v10beta3",
                "v3beta1",
                "v12alpha1",
                "v11alpha2",
                "foo1",
                "foo10"
            ]
        );
    }

    #[test]
    fn kinds_are_found_by_path_and_by_name() {
        let catalog = Catalog::new([]);
        assert!(catalog.find("", "v1", "pods").is_some_and(|rules| rules.kind == "Pod"));
        assert!(catalog.find_kind("coordination.k8s.io/v1", "Lease").is_some());
        assert!(catalog.find("apps", "v1", "pods").is_none());
    }
}
