//! Service: one name and address for many pods.

use crate::kind::{Kind, Subresource};

/// `v1` Service.
pub struct Service;

impl Kind for Service {
    const KIND: &'static str = "Service";
    const PLURAL: &'static str = "services";
    const SINGULAR: &'static str = "service";
    const SHORT_NAMES: &'static [&'static str] = &["svc"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("", "v1", "Service")];
    const KEY: &'static str = "services";
    type Object = k8s_openapi::api::core::v1::Service;
}
