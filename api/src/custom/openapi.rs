//! A custom resource's schema as OpenAPI publishes it (apiextensions `pkg/controller/openapi`).

use crate::openapi::Dialect;
use serde_json::{Map, Value, json};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The component's name: `com.example.v1.Widget` for `widgets.example.com`.
pub(crate) fn component(group: &str, version: &str, kind: &str) -> String {
    let mut words: Vec<&str> = group.rsplit('.').collect();
    words.extend([version, kind]);
    words.join(".")
}

/// The schema of a kind out of its definition's; null where there is none.
pub(crate) fn schema(dialect: Dialect, written: &Value) -> Value {
    let keeps_all = written["x-kubernetes-preserve-unknown-fields"] == true;
    // kubectl would take a schema with three members for one without any others.
    if !written.is_object() || dialect == Dialect::V2 && keeps_all {
        return json!({ "type": "object" });
    }
    let mut schema = written.clone();
    if dialect == Dialect::V2 {
        in_v2(&mut schema);
    }
    embed(dialect, &mut schema);
    add_type_and_metadata(dialect, &mut schema);
    schema
}

fn properties(schema: &mut Value) -> Option<&mut Map<String, Value>> {
    let properties = schema.as_object_mut()?.entry("properties").or_insert_with(|| json!({}));
    properties.as_object_mut()
}

fn add_type_and_metadata(dialect: Dialect, schema: &mut Value) {
    let Some(properties) = properties(schema) else { return };
    properties.insert(
        "apiVersion".to_owned(),
        json!({ "type": "string", "description": API_VERSION }),
    );
    properties.insert("kind".to_owned(), json!({ "type": "string", "description": KIND }));
    let reference = dialect.reference(OBJECT_META);
    let metadata = match dialect {
        Dialect::V2 => json!({ "$ref": reference["$ref"], "description": METADATA }),
        Dialect::V3 => json!({ "allOf": [reference], "description": METADATA }),
    };
    properties.insert("metadata".to_owned(), metadata);
}

/// Gives whole resources inside their three members.
fn embed(dialect: Dialect, schema: &mut Value) {
    each_inner(schema, &mut |inner| embed(dialect, inner));
    if schema["x-kubernetes-embedded-resource"] == true
        && !(dialect == Dialect::V2 && schema.get("properties").is_none())
    {
        add_type_and_metadata(dialect, schema);
        let required = schema
            .as_object_mut()
            .map(|s| s.entry("required").or_insert_with(|| json!([])));
        if let Some(Value::Array(required)) = required {
            for name in ["kind", "apiVersion"] {
                if !required.iter().any(|known| known == name) {
                    required.push(name.into());
                }
            }
        }
    }
}

fn each_inner(schema: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    let Some(members) = schema.as_object_mut() else { return };
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = members.get_mut(key).filter(|inner| inner.is_object()) {
            visit(inner);
        }
    }
    let properties = members.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flatten().for_each(|(_, inner)| visit(inner));
}

/// Takes away what version 2 has no words for, and what kubectl trips over.
fn in_v2(schema: &mut Value) {
    let nullable: Vec<String> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, property)| property["nullable"] == true)
        .map(|(name, _)| name.clone())
        .collect();
    let Some(members) = schema.as_object_mut() else { return };
    for junctor in ["allOf", "anyOf", "oneOf", "not"] {
        members.shift_remove(junctor);
    }
    if members.shift_remove("nullable") == Some(Value::Bool(true)) {
        members.shift_remove("type");
        members.shift_remove("items");
        members.shift_remove("properties");
    }
    let keeps_all = members.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if keeps_all {
        members.shift_remove("items");
        members.shift_remove("properties");
    }
    let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind == "array" && !members.contains_key("items") || kind == "object" && keeps_all {
        members.shift_remove("type");
    }
    if let Some(required) = members.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !nullable.iter().any(|n| name == n));
        if required.is_empty() {
            members.shift_remove("required");
        }
    }
    each_inner(schema, &mut in_v2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_turned_round() {
        assert_eq!(
            component("stable.example.com", "v1", "CronTab"),
            "com.example.stable.v1.CronTab"
        );
    }

    #[test]
    fn version_2_is_what_kubectl_can_read() {
        let written = json!({ "type": "object", "required": ["a"], "properties": {
            "a": { "type": "string", "nullable": true },
            "b": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "c": { "type": "string" } } },
            "d": { "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] },
        } });
        let v2 = schema(Dialect::V2, &written);
        assert_eq!(v2["properties"]["a"], json!({}));
        assert_eq!(
            v2["properties"]["b"],
            json!({ "x-kubernetes-preserve-unknown-fields": true })
        );
        assert_eq!(v2["properties"]["d"], json!({ "x-kubernetes-int-or-string": true }));
        assert_eq!(v2.get("required"), None);
        assert_eq!(
            v2["properties"]["metadata"]["$ref"],
            format!("#/definitions/{OBJECT_META}")
        );
        let v3 = schema(Dialect::V3, &written);
        assert_eq!(v3["properties"]["a"], written["properties"]["a"]);
        assert_eq!(schema(Dialect::V3, &Value::Null), json!({ "type": "object" }));
    }
}
