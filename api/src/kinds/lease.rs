//! Lease: a heartbeat or a leader's claim. Never waits for the disk: whoever lost it renews it.

use crate::{
    field::FieldError,
    kind::{Column, Kind},
    metadata,
    read::text,
};
use jiff::Timestamp;
use serde_json::Value;

/// `coordination.k8s.io/v1` Lease.
pub struct Lease;

impl Kind for Lease {
    const GROUP: &'static str = "coordination.k8s.io";
    const KIND: &'static str = "Lease";
    const PLURAL: &'static str = "leases";
    const SINGULAR: &'static str = "lease";
    const DURABLE: bool = false;
    const KEY: &'static str = "leases";
    const CREATE_ON_UPDATE: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Holder", "string", "Who holds it."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::coordination::v1::Lease;

    fn validate(lease: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let number = |member: &str| lease.pointer(&format!("/spec/{member}")).and_then(Value::as_i64);
        if let Some(seconds) = number("leaseDurationSeconds").filter(|s| *s <= 0) {
            errors.push(FieldError::invalid(
                "spec.leaseDurationSeconds",
                seconds,
                "must be greater than 0",
            ));
        }
        if let Some(count) = number("leaseTransitions").filter(|c| *c < 0) {
            errors.push(FieldError::invalid(
                "spec.leaseTransitions",
                count,
                "must be greater than or equal to 0",
            ));
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
    }

    fn row(lease: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(lease).into(),
            text(lease, "/spec/holderIdentity").into(),
            metadata::age(lease, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_positive() {
        let errors = Lease::validate(&json!({ "spec": { "leaseDurationSeconds": 0, "leaseTransitions": -1 } }));
        let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ]
        );
        assert!(Lease::validate(&json!({ "spec": { "leaseDurationSeconds": 40 } })).is_empty());
    }
}
