//! Fills in a custom resource's defaults (apiextensions `structuralschema/defaulting`).

use super::structural::{Additional, Structural};
use serde_json::Value;

/// Fills in what is absent, or null where null is no value; other nulls that are no values go.
pub(super) fn fill(schema: &Structural, value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                match members.get_mut(name) {
                    None => {
                        members.insert(name.clone(), default.clone());
                    }
                    Some(present) if is_no_value(present, property) => *present = default.clone(),
                    Some(_) => {}
                }
            }
            members.retain(|name, value| {
                let Some(member) = schema.member(name) else { return true };
                if let (true, Some(default)) = (is_no_value(value, member), &member.default) {
                    *value = default.clone();
                }
                fill(member, value);
                !is_no_value(value, member)
            });
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                if let (true, Some(default)) = (is_no_value(item, schema), &schema.default) {
                    *item = default.clone();
                }
                fill(schema, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_no_value(value: &Value, schema: &Structural) -> bool {
    value.is_null() && !schema.nullable && !is_anything(schema)
}

/// Of a node without any word about null, null is as good as anything else only where everything is kept.
fn is_anything(schema: &Structural) -> bool {
    schema.kind.is_empty() && schema.preserves_unknown && matches!(schema.additional, Additional::Unsaid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_go_where_nothing_is_and_nulls_that_are_no_values_go() {
        let schema = Structural::of(&json!({ "type": "object", "properties": {
            "a": { "type": "integer", "default": 1 },
            "b": { "type": "object", "properties": { "c": { "type": "string", "default": "x" } } },
            "d": { "type": "object", "default": {}, "properties": { "e": { "type": "boolean", "default": true } } },
            "f": { "type": "array", "items": { "type": "object", "properties": { "g": { "type": "string", "default": "h" } } } },
            "i": { "type": "string", "nullable": true, "default": "j" },
            "k": { "type": "string" },
            "m": { "type": "object", "additionalProperties": { "type": "object", "properties": { "n": { "type": "integer", "default": 2 } } } },
        } }));
        for (before, after) in [
            (json!({}), json!({ "a": 1, "d": { "e": true }, "i": "j" })),
            (
                json!({ "a": null, "b": {}, "d": { "e": false }, "f": [{}, { "g": "z" }], "i": null, "k": null, "m": { "o": {} } }),
                json!({ "a": 1, "b": { "c": "x" }, "d": { "e": false }, "f": [{ "g": "h" }, { "g": "z" }], "i": null, "m": { "o": { "n": 2 } } }),
            ),
        ] {
            let mut value = before;
            fill(&schema, &mut value);
            assert_eq!(value, after);
            fill(&schema, &mut value);
            assert_eq!(value, after, "filling in twice is filling in once");
        }
    }
}
