//! Kubernetes kinds and their rules: names, columns, defaults, validation; no IO, no clock, no randomness.
//!
//! [`KINDS`] is the table of the built-in kinds, a [`Catalog`] is what a server serves: those and the custom resources. Routes,
//! discovery, OpenAPI, keys and printing derive from it. Objects are `serde_json::Value`
//! throughout: a typed round trip would drop the fields that we do not know.

pub mod addresses;
pub mod at;
mod catalog;
pub mod conditions;
pub mod custom;
pub mod discovery;
pub mod duration;
pub mod field;
pub mod fields;
mod intern;
mod kind;
pub mod kinds;
pub mod metadata;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod quantity;
pub mod quota;
pub mod read;
mod rules;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod tolerations;

pub use catalog::Catalog;
pub use field::FieldError;
pub use kind::{Column, Context, Kind, SelectableField, Subresource, Verb, View};
pub use kinds::{KINDS, find, find_kind};
pub use rules::{FieldReader, Rules, RulesRef};
