//! One version of a custom resource: what a built-in kind's functions do, out of its definition.

use super::path::JsonPath;
use super::structural::Structural;
use super::{defaults, list, openapi, resource, shapes, storage_version, validate};
use crate::field::FieldError;
use crate::kind::{Column, Context};
use crate::metadata;
use crate::read::{self, text};
use crate::schema::{Root, Types, prune};
use jiff::Timestamp;
use serde_json::Value;

/// The column that a version without columns has besides the name.
pub(super) const AGE: Column = Column {
    name: "Age",
    kind: "date",
    format: "",
    description: "CreationTimestamp is a timestamp representing the server time when this object was created.",
    priority: 0,
};

/// Where a custom resource keeps what `/scale` shows, as JSON pointers.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The wished replicas.
    pub spec_replicas: String,
    /// The present replicas.
    pub status_replicas: String,
    /// The selector of the pods, as text; empty for none.
    pub selector: String,
}

/// A version of a custom resource.
#[derive(Debug)]
pub(crate) struct Version {
    /// OpenAPI component, such as `com.example.v1.Widget`.
    pub component: String,
    /// `kind:` of a list.
    pub list_kind: String,
    /// Its schema, as written, for OpenAPI; null where there is none.
    pub published: Value,
    /// Where its replicas are.
    pub scale: Option<Scale>,
    /// What clients hear of a version that is on its way out.
    pub deprecation: Option<String>,
    /// Whether the definition is being deleted.
    pub is_ending: bool,
    api_version: String,
    stored_as: String,
    schema: Structural,
    types: Types,
    cells: Vec<(String, Option<JsonPath>)>,
    fields: Vec<(String, JsonPath)>,
}

// === impl Version ===

impl Version {
    /// Compiles one of a definition's versions.
    pub(super) fn of(definition: &Value, version: &Value) -> Self {
        let (group, name) = (text(definition, "/spec/group"), text(version, "/name"));
        let kind = text(definition, "/status/acceptedNames/kind");
        let written = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
        let mut schema = Structural::of(&written);
        if read::flag(definition, "/spec/preserveUnknownFields") {
            schema.preserves_unknown = true;
        }
        let component = openapi::component(group, name, kind);
        let place = |scale: &Value, member: &str| pointer(text(scale, &format!("/{member}")));
        let scale = read::some(version, "/subresources/scale").map(|scale| Scale {
            spec_replicas: place(scale, "specReplicasPath"),
            status_replicas: place(scale, "statusReplicasPath"),
            selector: place(scale, "labelSelectorPath"),
        });
        let api_version = format!("{group}/{name}");
        Self {
            types: shapes::compile(&component, &schema),
            component,
            list_kind: text(definition, "/status/acceptedNames/listKind").to_owned(),
            published: written,
            scale,
            deprecation: read::flag(version, "/deprecated").then(|| match text(version, "/deprecationWarning") {
                "" => format!("{api_version} {kind} is deprecated"),
                warning => warning.to_owned(),
            }),
            is_ending: metadata::is_deleting(definition),
            stored_as: format!("{group}/{}", storage_version(definition)),
            api_version,
            schema,
            cells: cells(version),
            fields: selectable(version),
        }
    }

