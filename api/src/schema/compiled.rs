//! The schemas without their texts: small enough to keep, quick enough to walk on every write.

use super::{Facts, ZeroValues, definitions};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::OnceLock};

/// What a value may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Anything.
    #[default]
    Any,
    /// Text.
    Text,
    /// A time in RFC 3339.
    Time,
    /// Base64.
    Bytes,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// A whole number or text.
    IntOrString,
    /// A quantity, as text or number.
    Quantity,
    /// Items of one shape.
    List(Box<Shape>),
    /// Any keys, values of one shape.
    Map(Box<Shape>),
    /// Known fields: an index into [`Types`].
    Object(usize),
}

/// What tells a list's items apart in server-side apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// Nothing: the list is owned as a whole.
    #[default]
    Atomic,
    /// Their values.
    Set,
    /// Their members of these names.
    Map(Box<[Box<str>]>),
}

/// A field of an object.
#[derive(Clone, Debug, Default)]
pub struct Field {
    /// Its JSON name.
    pub name: Box<str>,
    /// What it may be.
    pub shape: Shape,
    /// Whether a strategic merge patch merges the list's items instead of replacing the list.
    pub merges: bool,
    /// Whether members that the patch does not name go (`retainKeys`).
    pub retains_keys: bool,
    /// The member that tells a merged list's items apart; empty for a list of primitives.
    pub merge_key: &'static str,
    /// What tells a list's items apart.
    pub list: ListKind,
    /// Whether an object or map is owned as a whole; none leaves it to its type.
    pub atomic: Option<bool>,
    /// What counts where an item of a list does not have this member of its key.
    pub default: Option<Value>,
    /// What upstream writes when nobody set it; none where it writes nothing.
    pub zero: Option<Value>,
}

/// An object with known fields.
#[derive(Clone, Debug, Default)]
pub struct Type {
    /// Its component name, such as `io.k8s.api.core.v1.PodSpec`.
    pub name: Box<str>,
    /// Whether members that are no fields are kept (`x-kubernetes-preserve-unknown-fields`); only in custom resources.
    pub preserves_unknown: bool,
    /// Whether it is owned as a whole in server-side apply.
    pub atomic: bool,
    fields: Box<[Field]>,
    /// Whether any field has a zero.
    has_zeros: bool,
}

impl Field {
    /// A field of a custom resource.
    pub(crate) fn of_custom(name: &str, shape: Shape) -> Self {
        Self {
            name: name.into(),
            shape,
            ..Self::default()
        }
    }
}

impl Type {
    /// A type of these fields, in any order.
    pub fn new(name: &str, mut fields: Vec<Field>) -> Self {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            name: name.into(),
            has_zeros: fields.iter().any(|f| f.zero.is_some()),
            fields: fields.into(),
            ..Self::default()
        }
    }

    /// An object in a custom resource.
    pub(crate) fn of_custom(name: &str, preserves_unknown: bool, fields: Vec<Field>) -> Self {
        Self {
            preserves_unknown,
            ..Self::new(name, fields)
        }
    }

    /// The same object with other fields.
    pub(crate) fn with_fields(&self, fields: Vec<Field>) -> Self {
        Self {
            preserves_unknown: self.preserves_unknown,
            atomic: self.atomic,
            ..Self::new(&self.name, fields)
        }
    }

    /// The fields that upstream writes though nobody set them.
    pub fn zeros(&self) -> impl Iterator<Item = &Field> {
        let fields: &[Field] = if self.has_zeros { &self.fields } else { &[] };
        fields.iter().filter(|f| f.zero.is_some())
    }

    /// All fields, by name.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields
            .binary_search_by(|f| (*f.name).cmp(name))
            .ok()
            .map(|at| &self.fields[at])
    }
}

/// All types that the built-in kinds reach, or all that one version of a custom resource reaches.
#[derive(Debug)]
pub struct Types {
    all: Vec<Type>,
    by_name: HashMap<Box<str>, usize>,
    /// Whether a value of the wrong JSON type cannot be decoded at all; of a custom resource this is so for its metadata
    /// only.
    pub(crate) typed_throughout: bool,
}

/// The shape of one kind's objects and the types that it reaches.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a> {
    /// What the indices of [`Shape::Object`] mean.
    pub types: &'a Types,
    /// The whole object.
    pub kind: &'a Type,
}

impl Root<'static> {
    /// The root of the built-in kind with that component name, such as `io.k8s.api.core.v1.Pod`.
    pub fn built_in(component: &str) -> Self {
        let types = types();
        let kind = types
            .by_name(component)
            .expect("this holds because the types of every built-in kind are compiled");
        Self { types, kind }
    }
}

impl Types {
    /// The types of a custom resource.
    pub(crate) fn of_custom(all: Vec<Type>) -> Self {
        Self {
            all,
            by_name: HashMap::new(),
            typed_throughout: false,
        }
    }

    /// The last type, which in a custom resource's is the whole object.
    pub(crate) fn last(&self) -> Option<&Type> {
        self.all.last()
    }

    /// Where a built-in type is.
    pub(crate) fn index(component: &str) -> usize {
        types().by_name[component]
    }

    /// The type with that component name.
    pub fn by_name(&self, component: &str) -> Option<&Type> {
        self.by_name.get(component).map(|at| &self.all[*at])
    }

    /// All types.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Type> {
        self.all.iter()
    }

    /// The type at the index of a [`Shape::Object`].
    pub fn at(&self, index: usize) -> &Type {
        &self.all[index]
    }
}

/// The types, compiled at first use (some 20 ms) and kept.
pub fn types() -> &'static Types {
    static TYPES: OnceLock<Types> = OnceLock::new();
    TYPES.get_or_init(compile)
}

