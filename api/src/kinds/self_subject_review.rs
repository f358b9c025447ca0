//! SelfSubjectReview: asks who the server thinks that the asker is; never stored.

use crate::kind::{Kind, Verb};

/// `authentication.k8s.io/v1` SelfSubjectReview.
pub struct SelfSubjectReview;

impl Kind for SelfSubjectReview {
    const GROUP: &'static str = "authentication.k8s.io";
    const KIND: &'static str = "SelfSubjectReview";
    const PLURAL: &'static str = "selfsubjectreviews";
    const SINGULAR: &'static str = "selfsubjectreview";
    const NAMESPACED: bool = false;
    const VERBS: &'static [Verb] = &[Verb::Create];
    const KEY: &'static str = "selfsubjectreviews";
    type Object = k8s_openapi::api::authentication::v1::SelfSubjectReview;
}
