//! Secret: a ConfigMap for what must not be seen; its type says which keys it must have.

use crate::kind::Kind;

/// `v1` Secret.
pub struct Secret;

impl Kind for Secret {
    const KIND: &'static str = "Secret";
    const PLURAL: &'static str = "secrets";
    const SINGULAR: &'static str = "secret";
    const KEY: &'static str = "secrets";
    type Object = k8s_openapi::api::core::v1::Secret;
}
