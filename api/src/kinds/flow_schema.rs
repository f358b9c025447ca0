//! FlowSchema: which requests belong to which priority level.

use crate::{
    at::{At, root},
    field::FieldError,
    kind::{Column, Kind, Subresource},
    metadata, names,
    read::{self, int, list, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Where a schema stands that does not say it.
const PRECEDENCE: i64 = 1000;
const PRECEDENCE_MAX: i64 = 10_000;
const METHODS: &[&str] = &["ByNamespace", "ByUser"];
const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

/// `flowcontrol.apiserver.k8s.io/v1` FlowSchema.
pub struct FlowSchema;

impl Kind for FlowSchema {
    const GROUP: &'static str = "flowcontrol.apiserver.k8s.io";
    const KIND: &'static str = "FlowSchema";
    const PLURAL: &'static str = "flowschemas";
    const SINGULAR: &'static str = "flowschema";
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] =
        &[Subresource::status("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema")];
    const KEY: &'static str = "flowschemas";
    const STATUS_RESETS: &'static [&'static str] = &["spec", "metadata"];
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("PriorityLevel", "string", "The priority level of its requests."),
        Column::narrow(
            "MatchingPrecedence",
            "string",
            "Its place: the lowest that matches counts.",
        ),
        Column::narrow("DistinguisherMethod", "string", "What makes a flow."),
        Column::AGE,
        Column::narrow(
            "MissingPL",
            "string",
            "references a broken or non-existent PriorityLevelConfiguration",
        ),
    ];
    type Object = k8s_openapi::api::flowcontrol::v1::FlowSchema;

    fn default(schema: &mut Value) {
        read::set_default(schema, "spec", json!({}));
        if int(schema, "/spec/matchingPrecedence") == 0 {
            schema["spec"]["matchingPrecedence"] = PRECEDENCE.into();
        }
    }

    fn validate(schema: &Value) -> Vec<FieldError> {
        let at = root(schema);
        let name = metadata::name(schema);
        let spec = at.child("spec");
        let mut errors = precedence(&spec, name);
        let method = spec.child("distinguisherMethod");
        if spec.has("distinguisherMethod") && !METHODS.contains(&method.text("type")) {
            let given = method.value.clone();
            errors.push(FieldError::not_supported(method.path("type"), given, METHODS));
        }
        let level = spec.child("priorityLevelConfiguration");
        match level.text("name") {
            "" => errors.push(level.required("name", "must reference a priority level")),
            name => errors.extend(level.invalid("name", names::dns1123_subdomain(name))),
        }
        spec.items("rules").iter().for_each(|at| rule(at, &mut errors));
        if let Some(mandatory) = super::flow_control::mandatory_schema(name)
            && mandatory["spec"] != schema["spec"]
        {
            let why = format!("spec of '{name}' must equal the fixed value");
            errors.extend(at.invalid("spec", [why]));
        }
        errors.extend(conditions(&at));
        errors
    }

    fn validate_update(new: &Value, _old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return conditions(&root(new));
        }
        Self::validate(new)
    }

    fn row(schema: &Value, now: Timestamp) -> Vec<Value> {
        let method = text(schema, "/spec/distinguisherMethod/type");
        let mut all = list(schema, "/status/conditions").iter();
        let dangling = all.find(|c| text(c, "/type") == "Dangling").map(|c| text(c, "/status"));
        vec![
            metadata::name(schema).into(),
            text(schema, "/spec/priorityLevelConfiguration/name").into(),
            int(schema, "/spec/matchingPrecedence").into(),
            if method.is_empty() { "<none>" } else { method }.into(),
            metadata::age(schema, now).into(),
            dangling.unwrap_or("?").into(),
        ]
    }
}

