//! What a kind must say about itself: names, columns, rules.

use crate::{field::FieldError, metadata, schema::Described};
use jiff::Timestamp;
use serde_json::Value;
use std::fmt;

/// What a client may do with a resource; the words of discovery and of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// POST.
    Create,
    /// DELETE of one.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
    /// GET of one.
    Get,
    /// GET of a collection.
    List,
    /// PATCH.
    Patch,
    /// PUT.
    Update,
    /// GET with `watch=true`.
    Watch,
}

impl Verb {
    /// Everything that a stored kind usually allows, in discovery's order.
    pub const ALL: &[Verb] = &[
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A path below an object, such as `pods/NAME/status`.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    /// Its last path segment.
    pub name: &'static str,
    /// The group of the kind it speaks.
    pub group: &'static str,
    /// The version of the kind it speaks.
    pub version: &'static str,
    /// The kind it speaks; for `status` the parent's.
    pub kind: &'static str,
    /// What it answers to.
    pub verbs: &'static [Verb],
}

impl Subresource {
    /// How many: read and written without knowing the rest of the kind.
    pub const SCALE: Self = Self {
        name: "scale",
        group: "autoscaling",
        version: "v1",
        kind: "Scale",
        verbs: &[Verb::Get, Verb::Patch, Verb::Update],
    };

    /// The `proxy` of a kind: whatever is asked below it is asked of the object itself.
    pub const fn proxy(options: &'static str) -> Self {
        Self {
            name: "proxy",
            group: "",
            version: "v1",
            kind: options,
            verbs: &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update],
        }
    }

    /// The `status` of a kind: same kind, written apart from the spec.
    pub const fn status(group: &'static str, version: &'static str, kind: &'static str) -> Self {
        Self {
            name: "status",
            group,
            version,
            kind,
            verbs: &[Verb::Get, Verb::Patch, Verb::Update],
        }
    }
}

/// A printer column; becomes a `TableColumnDefinition`.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Title, as upstream writes it.
    pub name: &'static str,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the one that names the object, else empty.
    pub format: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: u8,
}

impl Column {
    /// The object's name, first in every table.
    pub const NAME: Column = Column {
        name: "Name",
        kind: "string",
        format: "name",
        description: "Name must be unique within a namespace; clients may ask the server to generate one.",
        priority: 0,
    };
    /// The time since creation, last of the narrow columns in almost every table.
    pub const AGE: Column = Column {
        name: "Age",
        kind: "string",
        format: "",
        description: "Time since the object was created, from the server's clock.",
        priority: 0,
    };

    /// A column that is always shown.
    pub const fn narrow(name: &'static str, kind: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind,
            format: "",
            description,
            priority: 0,
        }
    }

    /// A column of `-o wide`.
    pub const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind,
            format: "",
            description,
            priority: 1,
        }
    }
}

/// A field that clients may select by, besides `metadata.name` and `metadata.namespace`, which every kind has.
#[derive(Clone, Copy, Debug)]
pub struct SelectableField {
    /// The label on the wire, such as `spec.nodeName`.
    pub label: &'static str,
    /// Its value in an object; empty where the object has none.
    pub read: fn(&Value) -> String,
}

/// How a view of a kind's objects differs from the form in which they lie in the store.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// `apiVersion` of the stored form.
    pub stored_as: &'static str,
    /// Turns an object of the view into the stored form.
    pub to_stored: fn(&mut Value),
    /// Turns a stored object into the view's form.
    pub from_stored: fn(&mut Value),
}

/// What comes from outside into a write: this crate reads no clock and draws no randomness.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// Now, RFC 3339 in UTC with whole seconds, such as `2026-11-20T13:08:07Z`.
    pub now: &'a str,
    /// A fresh UID, for creates.
    pub uid: &'a str,
    /// Five random characters for `generateName` (see [`crate::names::suffix`]).
    pub suffix: &'a str,
    /// The namespace in the request's path; empty for cluster-wide kinds.
    pub namespace: &'a str,
    /// The subresource written to; empty for the object itself.
    pub subresource: &'a str,
}

/// One kind's names and rules. One file under `kinds/` implements it, one line in [`crate::KINDS`] makes it served.
///
/// What every kind needs (metadata, generation, status kept apart) is done by [`crate::Rules`] around these functions.
pub trait Kind: 'static {
    /// API group; empty for core.
    const GROUP: &'static str = "";
    /// API version.
    const VERSION: &'static str = "v1";
    /// Kind, as in `kind:`.
    const KIND: &'static str;
    /// Plural, as in the path.
    const PLURAL: &'static str;
    /// Singular, lower case.
    const SINGULAR: &'static str;
    /// What people type instead.
    const SHORT_NAMES: &'static [&'static str] = &[];
    /// Sets of kinds such as `all`.
    const CATEGORIES: &'static [&'static str] = &[];
    /// Whether objects live in a namespace.
    const NAMESPACED: bool = true;
    /// What clients may do.
    const VERBS: &'static [Verb] = Verb::ALL;
    /// Paths below an object.
    const SUBRESOURCES: &'static [Subresource] = &[];
    /// Whether a write waits for the disk; false only for what a power cut may take (Lease, Event).
    const DURABLE: bool = true;
    /// Whether objects lie encrypted where the cluster's state is kept, if the cluster has a key for that.
    const SEALED: bool = false;
    /// Where the store keeps them: `KEY/namespace/name`. Two kinds with one `KEY` are two views of the same objects.
    const KEY: &'static str;
    /// How this view differs from the stored form; none where it is the stored form.
    const VIEW: Option<View> = None;
    /// Whether `metadata.generation` counts writes of the spec.
    const GENERATION: bool = false;
    /// Whether PUT without a resourceVersion overwrites (upstream's AllowUnconditionalUpdate).
    const UNCONDITIONAL_UPDATE: bool = true;
    /// Whether PUT to an absent name creates it (upstream's AllowCreateOnUpdate).
    const CREATE_ON_UPDATE: bool = false;
    /// Whether a create may bring a status (Node does: its agent registers it whole).
    const STATUS_ON_CREATE: bool = false;
    /// What a write of the status cannot change, as dotted paths (upstream's GetResetFields of the status strategy): nobody
    /// comes to own it that way.
    const STATUS_RESETS: &'static [&'static str] = &["spec"];
    /// Printer columns.
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::AGE];
    /// Selectable fields.
    const FIELDS: &'static [SelectableField] = &[];
    /// The k8s-openapi type that describes an object; only its schema is used, objects are never decoded into it.
    type Object: Described;

    /// Checks an object's name; by default a DNS-1123 subdomain.
    fn check_name(name: &str) -> Vec<String> {
        crate::names::dns1123_subdomain(name)
    }

    /// Fills in what upstream fills in, on every decode: idempotent.
    fn default(_object: &mut Value) {}

    /// What happens once, when the object is made.
    fn before_create(_object: &mut Value, _context: &Context<'_>) {}

    /// What a write may not carry over from the client, beyond metadata and the spec/status split.
    fn before_update(_new: &mut Value, _old: &Value, _context: &Context<'_>) {}

    /// What is wrong with a new object, besides its metadata.
    fn validate(_object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// What is wrong with this change, besides metadata and [`Kind::validate`].
    fn validate_update(_new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Vec::new()
    }

    /// What the author of a new object should hear although it is allowed (upstream's WarningsOnCreate).
    fn warnings(_object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// The cells of a table row, one a column.
    fn row(object: &Value, now: Timestamp) -> Vec<Value> {
        vec![metadata::name(object).into(), metadata::age(object, now).into()]
    }
}
