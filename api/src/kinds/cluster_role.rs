//! ClusterRole: what may be done anywhere, or in whatever namespace a RoleBinding grants it.

use super::role;
use crate::{
    at::At,
    field::FieldError,
    kind::{Column, Kind},
    names,
    read::{list, some},
    selector,
};
use jiff::Timestamp;
use serde_json::Value;

/// `rbac.authorization.k8s.io/v1` ClusterRole.
pub struct ClusterRole;

impl Kind for ClusterRole {
    const GROUP: &'static str = role::GROUP;
    const KIND: &'static str = "ClusterRole";
    const PLURAL: &'static str = "clusterroles";
    const SINGULAR: &'static str = "clusterrole";
    const NAMESPACED: bool = false;
    const KEY: &'static str = "rbac/clusterroles";
    const CREATE_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = role::COLUMNS;
    type Object = k8s_openapi::api::rbac::v1::ClusterRole;

    fn check_name(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(role: &Value) -> Vec<FieldError> {
        let mut errors = role::rules(role, false);
        if some(role, "/aggregationRule").is_none() {
            return errors;
        }
        let field = "aggregationRule.clusterRoleSelectors";
        let selectors = list(role, "/aggregationRule/clusterRoleSelectors");
        if selectors.is_empty() {
            errors.push(FieldError::required(
                field,
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            ));
        }
        for (index, chosen) in selectors.iter().enumerate() {
            errors.extend(selector::check(&At::new(chosen, format!("{field}[{index}]"))));
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
    }

    fn row(role: &Value, _now: Timestamp) -> Vec<Value> {
        role::row(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_aggregation_needs_selectors() {
        let errors = ClusterRole::validate(&json!({ "aggregationRule": {} }));
        assert_eq!(
            errors[0].to_string(),
            "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"
        );
        let chosen = json!({ "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { "a": "b" } }] } });
        assert!(ClusterRole::validate(&chosen).is_empty());
    }
}
