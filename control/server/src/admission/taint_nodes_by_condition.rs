//! TaintNodesByCondition: a node that just registered takes no pods until it is known to be ready.

use api::read;
use serde_json::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Taints a new node; the node controller takes the taint off.
pub(super) fn admit(node: &mut Value) {
    let taints = read::list(node, "/spec/taints");
    let is_ours =
        |taint: &Value| read::text(taint, "/key") == NOT_READY && read::text(taint, "/effect") == "NoSchedule";
    if taints.iter().any(is_ours) {
        return;
    }
    let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
    let all: Vec<Value> = taints.iter().cloned().chain([taint]).collect();
    if let Some(spec) = read::map_mut(node, "spec") {
        spec.insert("taints".to_owned(), all.into());
    }
}