fn precedence(spec: &At<'_>, name: &str) -> Vec<FieldError> {
    let precedence = spec.int("matchingPrecedence");
    let mut wrong = Vec::new();
    if precedence <= 0 {
        wrong.push("must be a positive value".to_owned());
    }
    if precedence > PRECEDENCE_MAX {
        wrong.push(format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if precedence == 1 && name != "exempt" {
        wrong.push("only the schema named 'exempt' may have matchingPrecedence 1".to_owned());
    }
    spec.invalid("matchingPrecedence", wrong)
}

fn rule(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let subjects = at.items("subjects");
    if subjects.is_empty() {
        errors.push(at.required("subjects", "subjects must contain at least one value"));
    }
    subjects.iter().for_each(|at| subject(at, errors));
    let (resources, others) = (at.items("resourceRules"), at.items("nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(at.required("", why));
    }
    resources.iter().for_each(|at| resource_rule(at, errors));
    for at in &others {
        verbs(at, errors);
        let urls = "nonResourceURLs must contain at least one value";
        if listed(at, "nonResourceURLs", urls, "other non-resource URLs", errors) {
            for url in at.items("nonResourceURLs") {
                errors.extend(url.invalid("", bad_url(url.as_text())));
            }
        }
    }
}

fn subject(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let kinds = [
        ("Group", "group"),
        ("ServiceAccount", "serviceAccount"),
        ("User", "user"),
    ];
    let kind = at.text("kind");
    if !kinds.iter().any(|(known, _)| *known == kind) {
        let known = kinds.map(|(known, _)| known);
        errors.push(FieldError::not_supported(at.path("kind"), kind, &known));
        return;
    }
    for (of, member) in kinds {
        match (of == kind, at.some(member)) {
            (true, None) => {
                let why = format!("{member} is required when subject kind is '{of}'");
                errors.push(at.required(member, why));
            }
            (false, Some(_)) => {
                let why = format!("{member} is forbidden when subject kind is not '{of}'");
                errors.push(at.forbidden(member, why));
            }
            (true, Some(who)) => named(&who, of, errors),
            (false, None) => {}
        }
    }
}

fn named(who: &At<'_>, kind: &str, errors: &mut Vec<FieldError>) {
    let name = who.text("name");
    if name.is_empty() {
        errors.push(who.required("name", ""));
    }
    if kind != "ServiceAccount" {
        return;
    }
    if !matches!(name, "" | "*") {
        errors.extend(who.invalid("name", names::dns1123_subdomain(name)));
    }
    match who.text("namespace") {
        "" => errors.push(who.required("namespace", "must specify namespace for service account")),
        namespace => errors.extend(who.invalid("namespace", names::dns1123_label(namespace))),
    }
}

fn resource_rule(at: &At<'_>, errors: &mut Vec<FieldError>) {
    verbs(at, errors);
    let groups = "resource rules must supply at least one api group";
    listed(at, "apiGroups", groups, "other api groups", errors);
    let resources = "resource rules must supply at least one resource";
    listed(at, "resources", resources, "other resources", errors);
    let whole_cluster = at.value.get("clusterScope").is_some_and(|v| v == true);
    if at.items("namespaces").is_empty() && whole_cluster {
        return;
    }
    let namespaces = "resource rules that are not cluster scoped must supply at least one namespace";
    if listed(at, "namespaces", namespaces, "other namespaces", errors) {
        for namespace in at.items("namespaces") {
            let wrong = names::dns1123_label(namespace.as_text()).into_iter();
            let intro = "each member of this list must be '*' or a DNS-1123 label; ";
            errors.extend(namespace.invalid("", wrong.map(|m| format!("{intro}{m}"))));
        }
    }
}

fn verbs(at: &At<'_>, errors: &mut Vec<FieldError>) {
    if listed(
        at,
        "verbs",
        "verbs must contain at least one value",
        "other verbs",
        errors,
    ) {
        let all = at.items("verbs");
        if !all.iter().all(|verb| VERBS.contains(&verb.as_text())) {
            let given = at.child("verbs").value.clone();
            errors.push(FieldError::not_supported(at.path("verbs"), given, VERBS));
        }
    }
}

/// A list must have something in it, and `*` only alone. Answers whether it has items without `*`.
fn listed(at: &At<'_>, key: &str, empty: &str, others: &str, errors: &mut Vec<FieldError>) -> bool {
    let all = at.items(key);
    let star = all.iter().any(|item| item.as_text() == "*");
    if all.is_empty() {
        errors.push(at.required(key, empty));
    } else if star && all.len() > 1 {
        errors.extend(at.invalid(key, [format!("if '*' is present, must not specify {others}")]));
    }
    !all.is_empty() && !star
}

fn bad_url(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || stars == 1 && !url.ends_with("/*") => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

/// What is wrong with the conditions of this group's kinds, which are older than everyone's.
pub(super) fn conditions(object: &At<'_>) -> Vec<FieldError> {
    let (mut errors, mut types) = (Vec::new(), HashSet::new());
    for condition in object.child("status").items("conditions") {
        let kind = condition.text("type");
        if !types.insert(kind) {
            errors.push(FieldError::duplicate(condition.path("type"), kind));
        }
        if kind.is_empty() {
            errors.push(condition.required("type", "must not be empty"));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(rules: Value) -> Value {
        json!({ "metadata": { "name": "s" }, "spec": {
            "matchingPrecedence": 5, "priorityLevelConfiguration": { "name": "l" }, "rules": rules } })
    }

    fn messages(schema: &Value) -> Vec<String> {
        FlowSchema::validate(schema).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn schemas_are_judged_as_upstream() {
        let user = json!([{ "kind": "User", "user": { "name": "u" } }]);
        let rule = json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"] });
        assert_eq!(
            messages(&schema(json!([{ "subjects": user, "resourceRules": [rule] }]))),
            Vec::<String>::new()
        );
        let at = "spec.rules[0]";
        for (rule, message) in [
            (
                json!({ "subjects": user }),
                format!("{at}: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"),
            ),
            (
                json!({ "subjects": [], "resourceRules": [rule] }),
                format!("{at}.subjects: Required value: subjects must contain at least one value"),
            ),
            (
                json!({ "subjects": [{ "kind": "User", "group": { "name": "g" } }], "resourceRules": [rule] }),
                format!("{at}.subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'"),
            ),
            (
                json!({ "subjects": user, "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": ["x"] }] }),
                format!("{at}.nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"x\": must start with slash"),
            ),
        ] {
            assert_eq!(messages(&schema(json!([rule])))[0], message);
        }
        let mut first = schema(json!([]));
        first["spec"]["matchingPrecedence"] = 1.into();
        assert_eq!(
            messages(&first),
            ["spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"]
        );
    }

    #[test]
    fn the_mandatory_ones_stay() {
        let mut exempt = schema(json!([]));
        exempt["metadata"]["name"] = "exempt".into();
        let all = messages(&exempt);
        assert!(
            all[0].ends_with("spec of 'exempt' must equal the fixed value"),
            "{all:?}"
        );
    }
}