fn compile() -> Types {
    let definitions = definitions(None);
    let objects: Vec<&String> = definitions
        .iter()
        .filter(|(_, d)| d.get("properties").is_some())
        .map(|(name, _)| name)
        .collect();
    let by_name: HashMap<Box<str>, usize> = objects
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str().into(), at))
        .collect();
    let context = Context {
        definitions: &definitions,
        by_name: &by_name,
        facts: Facts::read(),
        zeros: ZeroValues::read(),
    };
    let all = objects
        .iter()
        .map(|name| context.compile_type(name, &definitions[name.as_str()]))
        .collect();
    Types {
        all,
        by_name,
        typed_throughout: true,
    }
}

struct Context<'a> {
    definitions: &'a serde_json::Map<String, Value>,
    by_name: &'a HashMap<Box<str>, usize>,
    facts: Facts,
    zeros: ZeroValues,
}

impl Context<'_> {
    fn compile_type(&self, name: &str, definition: &Value) -> Type {
        let properties = definition
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let fields = properties
            .map(|(field, schema)| self.compile_field(name, definition, field, schema))
            .collect();
        Type {
            atomic: self.facts.of(name, "*").list_type == "struct:atomic",
            ..Type::new(name, fields)
        }
    }

    fn compile_field(&self, owner: &str, definition: &Value, name: &str, schema: &Value) -> Field {
        let facts = self.facts.of(owner, name);
        let shape = self.shape(schema);
        let required = definition
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|r| r == name));
        Field {
            default: key_default(owner, name, &shape, required),
            zero: self.zeros.of(owner, name).or_else(|| {
                let is_object = definition.pointer("/properties/metadata").is_some();
                let kept_apart = ["metadata", "spec", "status"].contains(&name);
                (is_object && kept_apart && matches!(shape, Shape::Object(_))).then(|| json!({}))
            }),
            name: name.into(),
            shape,
            merges: facts.strategy.starts_with("merge"),
            retains_keys: facts.strategy.ends_with("retainKeys"),
            merge_key: facts.merge_key,
            list: facts.list_kind(),
            atomic: facts.atomic(),
        }
    }

    fn shape(&self, schema: &Value) -> Shape {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return match self.by_name.get(name) {
                Some(at) => Shape::Object(*at),
                None if name.ends_with(".resource.Quantity") => Shape::Quantity,
                None => self.definitions.get(name).map_or(Shape::Any, |d| self.shape(d)),
            };
        }
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("type"), text("format")) {
            ("string", "date-time") => Shape::Time,
            ("string", "byte") => Shape::Bytes,
            ("string", _) => Shape::Text,
            ("integer", "int32") => Shape::Int32,
            ("integer", _) => Shape::Int64,
            ("number", _) => Shape::Number,
            ("boolean", _) => Shape::Boolean,
            ("array", _) => Shape::List(Box::new(schema.get("items").map_or(Shape::Any, |s| self.shape(s)))),
            ("object", _) => match schema.get("additionalProperties") {
                Some(values) => Shape::Map(Box::new(self.shape(values))),
                None => Shape::Any,
            },
            _ if schema.get("x-kubernetes-int-or-string").is_some() => Shape::IntOrString,
            _ => Shape::Any,
        }
    }
}

/// What counts where an item does not say a member of its key: upstream's defaults in OpenAPI.
fn key_default(owner: &str, name: &str, shape: &Shape, required: bool) -> Option<Value> {
    let owner = owner.rsplit('.').next().unwrap_or_default();
    match (owner, name, shape) {
        ("ContainerPort" | "ServicePort", "protocol", _) => Some("TCP".into()),
        ("LocalObjectReference", "name", _) => Some("".into()),
        (_, _, Shape::Text) if required => Some("".into()),
        (_, _, Shape::Int32 | Shape::Int64) if required => Some(0.into()),
        (_, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_shapes() {
        let field = |component: &str, name: &str| {
            let kind = types().by_name(component).expect("the type is reached by a kind");
            kind.field(name).expect("the field exists").shape.clone()
        };
        let core = |name: &str| format!("io.k8s.api.core.v1.{name}");
        assert_eq!(field(&core("PodSpec"), "nodeName"), Shape::Text);
        assert_eq!(field(&core("PodSpec"), "terminationGracePeriodSeconds"), Shape::Int64);
        assert_eq!(field(&core("ContainerPort"), "containerPort"), Shape::Int32);
        assert_eq!(field(&core("PodSpec"), "hostNetwork"), Shape::Boolean);
        assert_eq!(field(&core("HTTPGetAction"), "port"), Shape::IntOrString);
        assert_eq!(
            field(&core("ResourceRequirements"), "limits"),
            Shape::Map(Box::new(Shape::Quantity))
        );
        assert_eq!(field(&core("Secret"), "data"), Shape::Map(Box::new(Shape::Bytes)));
        assert_eq!(field(&core("Event"), "eventTime"), Shape::Time);
        assert_eq!(
            field("io.k8s.api.coordination.v1.Lease", "spec"),
            Shape::Object(types().by_name["io.k8s.api.coordination.v1.LeaseSpec"])
        );
        let containers = types()
            .by_name(&core("PodSpec"))
            .and_then(|t| t.field("containers"))
            .expect("pods have containers");
        assert!(containers.merges && containers.merge_key == "name" && matches!(containers.shape, Shape::List(_)));
    }

    #[test]
    fn every_kind_has_its_type() {
        for rules in crate::KINDS {
            let name = rules.schema_name();
            assert!(
                types().by_name(&name).is_some_and(|t| t.field("metadata").is_some()),
                "{name}"
            );
        }
    }
}
