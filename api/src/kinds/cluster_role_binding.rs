//! ClusterRoleBinding: who holds a ClusterRole everywhere.

use super::{role, role_binding};
use crate::{
    field::FieldError,
    kind::{Column, Kind},
    names,
};
use jiff::Timestamp;
use serde_json::Value;

/// `rbac.authorization.k8s.io/v1` ClusterRoleBinding.
pub struct ClusterRoleBinding;

impl Kind for ClusterRoleBinding {
    const GROUP: &'static str = role::GROUP;
    const KIND: &'static str = "ClusterRoleBinding";
    const PLURAL: &'static str = "clusterrolebindings";
    const SINGULAR: &'static str = "clusterrolebinding";
    const NAMESPACED: bool = false;
    const KEY: &'static str = "rbac/clusterrolebindings";
    const CREATE_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = role_binding::COLUMNS;
    type Object = k8s_openapi::api::rbac::v1::ClusterRoleBinding;

    fn check_name(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn default(binding: &mut Value) {
        role_binding::default(binding);
    }

    fn validate(binding: &Value) -> Vec<FieldError> {
        role_binding::validate(binding, false)
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        role_binding::validate_update(new, old, false)
    }

    fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
        role_binding::row(binding, now)
    }
}
