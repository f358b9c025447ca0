//! Which objects a request is about: by labels and by fields.

mod check;
mod field;
mod label;

pub use check::{check, shown};
pub use field::FieldSelector;
pub use label::{LabelSelector, Operator, Requirement};
