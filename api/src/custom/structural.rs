//! A structural schema, compiled: what of a custom resource is kept, filled in and judged (apiextensions `structuralschema`).

use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

/// One node of a schema. In `allOf` and its siblings a node has checks alone.
#[derive(Debug, Default)]
pub(crate) struct Structural {
    /// `object`, `array`, `string`, `integer`, `number`, `boolean`; empty for any.
    pub kind: String,
    /// Whether null is a value.
    pub nullable: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserves_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub is_resource: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// Known members.
    pub properties: BTreeMap<String, Structural>,
    /// What members of any other name are.
    pub additional: Additional,
    /// What a list's items are.
    pub items: Option<Box<Structural>>,
    /// What stands where nothing was said.
    pub default: Option<Value>,
    /// `set` or `map`; empty for a list that is one value.
    pub list_type: String,
    /// By which members a list of type `map` tells its items apart.
    pub list_map_keys: Vec<String>,
    /// `atomic` or `granular`; empty for granular.
    pub map_type: String,
    /// What a value must satisfy besides.
    pub checks: Checks,
}

/// `additionalProperties`.
#[derive(Debug, Default)]
pub(crate) enum Additional {
    /// Nothing was said.
    #[default]
    Unsaid,
    /// `true` or `false`.
    Any(bool),
    /// A schema.
    Of(Box<Structural>),
}

/// What a value must satisfy besides its type.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub required: Vec<String>,
    pub one_of_values: Vec<Value>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub pattern: Option<(String, Regex)>,
    pub format: String,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub all_of: Vec<Structural>,
    pub any_of: Vec<Structural>,
    pub one_of: Vec<Structural>,
    pub not: Option<Box<Structural>>,
}

// === impl Structural ===

impl Structural {
    /// Compiles a `JSONSchemaProps`. A pattern that is no regular expression is left out: validation refused it before.
    pub fn of(schema: &Value) -> Self {
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        let list = |key: &str| schema.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let properties = schema.get("properties").and_then(Value::as_object);
        Self {
            kind: text("type"),
            nullable: flag("nullable"),
            preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            is_resource: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            properties: properties
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.clone(), Self::of(schema)))
                .collect(),
            additional: match schema.get("additionalProperties") {
                Some(Value::Bool(any)) => Additional::Any(*any),
                Some(schema @ Value::Object(_)) => Additional::Of(Box::new(Self::of(schema))),
                Some(_) | None => Additional::Unsaid,
            },
            items: schema
                .get("items")
                .filter(|i| i.is_object())
                .map(|i| Box::new(Self::of(i))),
            default: schema.get("default").cloned(),
            list_type: text("x-kubernetes-list-type"),
            list_map_keys: list("x-kubernetes-list-map-keys")
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
            map_type: text("x-kubernetes-map-type"),
            checks: Checks::of(schema),
        }
    }

    /// Whether a member of that name is kept although it is no property.
    pub fn keeps_any(&self) -> bool {
        self.preserves_unknown || matches!(self.additional, Additional::Any(true))
    }

    /// What a member is, by its own name or by `additionalProperties`.
    pub fn member(&self, name: &str) -> Option<&Structural> {
        self.properties.get(name).or(match &self.additional {
            Additional::Of(schema) => Some(schema),
            Additional::Unsaid | Additional::Any(_) => None,
        })
    }
}

// === impl Checks ===

impl Checks {
    fn of(schema: &Value) -> Self {
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        let list = |key: &str| schema.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let schemas = |key: &str| list(key).iter().map(Structural::of).collect();
        let pattern = schema.get("pattern").and_then(Value::as_str).filter(|p| !p.is_empty());
        Self {
            required: list("required")
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
            one_of_values: list("enum"),
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            pattern: pattern.and_then(|p| Some((p.to_owned(), Regex::new(p).ok()?))),
            format: schema
                .get("format")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique_items: flag("uniqueItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            all_of: schemas("allOf"),
            any_of: schemas("anyOf"),
            one_of: schemas("oneOf"),
            not: schema
                .get("not")
                .filter(|n| n.is_object())
                .map(|n| Box::new(Structural::of(n))),
        }
    }
}
