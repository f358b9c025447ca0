//! The kinds that are served: one file and one line each.

mod config_map;
mod endpoints;
mod event;
mod lease;
mod namespace;
mod node;
mod pod;
mod secret;
mod service;
mod service_account;

use crate::rules::Rules;

/// Every kind, in discovery's order within its group.
pub static KINDS: &[&Rules] = &[
    &Rules::of::<config_map::ConfigMap>(),
    &Rules::of::<endpoints::Endpoints>(),
    &Rules::of::<event::Event>(),
    &Rules::of::<namespace::Namespace>(),
    &Rules::of::<node::Node>(),
    &Rules::of::<pod::Pod>(),
    &Rules::of::<secret::Secret>(),
    &Rules::of::<service_account::ServiceAccount>(),
    &Rules::of::<service::Service>(),
    &Rules::of::<lease::Lease>(),
];

/// The rules of what a path names.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Rules> {
    KINDS
        .iter()
        .copied()
        .find(|r| r.plural == plural && r.group == group && r.version == version)
}

/// The rules of what `apiVersion` and `kind` name.
pub fn find_kind(api_version: &str, kind: &str) -> Option<&'static Rules> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    KINDS
        .iter()
        .copied()
        .find(|r| r.kind == kind && r.group == group && r.version == version)
}
