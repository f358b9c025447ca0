//! A structural schema as the types that decoding, pruning and merging walk along, beside those of the built-in kinds.

use super::structural::{Additional, Structural};
use crate::schema::{Field, ListKind, Root, Shape, Type, Types};
use std::collections::HashMap;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The types of one version of a custom resource; the last one is the whole object.
pub(super) fn compile(component: &str, schema: &Structural) -> Types {
    let mut shapes = Shapes {
        all: Vec::new(),
        copied: HashMap::new(),
    };
    let mut root = shapes.object(component, schema, true);
    root.name = component.into();
    shapes.all.push(root);
    Types::of_custom(shapes.all)
}

fn list_kind(schema: &Structural) -> ListKind {
    match schema.list_type.as_str() {
        "set" => ListKind::Set,
        "map" => ListKind::Map(schema.list_map_keys.iter().map(|key| key.as_str().into()).collect()),
        _ => ListKind::Atomic,
    }
}

struct Shapes {
    all: Vec<Type>,
    /// Where a built-in type is here, by where it is there.
    copied: HashMap<usize, usize>,
}

impl Shapes {
    fn shape(&mut self, path: &str, schema: &Structural) -> Shape {
        if schema.int_or_string {
            return Shape::IntOrString;
        }
        match (schema.kind.as_str(), &schema.additional) {
            ("string", _) => Shape::Text,
            ("boolean", _) => Shape::Boolean,
            ("integer", _) => Shape::Int64,
            ("number", _) => Shape::Number,
            ("array", _) => {
                let items = schema
                    .items
                    .as_ref()
                    .map_or(Shape::Any, |items| self.shape(path, items));
                Shape::List(Box::new(items))
            }
            (_, Additional::Of(values)) => Shape::Map(Box::new(self.shape(path, values))),
            (_, Additional::Any(true)) => Shape::Map(Box::new(Shape::Any)),
            _ if schema.keeps_any() && schema.properties.is_empty() && !schema.is_resource => Shape::Any,
            _ => {
                let kind = self.object(path, schema, schema.is_resource);
                self.all.push(kind);
                Shape::Object(self.all.len() - 1)
            }
        }
    }

    /// A known object; a whole resource has its three members in any case.
    fn object(&mut self, path: &str, schema: &Structural, is_resource: bool) -> Type {
        let mut fields: Vec<Field> = Vec::new();
        for (name, schema) in &schema.properties {
            if is_resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let shape = self.shape(&format!("{path}.{name}"), schema);
            fields.push(Field {
                list: list_kind(schema),
                atomic: (schema.map_type == "atomic").then_some(true),
                default: schema.default.clone(),
                ..Field::of_custom(name, shape)
            });
        }
        if is_resource {
            fields.push(Field::of_custom("apiVersion", Shape::Text));
            fields.push(Field::of_custom("kind", Shape::Text));
            let metadata = self.built_in(&Shape::Object(Types::index(META)));
            fields.push(Field::of_custom("metadata", metadata));
        }
        Type::of_custom(path, schema.preserves_unknown, fields)
    }

    /// A built-in shape, with the types that it reaches copied here.
    fn built_in(&mut self, shape: &Shape) -> Shape {
        match shape {
            Shape::List(item) => Shape::List(Box::new(self.built_in(item))),
            Shape::Map(item) => Shape::Map(Box::new(self.built_in(item))),
            Shape::Object(there) => {
                if let Some(here) = self.copied.get(there) {
                    return Shape::Object(*here);
                }
                let kind = Root::built_in(META).types.at(*there);
                let mut fields: Vec<Field> = kind.fields().to_vec();
                for field in &mut fields {
                    field.shape = self.built_in(&field.shape.clone());
                }
                self.all.push(kind.with_fields(fields));
                self.copied.insert(*there, self.all.len() - 1);
                Shape::Object(self.all.len() - 1)
            }
            scalar => scalar.clone(),
        }
    }
}
