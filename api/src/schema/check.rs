//! Holds an object against its kind: fields that the kind does not have, and values of the wrong JSON type.

use super::{Root, Shape, Type, Types};
use crate::field::quoted;
use serde_json::Value;
use std::fmt;

/// A path, built on the way down and only written out where something is wrong.
#[derive(Clone, Copy)]
struct Trail<'a> {
    above: Option<&'a Trail<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Member(&'a str),
    Item(usize),
}

impl Trail<'_> {
    const ROOT: Trail<'static> = Trail {
        above: None,
        step: Step::Root,
    };

    fn below<'a>(&'a self, step: Step<'a>) -> Trail<'a> {
        Trail {
            above: Some(self),
            step,
        }
    }

    fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(above) = self.above else { return Ok(()) };
        above.fmt(f)?;
        match self.step {
            Step::Root => Ok(()),
            Step::Member(name) if above.is_root() => f.write_str(name),
            Step::Member(name) => write!(f, ".{name}"),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}

/// The fields that the kind does not have, in the object's order, in upstream's words: `unknown field "spec.foo"`.
pub fn unknown_fields(root: Root<'_>, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(root.types, root.kind, object, &Trail::ROOT, &mut found);
    found
}

fn walk(types: &Types, kind: &Type, object: &Value, trail: &Trail<'_>, found: &mut Vec<String>) {
    let Some(members) = object.as_object() else { return };
    for (key, value) in members {
        let trail = trail.below(Step::Member(key));
        match kind.field(key) {
            Some(field) => walk_shape(types, &field.shape, value, &trail, found),
            None if kind.preserves_unknown => {}
            None => found.push(format!("unknown field {}", quoted(&trail.to_string()))),
        }
    }
}

fn walk_shape(types: &Types, shape: &Shape, value: &Value, trail: &Trail<'_>, found: &mut Vec<String>) {
    match (shape, value) {
        (Shape::Object(at), _) => walk(types, types.at(*at), value, trail, found),
        (Shape::List(item), Value::Array(items)) => {
            for (index, value) in items.iter().enumerate() {
                walk_shape(types, item, value, &trail.below(Step::Item(index)), found);
            }
        }
        (Shape::Map(item), Value::Object(members)) => {
            for (key, value) in members {
                walk_shape(types, item, value, &trail.below(Step::Member(key)), found);
            }
        }
        _ => {}
    }
}

/// The first value whose JSON type the kind cannot hold, as the message of a 400:
/// `Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool`.
pub fn decode_error(root: Root<'_>, kind: &str, version: &str, object: &Value) -> Option<String> {
    let wrong = wrong_in(root.types, root.kind, object, &Trail::ROOT)?;
    Some(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {wrong}"
    ))
}

fn wrong_in(types: &Types, kind: &Type, object: &Value, path: &Trail<'_>) -> Option<String> {
    object.as_object()?.iter().find_map(|(key, value)| {
        let field = kind.field(key)?;
        // A custom resource's own members are judged by its schema, later and all at once.
        if !types.typed_throughout && path.is_root() && key != "metadata" {
            return None;
        }
        let path = path.below(Step::Member(key));
        let owner = kind.name.rsplit('.').next().unwrap_or_default();
        wrong_value(types, &field.shape, value, owner, &path)
    })
}

