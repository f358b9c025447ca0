//! Priority: the number behind a pod's `priorityClassName`, and only one class that pods have who name none.

use super::cluster;
use crate::call::Call;
use api::read;
use api::status::{self, Status};
use serde_json::{Value, json};

const GROUP: &str = "scheduling.k8s.io";

/// Gives a new pod its priority.
pub(super) fn admit(call: &Call, pod: &mut Value) -> Result<(), Status> {
    let refuse = |pod: &Value, why: String| Err(status::forbidden(&call.rules, api::metadata::name(pod), &why));
    let name = read::text(pod, "/spec/priorityClassName").to_owned();
    let class = match class(call, &name) {
        Some(class) => class,
        None if name.is_empty() => json!({"value": 0}),
        None => return refuse(pod, format!("no PriorityClass with name {name} was found")),
    };
    let priority = read::int(&class, "/value");
    if let Some(given) = read::some(pod, "/spec/priority")
        .and_then(Value::as_i64)
        .filter(|given| *given != priority)
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        );
        return refuse(pod, why);
    }
    let (policy, given) = (
        read::text(&class, "/preemptionPolicy"),
        read::text(pod, "/spec/preemptionPolicy"),
    );
    if !policy.is_empty() && !given.is_empty() && policy != given {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return refuse(pod, why);
    }
    let policy = [given, policy, "PreemptLowerPriority"]
        .into_iter()
        .find(|policy| !policy.is_empty());
    let policy = policy.unwrap_or_default().to_owned();
    if let Some(spec) = read::map_mut(pod, "spec") {
        let name = api::metadata::name(&class);
        if !name.is_empty() {
            spec.insert("priorityClassName".to_owned(), name.into());
        }
        spec.insert("priority".to_owned(), priority.into());
        spec.insert("preemptionPolicy".to_owned(), policy.into());
    }
    Ok(())
}

/// The class of that name, or, for none, the one for pods that name none: of several the lowest.
fn class(call: &Call, name: &str) -> Option<Value> {
    if name.is_empty() {
        let all = cluster::list(call, GROUP, "priorityclasses", "").into_iter();
        return all.filter(is_global).min_by_key(|class| read::int(class, "/value"));
    }
    let built_in = || match name {
        "system-cluster-critical" => Some(json!({"metadata": {"name": name}, "value": 2_000_000_000})),
        "system-node-critical" => Some(json!({"metadata": {"name": name}, "value": 2_000_001_000})),
        _ => None,
    };
    cluster::get(call, GROUP, "priorityclasses", "", name).or_else(built_in)
}

fn is_global(class: &Value) -> bool {
    read::flag(class, "/globalDefault")
}

/// Refuses a second class for pods that name none.
pub(super) fn validate_class(call: &Call, class: &Value) -> Result<(), Status> {
    let name = api::metadata::name(class);
    let all = cluster::list(call, GROUP, "priorityclasses", "");
    let other = all
        .iter()
        .find(|other| is_global(other) && api::metadata::name(other) != name);
    match other.filter(|_| is_global(class)) {
        Some(other) => {
            let other = api::metadata::name(other);
            let why = format!("PriorityClass {other} is already marked as default. Only one default can exist");
            Err(status::forbidden(&call.rules, name, &why))
        }
        None => Ok(()),
    }
}