    /// The whole object's shape.
    pub fn root(&self) -> Root<'_> {
        let kind = self
            .types
            .last()
            .expect("this holds because the types of a custom resource end with the whole object");
        Root {
            types: &self.types,
            kind,
        }
    }

    /// Drops what the schema does not have, fills in its defaults.
    pub fn default(&self, object: &mut Value) {
        prune(self.root(), object);
        defaults::fill(&self.schema, object);
    }

    /// A new object has no status where status is written apart.
    pub fn before_create(&self, object: &mut Value, has_status: bool) {
        if let (true, Some(members)) = (has_status, object.as_object_mut()) {
            members.shift_remove("status");
        }
    }

    /// A write of the status changes nothing else, not even labels.
    pub fn before_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if context.subresource != "status" {
            return;
        }
        let managers = new.pointer("/metadata/managedFields").cloned();
        new["metadata"] = old["metadata"].clone();
        if let (Some(managers), Some(metadata)) = (managers, read::map_mut(new, "metadata")) {
            metadata.insert("managedFields".to_owned(), managers);
        }
    }

    /// What is wrong with an object, its metadata apart.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = validate::errors(&self.schema, object, "");
        errors.extend(resource::errors(&self.schema, object, ""));
        errors.extend(list::errors(&self.schema, object, ""));
        errors
    }

    /// The same of a change: what was wrong before and is untouched may stay (upstream's ratcheting).
    pub fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        errors.retain(|error| !is_untouched(error, new, old));
        errors
    }

    pub fn stored_as(&self) -> &str {
        &self.stored_as
    }

    /// Brings a stored object into this version. Conversion is the strategy `None`: only `apiVersion` changes.
    pub fn leave_storage(&self, object: &mut Value) {
        object["apiVersion"] = self.api_version.as_str().into();
        self.default(object);
    }

    /// The object as the store keeps it.
    pub fn enter_storage(&self, object: &Value) -> Value {
        let mut object = object.clone();
        object["apiVersion"] = self.stored_as.as_str().into();
        object
    }

    /// The cells of a table's row.
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let own = self.cells.iter().map(|(kind, path)| {
            let value = path.as_ref().and_then(|path| path.first(object));
            value.map_or(Value::Null, |value| cell(kind, value, now))
        });
        std::iter::once(metadata::name(object).into()).chain(own).collect()
    }

    /// Reads a selectable field.
    pub fn field(&self, label: &str) -> Option<impl Fn(&Value) -> String + Send + Sync + use<>> {
        let (_, path) = self.fields.iter().find(|(known, _)| known == label)?;
        let path = path.clone();
        Some(move |object: &Value| path.first(object).map(printed).unwrap_or_default())
    }

    /// Whether it has selectable fields of its own.
    pub fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }
}

/// A path of members as a JSON pointer; empty for none.
fn pointer(path: &str) -> String {
    let path = JsonPath::parse(path);
    let members = path.as_ref().and_then(JsonPath::members).unwrap_or_default();
    let escaped = members
        .iter()
        .map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")));
    escaped.collect()
}

fn cells(version: &Value) -> Vec<(String, Option<JsonPath>)> {
    let own = read::list(version, "/additionalPrinterColumns");
    if own.is_empty() {
        return vec![("date".to_owned(), JsonPath::parse(".metadata.creationTimestamp"))];
    }
    own.iter()
        .map(|column| {
            (
                text(column, "/type").to_owned(),
                JsonPath::parse(text(column, "/jsonPath")),
            )
        })
        .collect()
}

fn selectable(version: &Value) -> Vec<(String, JsonPath)> {
    let fields = read::list(version, "/selectableFields").iter();
    fields
        .filter_map(|field| {
            let path = text(field, "/jsonPath");
            Some((path.trim_start_matches('.').to_owned(), JsonPath::parse(path)?))
        })
        .collect()
}

/// A value as a column of that type shows it (apiextensions `tableconvertor`).
fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match kind {
        "integer" => value
            .as_i64()
            .or_else(|| whole(value.as_f64()?))
            .map_or(Value::Null, Value::from),
        "number" => value.as_f64().map_or(Value::Null, Value::from),
        "boolean" => value.as_bool().map_or(Value::Null, Value::from),
        "date" => match value.as_str() {
            Some(when) if when.parse::<Timestamp>().is_ok() => metadata::since(when, now).into(),
            Some(_) => "<invalid>".into(),
            None => Value::Null,
        },
        _ if value.is_null() => Value::Null,
        _ => printed(value).into(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a table shows the whole part")]
fn whole(number: f64) -> Option<i64> {
    Some(number as i64)
}

/// Text as it is, everything else as JSON.
fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Whether what an error is about was so before.
fn is_untouched(error: &FieldError, new: &Value, old: &Value) -> bool {
    let Some(path) = list::steps(&error.field) else {
        return false;
    };
    // What is missing is judged by what it is missing in.
    let place = match error.reason {
        crate::field::Reason::Required => &path[..path.len().saturating_sub(1)],
        _ => &path[..],
    };
    let (now, before) = (list::at(new, place), list::at(old, place));
    !place.is_empty() && now.is_some() && now == before
}