fn wrong_value(types: &Types, shape: &Shape, value: &Value, owner: &str, path: &Trail<'_>) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let mismatch = |wanted: &str| {
        let got = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(n) if matches!(shape, Shape::Int32 | Shape::Int64) => format!("number {n}"),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        Some(format!(
            "json: cannot unmarshal {got} into Go struct field {owner}.{path} of type {wanted}"
        ))
    };
    match (shape, value) {
        (Shape::Any, _) => None,
        (Shape::Text, Value::String(_)) | (Shape::Boolean, Value::Bool(_)) | (Shape::Number, Value::Number(_)) => None,
        (Shape::IntOrString | Shape::Quantity, Value::String(_) | Value::Number(_)) => quantity_error(shape, value),
        (Shape::Int64, Value::Number(n)) if n.is_i64() => None,
        (Shape::Int32, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => None,
        (Shape::Time, Value::String(text)) if text.is_empty() || text.parse::<jiff::Timestamp>().is_ok() => None,
        (Shape::Time, Value::String(text)) => Some(format!(
            "parsing time {0} as \"2006-01-02T15:04:05Z07:00\": cannot parse {0} as \"2006\"",
            quoted(text)
        )),
        (Shape::Bytes, Value::String(text)) => base64_error(text),
        (Shape::List(item), Value::Array(items)) => items
            .iter()
            .find_map(|value| wrong_value(types, item, value, owner, path)),
        (Shape::Map(item), Value::Object(members)) => members
            .iter()
            .find_map(|(_, value)| wrong_value(types, item, value, owner, path)),
        (Shape::Object(at), Value::Object(_)) => wrong_in(types, types.at(*at), value, path),
        (Shape::Text | Shape::Time | Shape::Bytes | Shape::Quantity, _) => mismatch("string"),
        (Shape::Boolean, _) => mismatch("bool"),
        (Shape::Int32, _) => mismatch("int32"),
        (Shape::Int64, _) => mismatch("int64"),
        (Shape::Number, _) => mismatch("float64"),
        (Shape::IntOrString, _) => mismatch("intstr.IntOrString"),
        (Shape::List(item), _) => mismatch(&format!("[]{}", go_type(types, item))),
        (Shape::Map(item), _) => mismatch(&format!("map[string]{}", go_type(types, item))),
        (Shape::Object(_), _) => mismatch(&go_type(types, shape)),
    }
}

fn quantity_error(shape: &Shape, value: &Value) -> Option<String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match shape {
        Shape::Quantity => crate::quantity::Quantity::parse(&text).err().map(|e| e.to_string()),
        _ => None,
    }
}

fn base64_error(text: &str) -> Option<String> {
    use base64::Engine;
    let error = base64::engine::general_purpose::STANDARD
        .decode(text.replace(['\n', '\r'], ""))
        .err()?;
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
        base64::DecodeError::InvalidLength(at) => at,
        base64::DecodeError::InvalidPadding => text.len(),
    };
    Some(format!("illegal base64 data at input byte {at}"))
}

fn go_type(types: &Types, shape: &Shape) -> String {
    match shape {
        Shape::Any => "interface {}".to_owned(),
        Shape::Text => "string".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::List(item) => format!("[]{}", go_type(types, item)),
        Shape::Map(item) => format!("map[string]{}", go_type(types, item)),
        Shape::Object(at) => {
            let mut parts = types.at(*at).name.rsplit('.');
            let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{version}.{name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn root(kind: &str) -> Root<'static> {
        Root::built_in(&format!("io.k8s.api.core.v1.{kind}"))
    }

    #[test]
    fn unknown_fields_are_named_with_their_path() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "foo": 1,
            "metadata": { "name": "a", "labels": { "any": "x" }, "lables": {} },
            "spec": { "nodeSelector": { "x": "y" }, "containers": [{ "name": "a" }, { "img": 1 }], "volumes": [{ "emptyDir": { "x": {} } }] },
        });
        assert_eq!(
            unknown_fields(root("Pod"), &pod),
            [
                "unknown field \"foo\"",
                "unknown field \"metadata.lables\"",
                "unknown field \"spec.containers[1].img\"",
                "unknown field \"spec.volumes[0].emptyDir.x\"",
            ]
        );
    }

    #[test]
    fn wrong_types_read_as_upstream_says_them() {
        for (spec, message) in [
            (
                json!({ "hostNetwork": "yes" }),
                Some("json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"),
            ),
            (
                json!({ "containers": {} }),
                Some(
                    "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
                ),
            ),
            (
                json!({ "containers": [{ "ports": [{ "containerPort": "80" }] }] }),
                Some(
                    "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
                ),
            ),
            (
                json!({ "activeDeadlineSeconds": 1.5 }),
                Some(
                    "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
                ),
            ),
            (
                json!({ "hostNetwork": null, "containers": [{ "resources": { "limits": { "cpu": 1, "memory": "1Gi" } } }] }),
                None,
            ),
            (
                json!({ "containers": [{ "resources": { "limits": { "cpu": "x" } } }] }),
                Some("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
            ),
        ] {
            let expected = message.map(|m| format!("Pod in version \"v1\" cannot be handled as a Pod: {m}"));
            assert_eq!(
                decode_error(root("Pod"), "Pod", "v1", &json!({ "spec": spec })),
                expected
            );
        }
        let secret = json!({ "data": { "a": "%%%" } });
        assert_eq!(
            decode_error(root("Secret"), "Secret", "v1", &secret),
            Some(
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0"
                    .to_owned()
            )
        );
    }
}
