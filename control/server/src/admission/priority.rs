//! Priority: the number behind a pod's `priorityClassName`. Only the built-in classes exist yet.

use crate::call::Call;
use api::read;
use api::status::{self, Status};
use serde_json::Value;

pub(super) fn admit(call: &Call, pod: &mut Value) -> Result<(), Status> {
    let class = read::text(pod, "/spec/priorityClassName");
    let priority: i64 = match class {
        "" => 0,
        "system-cluster-critical" => 2_000_000_000,
        "system-node-critical" => 2_000_001_000,
        unknown => {
            let why = format!("no PriorityClass with name {unknown} was found");
            return Err(status::forbidden(&call.rules, api::metadata::name(pod), &why));
        }
    };
    if let Some(given) = read::some(pod, "/spec/priority")
        .and_then(Value::as_i64)
        .filter(|given| *given != priority)
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        );
        return Err(status::forbidden(&call.rules, api::metadata::name(pod), &why));
    }
    if let Some(spec) = read::map_mut(pod, "spec") {
        spec.insert("priority".to_owned(), priority.into());
        spec.entry("preemptionPolicy")
            .or_insert_with(|| "PreemptLowerPriority".into());
    }
    Ok(())
}
