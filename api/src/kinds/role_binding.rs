//! RoleBinding: who holds a role in one namespace. The checks of its parts serve ClusterRoleBinding too.

use super::role::GROUP;
use crate::{
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{self, list, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::narrow("Role", "string", "The role that is granted."),
    Column::AGE,
    Column::wide("Users", "string", "Users that hold the role."),
    Column::wide("Groups", "string", "Groups that hold the role."),
    Column::wide("ServiceAccounts", "string", "Service accounts that hold the role."),
];

/// `rbac.authorization.k8s.io/v1` RoleBinding.
pub struct RoleBinding;

impl Kind for RoleBinding {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "RoleBinding";
    const PLURAL: &'static str = "rolebindings";
    const SINGULAR: &'static str = "rolebinding";
    const KEY: &'static str = "rbac/rolebindings";
    const CREATE_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;
    type Object = k8s_openapi::api::rbac::v1::RoleBinding;

    fn check_name(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn default(binding: &mut Value) {
        default(binding);
    }

    fn validate(binding: &Value) -> Vec<FieldError> {
        validate(binding, true)
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        validate_update(new, old, true)
    }

    fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
        row(binding, now)
    }
}

/// The API groups that go without saying (upstream `SetDefaults_RoleBinding`, `SetDefaults_Subject`).
pub(super) fn default(binding: &mut Value) {
    if let Some(reference) = binding.get_mut("roleRef").filter(|r| r.is_object()) {
        read::set_default_text(reference, "apiGroup", GROUP);
    }
    let subjects = binding.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten().filter(|s| s.is_object()) {
        if matches!(text(subject, "/kind"), "User" | "Group") {
            read::set_default_text(subject, "apiGroup", GROUP);
        }
    }
}

/// Upstream `ValidateRoleBinding` and `ValidateClusterRoleBinding`.
pub(super) fn validate(binding: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let of = |member: &str| text(binding, &format!("/roleRef/{member}"));
    if of("apiGroup") != GROUP {
        errors.push(FieldError::not_supported("roleRef.apiGroup", of("apiGroup"), &[GROUP]));
    }
    let kinds: &[&str] = if namespaced {
        &["ClusterRole", "Role"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&of("kind")) {
        errors.push(FieldError::not_supported("roleRef.kind", of("kind"), kinds));
    }
    if of("name").is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    } else {
        let wrong = names::path_segment(of("name"));
        errors.extend(
            wrong
                .into_iter()
                .map(|why| FieldError::invalid("roleRef.name", of("name"), why)),
        );
    }
    for (index, subject) in list(binding, "/subjects").iter().enumerate() {
        judge(subject, &format!("subjects[{index}]"), namespaced, &mut errors);
    }
    errors
}

/// Upstream `ValidateRoleBindingSubject`.
fn judge(subject: &Value, path: &str, namespaced: bool, errors: &mut Vec<FieldError>) {
    let [kind, group, name, namespace] =
        ["kind", "apiGroup", "name", "namespace"].map(|member| text(subject, &format!("/{member}")));
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let field = format!("{path}.apiGroup");
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                let wrong = names::dns1123_subdomain(name);
                errors.extend(
                    wrong
                        .into_iter()
                        .map(|why| FieldError::invalid(format!("{path}.name"), name, why)),
                );
            }
            if !group.is_empty() {
                errors.push(FieldError::not_supported(field, group, &[""]));
            }
            if !namespaced && namespace.is_empty() {
                errors.push(FieldError::required(format!("{path}.namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(FieldError::not_supported(field, group, &[GROUP]));
            }
        }
        _ => errors.push(FieldError::not_supported(
            format!("{path}.kind"),
            kind,
            &["Group", "ServiceAccount", "User"],
        )),
    }
}

/// A binding is of one role for good.
pub(super) fn validate_update(new: &Value, old: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = validate(new, namespaced);
    let of = |binding: &Value, member: &str| text(binding, &format!("/roleRef/{member}")).to_owned();
    if ["apiGroup", "kind", "name"]
        .iter()
        .any(|member| of(new, member) != of(old, member))
    {
        // Upstream shows its internal type, whose members have no JSON names.
        let shown = json!({ "APIGroup": of(new, "apiGroup"), "Kind": of(new, "kind"), "Name": of(new, "name") });
        errors.push(FieldError::invalid("roleRef", shown, "cannot change roleRef"));
    }
    errors
}

pub(super) fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let of_kind = list(binding, "/subjects").iter().filter(|s| text(s, "/kind") == kind);
        let named = of_kind.map(|s| match kind {
            "ServiceAccount" => format!("{}/{}", text(s, "/namespace"), text(s, "/name")),
            _ => text(s, "/name").to_owned(),
        });
        named.collect::<Vec<_>>().join(", ")
    };
    vec![
        metadata::name(binding).into(),
        format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name")).into(),
        metadata::age(binding, now).into(),
        subjects("User").into(),
        subjects("Group").into(),
        subjects("ServiceAccount").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn subjects_and_references_are_completed_and_judged() {
        let mut binding = json!({
            "roleRef": { "kind": "Role", "name": "r" },
            "subjects": [{ "kind": "User", "name": "u" }, { "kind": "ServiceAccount", "name": "s", "namespace": "n" }],
        });
        default(&mut binding);
        assert_eq!(binding["roleRef"]["apiGroup"], GROUP);
        assert_eq!(binding["subjects"][0]["apiGroup"], GROUP);
        assert_eq!(binding["subjects"][1].get("apiGroup"), None);
        assert!(validate(&binding, true).is_empty());
        assert_eq!(
            messages(&validate(&binding, false)),
            ["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""]
        );
        binding["subjects"] = json!([{ "kind": "Robot", "name": "" }]);
        assert_eq!(
            messages(&validate(&binding, true)),
            [
                "subjects[0].name: Required value",
                "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
            ]
        );
    }

    #[test]
    fn the_role_stays() {
        let binding = |name: &str| json!({ "roleRef": { "apiGroup": GROUP, "kind": "Role", "name": name } });
        assert!(validate_update(&binding("a"), &binding("a"), true).is_empty());
        assert_eq!(
            messages(&validate_update(&binding("b"), &binding("a"), true)),
            [
                "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"b\"}: cannot change roleRef"
            ]
        );
    }
}
