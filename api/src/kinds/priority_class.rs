//! PriorityClass: a name for a pod's priority.

use crate::{
    at::root,
    field::FieldError,
    kind::{Column, Context, Kind},
    metadata,
    read::{self, flag, int, text},
};
use jiff::Timestamp;
use serde_json::Value;

/// The classes that every cluster has: name and value.
pub const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

/// The highest priority that people may give.
const HIGHEST: i64 = 1_000_000_000;
const POLICIES: &[&str] = &["Never", "PreemptLowerPriority"];

/// `scheduling.k8s.io/v1` PriorityClass.
pub struct PriorityClass;

impl Kind for PriorityClass {
    const GROUP: &'static str = "scheduling.k8s.io";
    const KIND: &'static str = "PriorityClass";
    const PLURAL: &'static str = "priorityclasses";
    const SINGULAR: &'static str = "priorityclass";
    const SHORT_NAMES: &'static [&'static str] = &["pc"];
    const NAMESPACED: bool = false;
    const KEY: &'static str = "priorityclasses";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Value", "integer", "The priority of its pods."),
        Column::narrow("Global-Default", "boolean", "Whether pods without a class get it."),
        Column::AGE,
        Column::narrow("PreemptionPolicy", "string", "Whether its pods may drive out others."),
    ];
    type Object = k8s_openapi::api::scheduling::v1::PriorityClass;

    fn default(class: &mut Value) {
        read::set_default(class, "value", 0);
        read::set_default(class, "preemptionPolicy", "PreemptLowerPriority");
    }

    fn before_create(class: &mut Value, _context: &Context<'_>) {
        // Set once and, unlike elsewhere, never counted on.
        class["metadata"]["generation"] = 1.into();
    }

    fn validate(class: &Value) -> Vec<FieldError> {
        let at = root(class);
        let mut errors = Vec::new();
        if metadata::name(class).starts_with("system-") {
            errors.extend(not_of_the_system(class));
        } else if at.int("value") > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.push(at.forbidden("value", why));
        }
        errors.extend(at.one_of("preemptionPolicy", POLICIES));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let at = root(new);
        let mut errors = Vec::new();
        if at.int("value") != int(old, "/value") {
            errors.push(at.forbidden("value", "may not be changed in an update."));
        }
        errors.extend(at.immutable(old, "preemptionPolicy"));
        errors
    }

    fn row(class: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(class).into(),
            int(class, "/value").into(),
            flag(class, "/globalDefault").into(),
            metadata::age(class, now).into(),
            text(class, "/preemptionPolicy").into(),
        ]
    }
}

fn not_of_the_system(class: &Value) -> Option<FieldError> {
    let name = metadata::name(class);
    let why = match SYSTEM.iter().find(|(known, ..)| *known == name) {
        None => format!("{name} is not a known system priority class"),
        Some((_, value, _)) if *value != int(class, "/value") => {
            format!("value of {name} PriorityClass must be {value}")
        }
        Some(_) if flag(class, "/globalDefault") => format!("globalDefault of {name} PriorityClass must be false"),
        Some(_) => return None,
    };
    let why = format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}");
    Some(FieldError::forbidden("metadata.name", why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes_are_judged_as_upstream() {
        let class = |name: &str, value: i64| json!({ "metadata": { "name": name }, "value": value });
        for (class, message) in [
            (class("a", 5), None),
            (class("system-node-critical", 2_000_001_000), None),
            (
                class("a", HIGHEST + 1),
                Some("value: Forbidden: maximum allowed value of a user defined priority is 1000000000"),
            ),
            (
                class("system-x", 1),
                Some(
                    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class",
                ),
            ),
        ] {
            let first = PriorityClass::validate(&class).first().map(ToString::to_string);
            assert_eq!(first.as_deref(), message, "{class}");
        }
    }

    #[test]
    fn value_and_policy_stay() {
        let class = |value: i64, policy: &str| json!({ "value": value, "preemptionPolicy": policy });
        let errors = PriorityClass::validate_update(&class(2, "Never"), &class(1, "PreemptLowerPriority"), "");
        let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "value: Forbidden: may not be changed in an update.",
                "preemptionPolicy: Invalid value: \"Never\": field is immutable",
            ]
        );
    }
}
