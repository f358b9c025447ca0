//! ServiceAccount: who a pod is.

use crate::kind::{Kind, Subresource, Verb};

/// `v1` ServiceAccount.
pub struct ServiceAccount;

impl Kind for ServiceAccount {
    const KIND: &'static str = "ServiceAccount";
    const PLURAL: &'static str = "serviceaccounts";
    const SINGULAR: &'static str = "serviceaccount";
    const SHORT_NAMES: &'static [&'static str] = &["sa"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &[Verb::Create],
    }];
    const KEY: &'static str = "serviceaccounts";
    type Object = k8s_openapi::api::core::v1::ServiceAccount;
}
