//! The component schemas: k8s-openapi's, in upstream's dialect and with what they do not know (how lists merge, group-version-kinds).

use super::Dialect;
use crate::{
    catalog::Catalog,
    custom,
    rules::Rules,
    schema::{Facts, definitions},
};
use serde_json::{Map, Value, json};

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The schemas by component name, of one group-version or of all.
pub(super) fn of(catalog: &Catalog, dialect: Dialect, group_version: Option<(&str, &str)>) -> Map<String, Value> {
    let facts = Facts::read();
    let mut schemas = definitions(group_version);
    for (name, schema) in &mut schemas {
        extend_fields(&facts, name, schema);
        rewrite(dialect, schema);
        if let Some(scalar) = scalar(dialect, name, schema) {
            *schema = scalar;
        }
    }
    for rules in catalog.of(group_version) {
        let name = rules.schema_name();
        if let Some(version) = rules.version_of_custom() {
            schemas.insert(name.clone(), custom::openapi::schema(dialect, &version.published));
        }
        if let Some(schema) = schemas.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(rules, rules.kind)]);
        }
        schemas.insert(rules.list_schema_name(), list(dialect, rules, &name));
    }
    schemas.sort_keys();
    schemas
}

fn group_version_kind(rules: &Rules, kind: &str) -> Value {
    json!({ "group": rules.group, "kind": kind, "version": rules.version })
}

fn list(dialect: Dialect, rules: &Rules, item: &str) -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "description": format!("{0}List is a list of {0} objects.", rules.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("The group and version of this list."),
            "items": { "type": "array", "items": dialect.reference(item) },
            "kind": text("The kind of this list."),
            "metadata": dialect.reference(LIST_META),
        },
        "x-kubernetes-group-version-kind": [group_version_kind(rules, &rules.list_kind())],
    })
}

/// Writes onto the fields of a type how they merge.
fn extend_fields(facts: &Facts, component: &str, schema: &mut Value) {
    for (field, schema) in schema
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        let facts = facts.of(component, field);
        for (key, value) in [
            ("x-kubernetes-patch-strategy", facts.strategy),
            ("x-kubernetes-patch-merge-key", facts.merge_key),
        ] {
            if !value.is_empty() {
                schema[key] = value.into();
            }
        }
        match facts.list_type.split_once(':') {
            Some((_, map_type)) => schema["x-kubernetes-map-type"] = map_type.into(),
            None if !facts.list_type.is_empty() => schema["x-kubernetes-list-type"] = facts.list_type.into(),
            None => {}
        }
        if !facts.list_map_keys.is_empty() {
            schema["x-kubernetes-list-map-keys"] = facts.list_map_keys.split(',').collect();
        }
    }
}

/// References of the dialect. In v3 a reference may have no siblings, so one with a description goes into `allOf`.
fn rewrite(dialect: Dialect, schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(dialect, item)),
        Value::Object(map) => {
            map.iter_mut().for_each(|(_, value)| rewrite(dialect, value));
            let Some(name) = map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|r| r.rsplit('/').next())
                .map(str::to_owned)
            else {
                return;
            };
            let reference = dialect.reference(&name);
            if dialect == Dialect::V3 && map.len() > 1 {
                map.shift_remove("$ref");
                map.insert("allOf".to_owned(), json!([reference]));
            } else {
                map.insert("$ref".to_owned(), reference["$ref"].clone());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The types that are text or number on the wire, as upstream publishes them.
fn scalar(dialect: Dialect, name: &str, schema: &Value) -> Option<Value> {
    let kind = name.rsplit('.').next()?;
    schema.get("x-kubernetes-int-or-string")?;
    let description = schema.get("description").cloned().unwrap_or_default();
    let number = if kind == "Quantity" { "number" } else { "integer" };
    let mut scalar = match dialect {
        Dialect::V2 => json!({ "description": description, "type": "string" }),
        Dialect::V3 => json!({ "description": description, "oneOf": [{ "type": "string" }, { "type": number }] }),
    };
    if kind == "IntOrString" {
        scalar["format"] = "int-or-string".into();
    }
    Some(scalar)
}
