//! ServiceAccount: who a pod is.

use crate::{
    kind::{Column, Kind, Subresource, Verb},
    metadata, read,
};
use jiff::Timestamp;
use serde_json::Value;

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
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Secrets", "string", "The number of its secrets."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::core::v1::ServiceAccount;

    fn row(account: &Value, now: Timestamp) -> Vec<Value> {
        let secrets = read::list(account, "/secrets").len();
        vec![
            metadata::name(account).into(),
            secrets.into(),
            metadata::age(account, now).into(),
        ]
    }
}
