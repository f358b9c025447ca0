//! The shapes of the kinds: which fields there are, of which type, and how they merge. Compiled once from k8s-openapi's
//! schemas into a table without the texts; the texts are only built for OpenAPI.

mod canonical;
mod check;
mod compiled;
mod depth;
mod merge_facts;
mod prune;
mod scan;
mod source;

pub use canonical::canonicalize;
pub use check::{decode_error, unknown_fields};
pub use compiled::{Field, ListKind, Root, Shape, Type, Types, types};
pub use depth::{DEEPEST, depth};
pub(crate) use merge_facts::{Facts, ZeroValues};
pub use prune::prune;
pub use scan::{Parsed, parse, strict_errors};
pub(crate) use source::definitions;
pub use source::{Described, Source};
