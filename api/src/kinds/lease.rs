//! Lease: a heartbeat or a leader's claim. Never waits for the disk: whoever lost it renews it.

use crate::kind::Kind;

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
    type Object = k8s_openapi::api::coordination::v1::Lease;
}
