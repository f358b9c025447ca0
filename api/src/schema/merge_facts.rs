//! How lists and maps merge: patch strategies, merge keys and list types, from `merge_keys.txt`; and what upstream's types
//! write for fields that nobody set, from `zero_values.txt`.

use super::ListKind;
use serde_json::Value;
use std::collections::HashMap;

/// How one field merges. All texts are empty where upstream says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MergeFacts {
    /// `merge`, `replace`, `retainKeys` or `merge,retainKeys`.
    pub strategy: &'static str,
    /// The member by which a list's items are told apart in a strategic merge patch.
    pub merge_key: &'static str,
    /// `atomic`, `set` or `map`; `map:atomic` for maps; `struct:atomic` for a type (its field is `*`).
    pub list_type: &'static str,
    /// The members by which they are told apart in server-side apply, joined by commas.
    pub list_map_keys: &'static str,
}

const TABLE: &str = include_str!("merge_keys.txt");
const ZEROS: &str = include_str!("zero_values.txt");

// === impl MergeFacts ===

impl MergeFacts {
    /// What tells a list's items apart. Where upstream says nothing of it, its merge key counts (kube-openapi `schemaconv`).
    pub(crate) fn list_kind(&self) -> ListKind {
        let keys = |joined: &str| ListKind::Map(joined.split(',').map(Into::into).collect());
        match (self.list_type, self.strategy, self.merge_key) {
            ("set", _, _) => ListKind::Set,
            ("map", _, _) => keys(self.list_map_keys),
            ("", "merge" | "merge,retainKeys", "") => ListKind::Set,
            ("", "merge" | "merge,retainKeys", key) => keys(key),
            (_, _, _) => ListKind::Atomic,
        }
    }

    /// Whether an object or map is owned as a whole, where the field says so itself.
    pub(crate) fn atomic(&self) -> Option<bool> {
        match self.list_type {
            "map:atomic" | "struct:atomic" => Some(true),
            "map:granular" | "struct:granular" => Some(false),
            _ => None,
        }
    }
}

/// The table of zeros, read.
pub(crate) struct ZeroValues(HashMap<(Component<'static>, &'static str), Value>);

impl ZeroValues {
    /// Reads the table.
    pub(crate) fn read() -> Self {
        let zero = |line: &'static str| {
            let mut words = line.split(' ');
            let (group, version) = words.next()?.split_once('/')?;
            let (name, field) = words.next()?.split_once('.')?;
            let value = serde_json::from_str(words.next()?).ok()?;
            Some((((group, version, name), field), value))
        };
        Self(ZEROS.lines().filter(|l| !l.starts_with('#')).filter_map(zero).collect())
    }

    /// The zero of `field` in the type with that component name.
    pub(crate) fn of(&self, component: &str, field: &str) -> Option<Value> {
        self.0.get(&(short_name(component)?, field)).cloned()
    }
}

/// The whole table, read. Cheap to read again, so nobody keeps it.
pub(crate) struct Facts(HashMap<(Component<'static>, &'static str), MergeFacts>);

/// Group, version and name of a type.
type Component<'a> = (&'a str, &'a str, &'a str);

impl Facts {
    /// Reads the table.
    pub(crate) fn read() -> Self {
        Self(TABLE.lines().filter_map(read_line).collect())
    }

    /// The facts of `field` in the type with that component name, such as `io.k8s.api.core.v1.PodSpec`.
    pub(crate) fn of(&self, component: &str, field: &str) -> MergeFacts {
        short_name(component)
            .and_then(|name| self.0.get(&(name, field)))
            .copied()
            .unwrap_or_default()
    }
}

fn read_line(line: &'static str) -> Option<((Component<'static>, &'static str), MergeFacts)> {
    let known = |text: &'static str| if text == "-" { "" } else { text };
    let mut words = line.split(' ');
    let (group, version) = words.next()?.split_once('/')?;
    let (name, field) = words.next()?.split_once('.')?;
    let facts = MergeFacts {
        strategy: known(words.next()?),
        merge_key: known(words.next()?),
        list_type: known(words.next()?),
        list_map_keys: known(words.next()?),
    };
    (!group.starts_with('#')).then_some((((group, version, name), field), facts))
}

