//! SubjectAccessReview: asks whether somebody may do something; never stored.

use crate::kind::{Kind, Verb};

/// `authorization.k8s.io/v1` SubjectAccessReview.
pub struct SubjectAccessReview;

impl Kind for SubjectAccessReview {
    const GROUP: &'static str = "authorization.k8s.io";
    const KIND: &'static str = "SubjectAccessReview";
    const PLURAL: &'static str = "subjectaccessreviews";
    const SINGULAR: &'static str = "subjectaccessreview";
    const NAMESPACED: bool = false;
    const VERBS: &'static [Verb] = &[Verb::Create];
    const KEY: &'static str = "subjectaccessreviews";
    type Object = k8s_openapi::api::authorization::v1::SubjectAccessReview;
}
