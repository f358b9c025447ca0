//! SelfSubjectAccessReview: asks whether the asker may do something; never stored.

use crate::kind::{Kind, Verb};

/// `authorization.k8s.io/v1` SelfSubjectAccessReview.
pub struct SelfSubjectAccessReview;

impl Kind for SelfSubjectAccessReview {
    const GROUP: &'static str = "authorization.k8s.io";
    const KIND: &'static str = "SelfSubjectAccessReview";
    const PLURAL: &'static str = "selfsubjectaccessreviews";
    const SINGULAR: &'static str = "selfsubjectaccessreview";
    const NAMESPACED: bool = false;
    const VERBS: &'static [Verb] = &[Verb::Create];
    const KEY: &'static str = "selfsubjectaccessreviews";
    type Object = k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
}
