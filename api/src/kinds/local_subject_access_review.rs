//! LocalSubjectAccessReview: asks whether somebody may do something in one namespace; never stored.

use crate::kind::{Kind, Verb};

/// `authorization.k8s.io/v1` LocalSubjectAccessReview.
pub struct LocalSubjectAccessReview;

impl Kind for LocalSubjectAccessReview {
    const GROUP: &'static str = "authorization.k8s.io";
    const KIND: &'static str = "LocalSubjectAccessReview";
    const PLURAL: &'static str = "localsubjectaccessreviews";
    const SINGULAR: &'static str = "localsubjectaccessreview";
    const VERBS: &'static [Verb] = &[Verb::Create];
    const KEY: &'static str = "localsubjectaccessreviews";
    type Object = k8s_openapi::api::authorization::v1::LocalSubjectAccessReview;
}
