//! Who manages which field: sets of fields, values seen through their kind's shape, managedFields and server-side apply.
//!
//! Follows structured-merge-diff v6 and apimachinery `util/managedfields`. Everything here is a pure function over values.

mod collect;
mod compare;
mod conform;
mod element;
pub(crate) mod go;
mod listed;
mod merge;
mod owners;
mod remove;
mod set;
mod track;
mod update;
mod view;
mod wire;

pub use collect::collect;
pub use compare::{Comparison, compare};
pub use conform::conform;
pub use element::Element;
pub use merge::merge;
pub use owners::{Owner, Owners, OwnersError, sort};
pub use remove::{extract, remove};
pub use set::Set;
pub use track::{ApplyError, Conflict, Write, apply, same_but_for_times, track};
pub use view::{Misfit, View};
pub use wire::{FieldsError, from_fields, to_fields};
