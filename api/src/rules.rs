//! A kind with its type erased, so that the verbs are compiled once; around the kind's own rules, what every kind needs.

use crate::{
    custom::{Scale, Version},
    field::FieldError,
    fields::Set,
    kind::{Column, Context, Kind, SelectableField, Subresource, Verb, View},
    metadata,
    schema::{self, Described, Root, Source},
};
use jiff::Timestamp;
use serde_json::Value;
use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

/// A [`Kind`] with its type erased, a row of [`crate::KINDS`]; or a version of a custom resource.
///
/// Names are `&'static str` for both: those of custom resources are interned ([`crate::intern`]).
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
    pub short_names: Cow<'static, [&'static str]>,
    /// Sets of kinds.
    pub categories: Cow<'static, [&'static str]>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// What clients may do.
    pub verbs: &'static [Verb],
    /// Paths below an object.
    pub subresources: Cow<'static, [Subresource]>,
    /// Whether a write waits for the disk.
    pub durable: bool,
    /// Whether objects lie encrypted where they are kept.
    pub sealed: bool,
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
    pub columns: Cow<'static, [Column]>,
    /// Selectable fields beyond name and namespace.
    pub fields: &'static [SelectableField],
    pub(crate) check_name: fn(&str) -> Vec<String>,
    pub(crate) behaviour: Behaviour,
}

/// What a kind does of its own.
#[derive(Debug)]
pub(crate) enum Behaviour {
    BuiltIn(Functions),
    Custom(Box<Version>),
}

