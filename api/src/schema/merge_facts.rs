//! How lists and maps merge: patch strategies, merge keys and list types, from `merge_keys.txt`.

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

/// The facts of `field` in the type with that component name, such as `io.k8s.api.core.v1.PodSpec`.
pub(crate) fn facts_of(component: &str, field: &str) -> MergeFacts {
    let Some((group, version, name)) = short_name(component) else {
        return MergeFacts::default();
    };
    let known = |text: &'static str| if text == "-" { "" } else { text };
    for line in TABLE.lines() {
        let mut words = line.split(' ');
        let same = words.next().and_then(|w| w.split_once('/')) == Some((group, version))
            && words.next().and_then(|w| w.split_once('.')) == Some((name, field));
        if same
            && let (Some(strategy), Some(merge_key), Some(list_type), Some(keys)) =
                (words.next(), words.next(), words.next(), words.next())
        {
            return MergeFacts {
                strategy: known(strategy),
                merge_key: known(merge_key),
                list_type: known(list_type),
                list_map_keys: known(keys),
            };
        }
    }
    MergeFacts::default()
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
        let volumes = facts_of("io.k8s.api.core.v1.PodSpec", "volumes");
        assert_eq!(
            (volumes.strategy, volumes.merge_key, volumes.list_map_keys),
            ("merge,retainKeys", "name", "name")
        );
        let owners = facts_of("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences");
        assert_eq!((owners.strategy, owners.merge_key), ("merge", "uid"));
        assert_eq!(
            facts_of("io.k8s.api.core.v1.PodSpec", "nodeName"),
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
