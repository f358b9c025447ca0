//! ConfigMap: small data as keys and values, immutable on request.

use crate::kind::Kind;

/// `v1` ConfigMap.
pub struct ConfigMap;

impl Kind for ConfigMap {
    const KIND: &'static str = "ConfigMap";
    const PLURAL: &'static str = "configmaps";
    const SINGULAR: &'static str = "configmap";
    const SHORT_NAMES: &'static [&'static str] = &["cm"];
    const KEY: &'static str = "configmaps";
    type Object = k8s_openapi::api::core::v1::ConfigMap;
}