/// A built-in kind's own functions.
#[derive(Debug)]
pub(crate) struct Functions {
    schema: Source,
    view: Option<View>,
    status_resets: &'static [&'static str],
    default: fn(&mut Value),
    before_create: fn(&mut Value, &Context<'_>),
    before_update: fn(&mut Value, &Value, &Context<'_>),
    validate: fn(&Value) -> Vec<FieldError>,
    validate_update: fn(&Value, &Value, &str) -> Vec<FieldError>,
    warnings: fn(&Value) -> Vec<String>,
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
            short_names: Cow::Borrowed(K::SHORT_NAMES),
            categories: Cow::Borrowed(K::CATEGORIES),
            namespaced: K::NAMESPACED,
            verbs: K::VERBS,
            subresources: Cow::Borrowed(K::SUBRESOURCES),
            durable: K::DURABLE,
            sealed: K::SEALED,
            key: K::KEY,
            generation: K::GENERATION,
            unconditional_update: K::UNCONDITIONAL_UPDATE,
            create_on_update: K::CREATE_ON_UPDATE,
            status_on_create: K::STATUS_ON_CREATE,
            columns: Cow::Borrowed(K::COLUMNS),
            fields: K::FIELDS,
            check_name: K::check_name,
            behaviour: Behaviour::BuiltIn(Functions {
                schema: <K::Object as Described>::SOURCE,
                view: K::VIEW,
                status_resets: K::STATUS_RESETS,
                default: K::default,
                before_create: K::before_create,
                before_update: K::before_update,
                validate: K::validate,
                validate_update: K::validate_update,
                warnings: K::warnings,
                row: K::row,
            }),
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

    /// As in `kind:` of a list, such as `PodList`.
    pub fn list_kind(&self) -> String {
        match &self.behaviour {
            Behaviour::BuiltIn(_) => format!("{}List", self.kind),
            Behaviour::Custom(version) => version.list_kind.clone(),
        }
    }

    /// The schema's component name, such as `io.k8s.api.core.v1.Pod`.
    pub fn schema_name(&self) -> String {
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => (functions.schema.name)(),
            Behaviour::Custom(version) => version.component.clone(),
        }
    }

    /// The component name of a list's schema.
    pub(crate) fn list_schema_name(&self) -> String {
        match &self.behaviour {
            Behaviour::BuiltIn(_) => format!("{}List", self.schema_name()),
            Behaviour::Custom(version) => {
                crate::custom::openapi::component(self.group, self.version, &version.list_kind)
            }
        }
    }

    /// Where a built-in kind's schema comes from; none for a custom resource.
    pub(crate) fn source(&self) -> Option<Source> {
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => Some(functions.schema),
            Behaviour::Custom(_) => None,
        }
    }

    /// The shape of an object and the types that it reaches: what decoding, pruning and merging walk along.
    pub fn root(&self) -> Root<'_> {
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => Root::built_in(&(functions.schema.name)()),
            Behaviour::Custom(version) => version.root(),
        }
    }

    /// What a write through `subresource` (empty for the object itself) cannot change.
    pub fn resets(&self, subresource: &str) -> Set {
        let status_resets = match &self.behaviour {
            Behaviour::BuiltIn(functions) => functions.status_resets,
            Behaviour::Custom(_) => &["metadata", "spec"],
        };
        let paths: &[&str] = match subresource {
            "" if self.has_status() => &["status"],
            "status" => status_resets,
            _ => &[],
        };
        let paths: Vec<Vec<&str>> = paths.iter().map(|path| path.split('.').collect()).collect();
        Set::of_names(&paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// The version of a custom resource; none for a built-in kind.
    pub(crate) fn version_of_custom(&self) -> Option<&Version> {
        match &self.behaviour {
            Behaviour::BuiltIn(_) => None,
            Behaviour::Custom(version) => Some(version),
        }
    }

    /// Whether it is a custom resource: its clients speak JSON and YAML, and lists are merged by nobody's key.
    pub fn is_custom(&self) -> bool {
        self.version_of_custom().is_some()
    }

    /// Whether its definition is being deleted, so that nothing new may be made.
    pub fn is_ending(&self) -> bool {
        self.version_of_custom().is_some_and(|version| version.is_ending)
    }

    /// What every client of this version should hear, if it is on its way out.
    pub fn deprecation(&self) -> Option<&str> {
        self.version_of_custom()?.deprecation.as_deref()
    }

    /// Where a custom resource keeps its replicas.
    pub fn custom_scale(&self) -> Option<&Scale> {
        self.version_of_custom()?.scale.as_ref()
    }

    /// Whether clients can select by more than name and namespace.
    pub(crate) fn has_fields(&self) -> bool {
        !self.fields.is_empty() || self.version_of_custom().is_some_and(Version::has_fields)
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
            [self.key, "/", namespace, "/", name].concat()
        } else {
            [self.key, "/", name].concat()
        }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether spec and status are written apart.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Fills in upstream's defaults and brings spellings (nulls, quantities) into one form; idempotent. Call it on every
    /// body that was decoded or patched, after [`schema::decode_error`], and again after admission.
    pub fn default(&self, object: &mut Value) {
        schema::canonicalize(self.root(), object);
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => (functions.default)(object),
            Behaviour::Custom(version) => version.default(object),
        }
    }

    /// Makes a decoded and defaulted body ready to be created: metadata, status dropped, then the kind's own.
    pub fn before_create(&self, object: &mut Value, context: &Context<'_>) {
        metadata::before_create(self, object, context);
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => {
                (functions.before_create)(object, context);
                // What upstream fills in when it reads back what it wrote: zeros of an empty status, labels of a generated template.
                (functions.default)(object);
            }
            Behaviour::Custom(version) => version.before_create(object, self.has_status()),
        }
    }

    /// Makes a decoded and defaulted body ready to replace `old`: what the client may not write comes from `old`; then the
    /// kind's own; then the generation. When the result equals `old` (resourceVersion apart) nothing should be written.
    pub fn before_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        metadata::before_update(self, new, old, context);
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => (functions.before_update)(new, old, context),
            Behaviour::Custom(version) => version.before_update(new, old, context),
        }
        // Where a pod runs is not its owner's wish: upstream does not count it.
        if context.subresource != "binding" {
            metadata::count_generation(self, new, old);
        }
    }

    /// What is wrong with a new object.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = metadata::validate(self, object);
        errors.extend(match &self.behaviour {
            Behaviour::BuiltIn(functions) => (functions.validate)(object),
            Behaviour::Custom(version) => version.validate(object),
        });
        errors
    }

    /// What the author of a new object should hear although it is allowed.
    pub fn warnings(&self, object: &Value) -> Vec<String> {
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => (functions.warnings)(object),
            Behaviour::Custom(_) => Vec::new(),
        }
    }

    /// What is wrong with a change.
    pub fn validate_update(&self, new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        let mut errors = metadata::validate_update(self, new, old);
        errors.extend(match &self.behaviour {
            Behaviour::BuiltIn(functions) => (functions.validate_update)(new, old, subresource),
            Behaviour::Custom(version) => version.validate_update(new, old),
        });
        errors
    }

    /// Whether the store's bytes are what clients read. Where not, [`Rules::leave_storage`] makes an object of them.
    pub fn is_kept_as_served(&self) -> bool {
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => functions.view.is_none(),
            Behaviour::Custom(_) => false,
        }
    }

    /// The `apiVersion` that the store keeps.
    pub fn stored_as(&self) -> Cow<'_, str> {
        match &self.behaviour {
            Behaviour::BuiltIn(Functions { view: Some(view), .. }) => view.stored_as.into(),
            Behaviour::BuiltIn(_) => self.api_version().into(),
            Behaviour::Custom(version) => version.stored_as().into(),
        }
    }

    /// Brings an object out of the store into this version, with this version's defaults.
    pub fn leave_storage(&self, object: &mut Value) {
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => {
                if let Some(view) = functions.view {
                    (view.from_stored)(object);
                    object["apiVersion"] = self.api_version().into();
                }
            }
            Behaviour::Custom(version) => version.leave_storage(object),
        }
    }

    /// The object as the store keeps it: in the storage version.
    pub fn enter_storage<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        match &self.behaviour {
            Behaviour::BuiltIn(Functions { view: None, .. }) => Cow::Borrowed(object),
            Behaviour::BuiltIn(Functions { view: Some(view), .. }) => {
                let mut object = object.clone();
                (view.to_stored)(&mut object);
                object["apiVersion"] = view.stored_as.into();
                Cow::Owned(object)
            }
            Behaviour::Custom(version) => Cow::Owned(version.enter_storage(object)),
        }
    }

    /// The cells of its table row, one a column.
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match &self.behaviour {
            Behaviour::BuiltIn(functions) => (functions.row)(object, now),
            Behaviour::Custom(version) => version.row(object, now),
        }
    }

    /// Reads a selectable field; none where the label is not supported for this kind (then answer
    /// [`crate::status::unsupported_field_label`]).
    pub fn field(&self, label: &str) -> Option<FieldReader> {
        match label {
            "metadata.name" => Some(FieldReader(Arc::new(|o| metadata::name(o).to_owned()))),
            "metadata.namespace" if self.namespaced => {
                Some(FieldReader(Arc::new(|o| metadata::namespace(o).to_owned())))
            }
            _ => match self.version_of_custom() {
                Some(version) => Some(FieldReader(Arc::new(version.field(label)?))),
                None => Some(FieldReader(Arc::new(
                    self.fields.iter().find(|f| f.label == label)?.read,
                ))),
            },
        }
    }
}

