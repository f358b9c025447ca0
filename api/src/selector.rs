//! Which objects a request is about: by labels and by fields; and the selectors that objects carry.

mod check;
mod field;
mod label;
mod object;

pub use check::{check, shown};
pub use field::FieldSelector;
pub use label::{LabelSelector, Operator, Requirement};
pub use object::labels_shown;