/// `io.k8s.api.core.v1.PodSpec` → (`core`, `v1`, `PodSpec`).
fn short_name(component: &str) -> Option<(&str, &str, &str)> {
    let mut parts = component.rsplit('.');
    let (name, version, group) = (parts.next()?, parts.next()?, parts.next()?);
    Some((group, version, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{View, merge};
    use crate::patch::PatchKind;
    use crate::schema::{Root, Shape, types};
    use serde_json::json;

    #[test]
    fn facts_are_found_by_component_and_field() {
        let facts = Facts::read();
        let volumes = facts.of("io.k8s.api.core.v1.PodSpec", "volumes");
        assert_eq!(
            (volumes.strategy, volumes.merge_key, volumes.list_map_keys),
            ("merge,retainKeys", "name", "name")
        );
        let owners = facts.of("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences");
        assert_eq!((owners.strategy, owners.merge_key), ("merge", "uid"));
        assert_eq!(
            facts.of("io.k8s.api.core.v1.PodSpec", "nodeName"),
            MergeFacts::default()
        );
    }

    #[test]
    fn every_zero_belongs_to_a_field() {
        for line in ZEROS.lines().filter(|l| !l.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let (name, field) = words[1].split_once('.').expect("the second word is Type.field");
            let component = format!("io.k8s.api.{}.{name}", words[0].replace('/', "."));
            assert!(serde_json::from_str::<Value>(words[2]).is_ok(), "{line}");
            if let Some(kind) = types().by_name(&component) {
                assert!(kind.field(field).is_some_and(|f| f.zero.is_some()), "{line}");
            }
        }
    }

    #[test]
    fn every_line_has_six_words_and_a_type_that_is_compiled_has_its_field() {
        for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words.len(), 6, "{line}");
            let (name, field) = words[1].split_once('.').expect("the second word is Type.field");
            let component = format!("io.k8s.api.{}.{name}", words[0].replace('/', "."));
            // Fields newer than the types that we serve are no harm; a misspelled type with no known field is.
            if let Some(kind) = types().by_name(&component) {
                let newer = [
                    "volumeHealth",
                    "evictionResponders",
                    "healthConditions",
                    "bindMountOptions",
                    "disableResizePreemption",
                    "mapping",
                    "overhead",
                ];
                assert!(
                    kind.field(field).is_some() || field == "*" || newer.contains(&field) || words[2] == "-",
                    "{line}"
                );
            }
        }
    }

    /// Values that tell two items apart by `keys`, as the field's items have them; none where they cannot be made.
    fn two_items(shape: &Shape, keys: &str) -> Option<[Value; 2]> {
        let Shape::List(item) = shape else { return None };
        let value = |shape: &Shape, n: i64| match shape {
            Shape::Int32 | Shape::Int64 | Shape::IntOrString => Value::from(n),
            _ => Value::from(format!("v{n}")),
        };
        let make = |n: i64| match &**item {
            Shape::Object(at) => {
                let kind = types().at(*at);
                // A key may be newer than the types that we serve.
                let member = |key: &str| Some((key.to_owned(), value(&kind.field(key)?.shape, n)));
                let members = keys.split(',').filter(|key| *key != "-").map(member);
                Some(Value::Object(members.collect::<Option<_>>()?))
            }
            shape => Some(value(shape, n)),
        };
        Some([make(1)?, make(2)?])
    }

    #[test]
    fn every_list_merges_as_its_line_says() {
        let mut seen = 0;
        for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let (name, field_name) = words[1].split_once('.').expect("the second word is Type.field");
            let component = types()
                .iter()
                .map(|kind| &*kind.name)
                .find(|c| short_name(c).is_some_and(|(g, v, n)| format!("{g}/{v}") == words[0] && n == name));
            let Some(kind) = component.and_then(|c| types().by_name(c)) else {
                continue;
            };
            let Some(field) = kind.field(field_name) else { continue };
            let keys = if words[5] == "-" { words[3] } else { words[5] };
            let Some([one, two]) = two_items(&field.shape, keys) else {
                continue;
            };
            let object = |item: &Value| json!({ field_name: [item] });
            let count = |merged: &Value| merged[field_name].as_array().map_or(0, Vec::len);
            let view = View::of(Root { types: types(), kind });
            let merges = !matches!(words[4], "atomic") && (words[4] != "-" || words[2].starts_with("merge"));
            let applied = merge(view, &object(&one), &object(&two)).expect("the items fit their kind");
            assert_eq!(count(&applied), if merges { 2 } else { 1 }, "apply: {line}");
            let same = merge(view, &object(&one), &object(&one)).expect("the items fit their kind");
            assert_eq!(count(&same), 1, "apply of the same: {line}");
            if words[3] != "-" || words[2].starts_with("merge") {
                let Some([one, two]) = two_items(&field.shape, words[3]) else {
                    continue;
                };
                let patched = |item: &Value| PatchKind::Strategic.apply(&object(&one), &object(item), &kind.name);
                let both = if words[2].starts_with("merge") { 2 } else { 1 };
                assert_eq!(patched(&two).map(|p| count(&p)), Ok(both), "patch: {line}");
                assert_eq!(patched(&one).map(|p| count(&p)), Ok(1), "patch of the same: {line}");
            }
            seen += 1;
        }
        assert!(seen > 60, "only {seen} lines are about lists of kinds that are served");
    }
}
