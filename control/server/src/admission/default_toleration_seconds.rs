//! DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise.

use api::read;
use api::tolerations::{LOST, LOST_SECONDS};
use serde_json::{Value, json};

pub(super) fn admit(pod: &mut Value) {
    for taint in LOST {
        let tolerated = read::list(pod, "/spec/tolerations").iter().any(|toleration| {
            let (key, effect) = (read::text(toleration, "/key"), read::text(toleration, "/effect"));
            (key == taint || key.is_empty()) && matches!(effect, "NoExecute" | "")
        });
        if tolerated {
            continue;
        }
        let toleration =
            json!({ "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST_SECONDS });
        let list = read::map_mut(pod, "spec").map(|spec| spec.entry("tolerations").or_insert(Value::Null));
        match list {
            Some(Value::Array(list)) => list.push(toleration),
            Some(other) if other.is_null() => *other = json!([toleration]),
            Some(_) | None => {}
        }
    }
}
