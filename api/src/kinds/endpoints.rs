//! Endpoints: the addresses behind a Service.

use crate::kind::Kind;

/// `v1` Endpoints.
pub struct Endpoints;

impl Kind for Endpoints {
    const KIND: &'static str = "Endpoints";
    const PLURAL: &'static str = "endpoints";
    const SINGULAR: &'static str = "endpoints";
    const SHORT_NAMES: &'static [&'static str] = &["ep"];
    const KEY: &'static str = "endpoints";
    type Object = k8s_openapi::api::core::v1::Endpoints;
}
