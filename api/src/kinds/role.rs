//! Role: what may be done in one namespace. The checks of its rules serve ClusterRole too.

use crate::{
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{list, text},
};
use jiff::Timestamp;
use serde_json::Value;

/// The group of all four kinds of RBAC.
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

/// Upstream prints roles by the default converter: a time instead of an age.
pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column {
        name: "Created At",
        kind: "date",
        format: "",
        description: "When the server made it, RFC 3339 in UTC.",
        priority: 0,
    },
];

/// `rbac.authorization.k8s.io/v1` Role.
pub struct Role;

impl Kind for Role {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "Role";
    const PLURAL: &'static str = "roles";
    const SINGULAR: &'static str = "role";
    // One prefix for all four kinds, so that the authorizer follows them by one watch.
    const KEY: &'static str = "rbac/roles";
    const CREATE_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;
    type Object = k8s_openapi::api::rbac::v1::Role;

    fn check_name(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(role: &Value) -> Vec<FieldError> {
        rules(role, true)
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        rules(new, true)
    }

    fn row(role: &Value, _now: Timestamp) -> Vec<Value> {
        row(role)
    }
}

/// Name and time of creation.
pub(super) fn row(role: &Value) -> Vec<Value> {
    vec![
        metadata::name(role).into(),
        text(role, "/metadata/creationTimestamp").into(),
    ]
}

/// What is wrong with a role's rules (upstream `ValidatePolicyRule`).
pub(super) fn rules(role: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, rule) in list(role, "/rules").iter().enumerate() {
        judge(rule, &format!("rules[{index}]"), namespaced, &mut errors);
    }
    errors
}

fn judge(rule: &Value, path: &str, namespaced: bool, errors: &mut Vec<FieldError>) {
    let [verbs, groups, resources, named, urls] =
        ["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"]
            .map(|member| list(rule, &format!("/{member}")));
    if verbs.is_empty() {
        errors.push(FieldError::required(
            format!("{path}.verbs"),
            "verbs must contain at least one value",
        ));
    }
    if !urls.is_empty() {
        let field = format!("{path}.nonResourceURLs");
        let wrong = |why: &str| FieldError::invalid(&field, urls.to_vec(), why);
        if namespaced {
            errors.push(wrong("namespaced rules cannot apply to non-resource URLs"));
        }
        if !(groups.is_empty() && resources.is_empty() && named.is_empty()) {
            errors.push(wrong(
                "rules cannot apply to both regular resources and non-resource URLs",
            ));
        }
        return;
    }
    if groups.is_empty() {
        errors.push(FieldError::required(
            format!("{path}.apiGroups"),
            "resource rules must supply at least one api group",
        ));
    }
    if resources.is_empty() {
        errors.push(FieldError::required(
            format!("{path}.resources"),
            "resource rules must supply at least one resource",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_judged_as_upstream_does() {
        for (rule, namespaced, expected) in [
            (
                json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }),
                true,
                vec![],
            ),
            (
                json!({ "apiGroups": [""], "resources": ["pods"] }),
                true,
                vec!["rules[0].verbs: Required value: verbs must contain at least one value"],
            ),
            (
                json!({ "verbs": ["get"] }),
                true,
                vec![
                    "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                    "rules[0].resources: Required value: resource rules must supply at least one resource",
                ],
            ),
            (json!({ "verbs": ["get"], "nonResourceURLs": ["/a"] }), false, vec![]),
            (
                json!({ "verbs": ["get"], "nonResourceURLs": ["/a"] }),
                true,
                vec![
                    "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: namespaced rules cannot apply to non-resource URLs",
                ],
            ),
        ] {
            let messages: Vec<String> = rules(&json!({ "rules": [rule] }), namespaced)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, expected);
        }
    }
}
