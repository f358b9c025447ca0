//! TokenReview: asks whom a token speaks for; never stored.

use crate::kind::{Kind, Verb};

/// `authentication.k8s.io/v1` TokenReview.
pub struct TokenReview;

impl Kind for TokenReview {
    const GROUP: &'static str = "authentication.k8s.io";
    const KIND: &'static str = "TokenReview";
    const PLURAL: &'static str = "tokenreviews";
    const SINGULAR: &'static str = "tokenreview";
    const NAMESPACED: bool = false;
    const VERBS: &'static [Verb] = &[Verb::Create];
    const KEY: &'static str = "tokenreviews";
    type Object = k8s_openapi::api::authentication::v1::TokenReview;
}
