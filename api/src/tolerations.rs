//! Whether a pod tolerates a taint: the scheduler, the node and the controllers that taint and evict must say the same.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Keys of the taints of a node that was lost, it saying so or it saying nothing. Who is given nothing else tolerates them for
/// [`LOST_SECONDS`].
pub const LOST: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// Upstream's default of `--default-not-ready-toleration-seconds` and its sibling.
pub const LOST_SECONDS: i64 = 300;

/// Upstream's `ToleratesTaint`.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    let same_value = || text(&toleration.value) == text(&taint.value);
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() || key == taint.key)
        && match text(&toleration.operator) {
            "Exists" => true,
            "" | "Equal" => !key.is_empty() && same_value(),
            // The API server stores no other.
            _ => false,
        }
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn key_value_and_effect_must_fit_where_they_are_given() {
        let taint: Taint = serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoExecute"})).unwrap();
        let table = [
            (json!({"operator": "Exists"}), true),
            (json!({"operator": "Exists", "effect": "NoSchedule"}), false),
            (json!({"operator": "Exists", "key": "k"}), true),
            (json!({"operator": "Exists", "key": "other"}), false),
            (json!({"key": "k", "value": "v"}), true),
            (
                json!({"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute"}),
                true,
            ),
            (json!({"key": "k"}), false),
            (json!({"key": "k", "value": "other"}), false),
            (json!({"value": "v"}), false),
            (json!({"key": "k", "operator": "Lt", "value": "v"}), false),
        ];
        for (toleration, expected) in table {
            let given = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(tolerates(&given, &taint), expected, "{toleration}");
        }
    }
}
