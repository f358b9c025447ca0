//! What is asked of a write besides its kind's rules, by plugins in upstream's order and under upstream's names.
//!
//! [`mutate`] fills in before the kind's rules look, [`validate`] refuses after them, [`charge`] comes last of all. Webhooks
//! and policies, when there are some, stand at the end of the first two, before the charge.

mod certificate;
mod cluster;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod escalation;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod persistent_volume_claim_resize;
mod pod_security;
mod priority;
mod resource_quota;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;

use crate::call::Call;
use api::status::Status;
use serde_json::Value;

/// Fills in what the cluster decides. `old` is none for a create.
pub(crate) async fn mutate(call: &Call, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    certificate::own(call, object, old);
    let kind = (call.rules.group, call.rules.plural);
    let main = call.subresource.is_empty();
    if old.is_some() {
        if main && kind == ("", "pods") {
            // On updates too: an applied manifest names only its own tolerations, and none may go.
            default_toleration_seconds::admit(object);
        }
        return Ok(());
    }
    namespace_lifecycle::admit(call, object)?;
    match kind {
        _ if !main => {}
        ("", "pods") => {
            limit_ranger::mutate(call, object);
            service_account::admit(call, object).await?;
            priority::admit(call, object)?;
            default_toleration_seconds::admit(object);
            runtime_class::admit(call, object)?;
        }
        ("", "nodes") => taint_nodes_by_condition::admit(object),
        ("", "persistentvolumeclaims") => {
            default_storage_class::admit(call, object);
            storage_object_in_use_protection::admit(object, "kubernetes.io/pvc-protection");
        }
        ("", "persistentvolumes") => storage_object_in_use_protection::admit(object, "kubernetes.io/pv-protection"),
        ("networking.k8s.io", "ingresses") => default_ingress_class::admit(call, object),
        (_, _) => {}
    }
    Ok(())
}

/// Refuses what the cluster forbids. `object` is none for a delete, `old` for a create.
pub(crate) fn validate(call: &Call, object: Option<&Value>, old: Option<&Value>) -> Result<(), Status> {
    if object.is_none() {
        namespace_lifecycle::spare(call)?;
    }
    node_restriction::admit(call, object, old)?;
    certificate::admit(call, object, old)?;
    escalation::admit(call, object, old)?;
    let Some(object) = object else {
        return Ok(());
    };
    let main = call.subresource.is_empty();
    match ((call.rules.group, call.rules.plural), old) {
        // What a pod has is given once; a claim may be changed.
        (("", "pods"), None) | (("", "persistentvolumeclaims"), _) if main => limit_ranger::validate(call, object)?,
        (_, _) => {}
    }
    pod_security::validate(call, object, old)?;
    match ((call.rules.group, call.rules.plural), old) {
        (("scheduling.k8s.io", "priorityclasses"), _) if main => priority::validate_class(call, object)?,
        (("", "persistentvolumeclaims"), Some(old)) if main => {
            persistent_volume_claim_resize::admit(call, object, old)?;
        }
        (_, _) => {}
    }
    Ok(())
}

/// Takes what the write needs out of its namespace's quotas, or refuses; a dry run only refuses.
pub(crate) async fn charge(call: &Call, new: &Value, old: Option<&Value>, dry_run: bool) -> Result<(), Status> {
    resource_quota::charge(call, new, old, dry_run).await
}
