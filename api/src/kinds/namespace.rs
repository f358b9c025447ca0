//! Namespace: where names live; ends only after everything in it has ended (`spec.finalizers`).

use crate::kind::{Kind, Subresource, Verb};

/// `v1` Namespace.
pub struct Namespace;

impl Kind for Namespace {
    const KIND: &'static str = "Namespace";
    const PLURAL: &'static str = "namespaces";
    const SINGULAR: &'static str = "namespace";
    const SHORT_NAMES: &'static [&'static str] = &["ns"];
    const NAMESPACED: bool = false;
    const VERBS: &'static [Verb] = &[
        Verb::Create,
        Verb::Delete,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource {
            name: "finalize",
            group: "",
            version: "v1",
            kind: "Namespace",
            verbs: &[Verb::Update],
        },
        Subresource::status("", "v1", "Namespace"),
    ];
    const KEY: &'static str = "namespaces";
    type Object = k8s_openapi::api::core::v1::Namespace;
}
