//! Binding: puts the pod that it is named after on a node; never stored. `pods/NAME/binding` is the same question.

use crate::kind::{Kind, Verb};

/// `v1` Binding.
pub struct Binding;

impl Kind for Binding {
    const KIND: &'static str = "Binding";
    const PLURAL: &'static str = "bindings";
    const SINGULAR: &'static str = "binding";
    const VERBS: &'static [Verb] = &[Verb::Create];
    const KEY: &'static str = "bindings";
    type Object = k8s_openapi::api::core::v1::Binding;
}