/// Reads a field that clients select by out of an object; empty where the object has none.
#[derive(Clone)]
pub struct FieldReader(Arc<dyn Fn(&Value) -> String + Send + Sync>);

// === impl FieldReader ===

impl FieldReader {
    /// Its value.
    pub fn read(&self, object: &Value) -> String {
        (self.0)(object)
    }
}

impl fmt::Debug for FieldReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldReader")
    }
}

/// The rules of a kind that is served: a row of [`crate::KINDS`], or a custom resource as its definition was when the request
/// came. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RulesRef(Held);

#[derive(Clone, Debug)]
enum Held {
    BuiltIn(&'static Rules),
    Custom(Arc<Rules>),
}

// === impl RulesRef ===

impl RulesRef {
    /// Whether both are the very same rules: a custom resource's are others after its definition has changed.
    pub fn is(&self, other: &RulesRef) -> bool {
        std::ptr::eq::<Rules>(&**self, &**other)
    }
}

impl Deref for RulesRef {
    type Target = Rules;

    fn deref(&self) -> &Rules {
        match &self.0 {
            Held::BuiltIn(rules) => rules,
            Held::Custom(rules) => rules,
        }
    }
}

impl From<&'static Rules> for RulesRef {
    fn from(rules: &'static Rules) -> Self {
        Self(Held::BuiltIn(rules))
    }
}

impl From<Arc<Rules>> for RulesRef {
    fn from(rules: Arc<Rules>) -> Self {
        Self(Held::Custom(rules))
    }
}
