//! What plugins read of the cluster: objects of built-in kinds, straight out of the store.

use crate::call::Call;
use crate::encode;
use api::read;
use serde_json::Value;

/// One object of a kind of version `v1`; an empty namespace for what has none.
pub(super) fn get(call: &Call, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
    let rules = api::find(group, "v1", plural)?;
    let entry = call.server.store.get(&rules.key_of(namespace, name))?;
    Some(encode::object(&entry))
}

/// All objects of such a kind in a namespace, or of one that has none, by name.
pub(super) fn list(call: &Call, group: &str, plural: &str, namespace: &str) -> Vec<Value> {
    let Some(rules) = api::find(group, "v1", plural) else {
        return Vec::new();
    };
    let prefix = rules.key_prefix(rules.namespaced.then_some(namespace));
    call.server
        .store
        .range(&prefix, None, 0)
        .entries
        .iter()
        .map(encode::object)
        .collect()
}

/// The object among `all` that its annotation calls the default; of several the newest, then the first by name.
pub(super) fn default_of(all: Vec<Value>, annotations: &[&str]) -> Option<Value> {
    let is_default = |object: &Value| annotations.iter().any(|key| annotation(object, key) == Some("true"));
    let mut defaults: Vec<Value> = all.into_iter().filter(is_default).collect();
    // Stable, and they are in the order of their names.
    defaults.sort_by_key(|object| std::cmp::Reverse(read::text(object, "/metadata/creationTimestamp").to_owned()));
    defaults.into_iter().next()
}

/// An annotation of an object.
pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// Whether a pod is only the picture of one that a node made itself.
pub(super) fn is_mirror(pod: &Value) -> bool {
    annotation(pod, "kubernetes.io/config.mirror").is_some()
}
