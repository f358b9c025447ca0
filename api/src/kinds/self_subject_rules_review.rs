//! SelfSubjectRulesReview: asks all that the asker may do in one namespace; never stored.

use crate::kind::{Kind, Verb};

/// `authorization.k8s.io/v1` SelfSubjectRulesReview.
pub struct SelfSubjectRulesReview;

impl Kind for SelfSubjectRulesReview {
    const GROUP: &'static str = "authorization.k8s.io";
    const KIND: &'static str = "SelfSubjectRulesReview";
    const PLURAL: &'static str = "selfsubjectrulesreviews";
    const SINGULAR: &'static str = "selfsubjectrulesreview";
    const NAMESPACED: bool = false;
    const VERBS: &'static [Verb] = &[Verb::Create];
    const KEY: &'static str = "selfsubjectrulesreviews";
    type Object = k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;
}
