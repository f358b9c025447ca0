//! The generic verbs. They name no kind: what a kind wants is in its rules, in `actions/` or in `admission/`.

mod apply;
mod create;
mod delete;
mod delete_collection;
mod get;
mod list;
mod patch;
mod update;
pub(crate) mod watch;

pub(crate) use create::{create, refused_by_disk};
pub(crate) use delete::{delete, delete_object};
pub(crate) use delete_collection::delete_collection;
pub(crate) use get::{existing, get};
pub(crate) use list::list;
pub(crate) use patch::{APPLY, patch};
pub(crate) use update::{Change, change, update};
pub(crate) use watch::watch;
