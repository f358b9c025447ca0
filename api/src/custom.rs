//! Custom resources: a CustomResourceDefinition as the rules of the kinds that it defines, one a served version.
//!
//! A version is to a custom resource what [`crate::Kind`]'s functions are to a built-in one. Seams for what is not evaluated
//! yet: [`Version::validate_update`] (CEL rules) and [`Version::leave_storage`] (conversion webhooks).

mod defaults;
mod format;
mod list;
mod naming;
pub(crate) mod openapi;
pub(crate) mod path;
mod resource;
mod shapes;
pub(crate) mod structural;
mod validate;
mod version;

pub use naming::{APPROVED, Approval, approval, next_status, terminating};
pub use version::Scale;
pub(crate) use version::Version;

use crate::field::FieldError;
use crate::intern::intern;
use crate::kind::{Column, Subresource, Verb};
use crate::names;
use crate::read::{self, list, text};
use crate::rules::{Rules, RulesRef};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// The group of the definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// What holds a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The condition of that type, if the definition has it.
pub fn condition<'a>(definition: &'a Value, kind: &str) -> Option<&'a Value> {
    list(definition, "/status/conditions")
        .iter()
        .find(|c| text(c, "/type") == kind)
}

/// Whether the condition of that type is `True`.
pub fn is_true(definition: &Value, kind: &str) -> bool {
    condition(definition, kind).is_some_and(|c| text(c, "/status") == "True")
}

/// The kinds that a definition makes served: none before its names are accepted.
pub fn kinds(definition: &Value) -> Vec<RulesRef> {
    if !is_true(definition, "NamesAccepted") && !is_true(definition, "Established") {
        return Vec::new();
    }
    list(definition, "/spec/versions")
        .iter()
        .filter(|version| read::flag(version, "/served"))
        .map(|version| RulesRef::from(Arc::new(rules(definition, version))))
        .collect()
}

/// Which versions' objects the store may hold: the one that is written.
pub(crate) fn storage_version(definition: &Value) -> &str {
    list(definition, "/spec/versions")
        .iter()
        .find(|version| read::flag(version, "/storage"))
        .map_or("", |version| text(version, "/name"))
}

/// What is wrong with the default of a schema, which stands at `path`.
pub(crate) fn default_errors(schema: &Value, default: &Value, path: &str) -> Vec<FieldError> {
    let schema = structural::Structural::of(schema);
    let mut whole = default.clone();
    defaults::fill(&schema, &mut whole);
    validate::errors(&schema, &whole, path)
}

fn rules(definition: &Value, version: &Value) -> Rules {
    let group = intern(text(definition, "/spec/group"));
    let name = intern(text(version, "/name"));
    let accepted = &definition["status"]["acceptedNames"];
    let words = |pointer: &str| -> Vec<&'static str> {
        list(accepted, pointer)
            .iter()
            .filter_map(Value::as_str)
            .map(intern)
            .collect()
    };
    let (kind, plural) = (intern(text(accepted, "/kind")), intern(text(accepted, "/plural")));
    let behaviour = Version::of(definition, version);
    Rules::custom(
        Names {
            group,
            version: name,
            kind,
            plural,
            singular: intern(text(accepted, "/singular")),
            short_names: words("/shortNames"),
            categories: words("/categories"),
            namespaced: text(definition, "/spec/scope") == "Namespaced",
            key: intern(&format!("{group}/{plural}")),
            subresources: subresources(version, group, name, kind),
            columns: columns(version),
        },
        behaviour,
    )
}

/// What a custom kind is called, and what it has besides its behaviour.
#[derive(Debug)]
pub(crate) struct Names {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
    pub namespaced: bool,
    pub key: &'static str,
    pub subresources: Vec<Subresource>,
    pub columns: Vec<Column>,
}

fn subresources(version: &Value, group: &'static str, name: &'static str, kind: &'static str) -> Vec<Subresource> {
    let mut found = Vec::new();
    if read::some(version, "/subresources/status").is_some() {
        found.push(Subresource::status(group, name, kind));
    }
    if read::some(version, "/subresources/scale").is_some() {
        found.push(Subresource {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: &[Verb::Get, Verb::Patch, Verb::Update],
        });
    }
    found
}

/// The columns of a version's tables: the name, then its own, or the age where it has none.
fn columns(version: &Value) -> Vec<Column> {
    let own = list(version, "/additionalPrinterColumns");
    if own.is_empty() {
        return vec![Column::NAME, version::AGE];
    }
    let own = own.iter().map(|column| Column {
        name: intern(text(column, "/name")),
        kind: intern(text(column, "/type")),
        format: intern(text(column, "/format")),
        description: intern(match text(column, "/description") {
            "" => "Custom resource definition column (in JSONPath format): ",
            description => description,
        }),
        priority: u8::try_from(read::int(column, "/priority")).unwrap_or(u8::MAX),
    });
    std::iter::once(Column::NAME).chain(own).collect()
}

impl Rules {
    /// The rules of one version of a custom resource.
    pub(crate) fn custom(of: Names, behaviour: Version) -> Self {
        Rules {
            group: of.group,
            version: of.version,
            kind: of.kind,
            plural: of.plural,
            singular: of.singular,
            short_names: Cow::Owned(of.short_names),
            categories: Cow::Owned(of.categories),
            namespaced: of.namespaced,
            verbs: Verb::ALL,
            subresources: Cow::Owned(of.subresources),
            durable: true,
            sealed: false,
            key: of.key,
            generation: true,
            unconditional_update: false,
            create_on_update: false,
            status_on_create: false,
            columns: Cow::Owned(of.columns),
            fields: &[],
            check_name: names::dns1123_subdomain,
            behaviour: crate::rules::Behaviour::Custom(Box::new(behaviour)),
        }
    }
}
