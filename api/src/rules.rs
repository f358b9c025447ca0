//! A kind with its type erased, so that the verbs are compiled once; around the kind's own rules, what every kind needs.

use crate::{
    field::FieldError,
    kind::{Column, Context, Kind, SelectableField, Subresource, Verb},
    metadata,
    schema::{self, Described, Source},
};
use jiff::Timestamp;
use serde_json::Value;

/// A [`Kind`] with its type erased: a row of [`crate::KINDS`].
#[derive(Debug)]
pub struct Rules {
    /// API group; empty for core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind, as in `kind:`.
    pub kind: &'static str,
    /// Plural, as in the path.
    pub plural: &'static str,
    /// Singular.
    pub singular: &'static str,
    /// What people type instead.
    pub short_names: &'static [&'static str],
    /// Sets of kinds.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// What clients may do.
    pub verbs: &'static [Verb],
    /// Paths below an object.
    pub subresources: &'static [Subresource],
    /// Whether a write waits for the disk.
    pub durable: bool,
    /// First part of the store's keys.
    pub key: &'static str,
    /// Whether generation counts.
    pub generation: bool,
    /// Whether PUT without a resourceVersion overwrites.
    pub unconditional_update: bool,
    /// Whether PUT to an absent name creates it.
    pub create_on_update: bool,
    /// Whether a create may bring a status.
    pub status_on_create: bool,
    /// Printer columns.
    pub columns: &'static [Column],
    /// Selectable fields beyond name and namespace.
    pub fields: &'static [SelectableField],
    /// Where the schema comes from.
    pub schema: Source,
    pub(crate) check_name: fn(&str) -> Vec<String>,
    default: fn(&mut Value),
    before_create: fn(&mut Value, &Context<'_>),
    before_update: fn(&mut Value, &Value, &Context<'_>),
    validate: fn(&Value) -> Vec<FieldError>,
    validate_update: fn(&Value, &Value, &str) -> Vec<FieldError>,
    row: fn(&Value, Timestamp) -> Vec<Value>,
}

impl Rules {
    /// Erases `K`.
    pub const fn of<K: Kind>() -> Self {
        Self {
            group: K::GROUP,
            version: K::VERSION,
            kind: K::KIND,
            plural: K::PLURAL,
            singular: K::SINGULAR,
            short_names: K::SHORT_NAMES,
            categories: K::CATEGORIES,
            namespaced: K::NAMESPACED,
            verbs: K::VERBS,
            subresources: K::SUBRESOURCES,
            durable: K::DURABLE,
            key: K::KEY,
            generation: K::GENERATION,
            unconditional_update: K::UNCONDITIONAL_UPDATE,
            create_on_update: K::CREATE_ON_UPDATE,
            status_on_create: K::STATUS_ON_CREATE,
            columns: K::COLUMNS,
            fields: K::FIELDS,
            schema: <K::Object as Described>::SOURCE,
            check_name: K::check_name,
            default: K::default,
            before_create: K::before_create,
            before_update: K::before_update,
            validate: K::validate,
            validate_update: K::validate_update,
            row: K::row,
        }
    }

    /// `v1` or `group/version`, as in `apiVersion:`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The schema's component name, such as `io.k8s.api.core.v1.Pod`.
    pub fn schema_name(&self) -> String {
        (self.schema.name)()
    }

    /// `pods` or `leases.coordination.k8s.io`, as in error texts and RBAC.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The prefix of all keys of this kind, or of those in one namespace.
    pub fn key_prefix(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => format!("{}/{namespace}/", self.key),
            None => format!("{}/", self.key),
        }
    }

    /// The key of one object; `namespace` is ignored for cluster-wide kinds.
    pub fn key_of(&self, namespace: &str, name: &str) -> String {
        if self.namespaced {
            format!("{}/{namespace}/{name}", self.key)
        } else {
            format!("{}/{name}", self.key)
        }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether spec and status are written apart.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Fills in upstream's defaults and brings spellings (nulls, quantities) into one form; idempotent. Call it on every
    /// body that was decoded or patched, after [`schema::decode_error`], and again after admission.
    pub fn default(&self, object: &mut Value) {
        schema::canonicalize(&self.schema_name(), object);
        (self.default)(object);
    }

    /// Makes a decoded and defaulted body ready to be created: metadata, status dropped, then the kind's own.
    pub fn before_create(&self, object: &mut Value, context: &Context<'_>) {
        metadata::before_create(self, object, context);
        (self.before_create)(object, context);
    }

    /// Makes a decoded and defaulted body ready to replace `old`: what the client may not write comes from `old`; then the
    /// kind's own; then the generation. When the result equals `old` (resourceVersion apart) nothing should be written.
    pub fn before_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        metadata::before_update(self, new, old, context);
        (self.before_update)(new, old, context);
        metadata::count_generation(self, new, old);
    }

    /// What is wrong with a new object.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = metadata::validate(self, object);
        errors.extend((self.validate)(object));
        errors
    }

    /// What is wrong with a change.
    pub fn validate_update(&self, new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        let mut errors = metadata::validate_update(self, new, old);
        errors.extend((self.validate_update)(new, old, subresource));
        errors
    }

    /// The cells of its table row, one a column.
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        (self.row)(object, now)
    }

    /// Reads a selectable field; none where the label is not supported for this kind (then answer
    /// [`crate::status::unsupported_field_label`]).
    pub fn field(&self, label: &str) -> Option<fn(&Value) -> String> {
        match label {
            "metadata.name" => Some(|o| metadata::name(o).to_owned()),
            "metadata.namespace" if self.namespaced => Some(|o| metadata::namespace(o).to_owned()),
            _ => self.fields.iter().find(|f| f.label == label).map(|f| f.read),
        }
    }
}
