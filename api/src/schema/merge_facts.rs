//! How lists and maps merge: patch strategies, merge keys and list types, from `merge_keys.txt`.

use std::collections::HashMap;

/// How one field merges. All texts are empty where upstream says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MergeFacts {
    /// `merge`, `replace`, `retainKeys` or `merge,retainKeys`.
    pub strategy: &'static str,
    /// The member by which a list's items are told apart in a strategic merge patch.
    pub merge_key: &'static str,
    /// `atomic`, `set` or `map`; `map:atomic` for maps.
    pub list_type: &'static str,
    /// The members by which they are told apart in server-side apply, joined by commas.
    pub list_map_keys: &'static str,
}

const TABLE: &str = include_str!("merge_keys.txt");

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
    use crate::schema::types;

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
                    kind.field(field).is_some() || newer.contains(&field) || words[2] == "-",
                    "{line}"
                );
            }
        }
    }
}
