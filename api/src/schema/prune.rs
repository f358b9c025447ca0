//! Takes away what a kind does not have, as a decode into upstream's types, or upstream's pruning of custom resources, would.

use super::{Root, Shape, Type, Types};
use serde_json::Value;

/// Drops the members that the kind does not know.
pub fn prune(root: Root<'_>, object: &mut Value) {
    prune_object(root.types, root.kind, object);
}

fn prune_object(types: &Types, kind: &Type, object: &mut Value) {
    let Some(members) = object.as_object_mut() else { return };
    if !kind.preserves_unknown {
        members.retain(|key, _| kind.field(key).is_some());
    }
    for (key, value) in members {
        if let Some(field) = kind.field(key) {
            prune_value(types, &field.shape, value);
        }
    }
}

fn prune_value(types: &Types, shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(at), value) => prune_object(types, types.at(*at), value),
        (Shape::List(item), Value::Array(items)) => items.iter_mut().for_each(|value| prune_value(types, item, value)),
        (Shape::Map(item), Value::Object(members)) => members
            .iter_mut()
            .for_each(|(_, value)| prune_value(types, item, value)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_the_kind_has_stays() {
        let mut pod = json!({
            "kind": "Pod", "foo": 1,
            "metadata": { "name": "a", "labels": { "any": "x" }, "lables": {} },
            "spec": { "nodeSelector": { "x": "y" }, "containers": [{ "name": "a", "img": 1 }], "hostNetwork": "yes" },
        });
        prune(Root::built_in("io.k8s.api.core.v1.Pod"), &mut pod);
        let expected = json!({
            "kind": "Pod",
            "metadata": { "name": "a", "labels": { "any": "x" } },
            "spec": { "nodeSelector": { "x": "y" }, "containers": [{ "name": "a" }], "hostNetwork": "yes" },
        });
        assert_eq!(pod, expected);
    }
}
