//! What is asked of a write besides its kind's rules, by plugins in upstream's order and under upstream's names.

mod certificate;
mod default_toleration_seconds;
mod escalation;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod service_account;

use crate::call::Call;
use api::status::Status;
use serde_json::Value;

/// Fills in what the cluster decides. `old` is none for a create.
pub(crate) fn mutate(call: &Call, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    certificate::own(call, object, old);
    let is_pod = call.rules.key == "pods" && call.subresource.is_empty();
    if !is_pod {
        return Ok(());
    }
    if old.is_none() {
        service_account::admit(object);
        priority::admit(call, object)?;
    }
    // On updates too: an applied manifest names only its own tolerations, and none may go.
    default_toleration_seconds::admit(object);
    Ok(())
}

/// Refuses what the cluster forbids. `object` is none for a delete, `old` for a create.
pub(crate) fn validate(call: &Call, object: Option<&Value>, old: Option<&Value>) -> Result<(), Status> {
    namespace_lifecycle::admit(call, object, old)?;
    node_restriction::admit(call, object, old)?;
    certificate::admit(call, object, old)?;
    escalation::admit(call, object, old)
}
