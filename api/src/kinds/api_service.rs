//! APIService: who serves a group and version. Those without a `service` are served by this server itself.

use crate::{
    at::root,
    field::FieldError,
    kind::{Column, Context, Kind, Subresource},
    metadata, names,
    read::{flag, list, set_default, some, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

const GROUP: &str = "apiregistration.k8s.io";

/// `apiregistration.k8s.io/v1` APIService.
pub struct ApiService;

/// Priorities of built-in group-versions: of the group, of the version (kube-aggregator `apiVersionPriorities`).
const PRIORITIES: [(&str, &str, i64, i64); 22] = [
    ("", "v1", 18_000, 1),
    ("apps", "v1", 17_800, 15),
    ("events.k8s.io", "v1", 17_750, 15),
    ("authentication.k8s.io", "v1", 17_700, 15),
    ("authorization.k8s.io", "v1", 17_600, 15),
    ("autoscaling", "v1", 17_500, 15),
    ("autoscaling", "v2", 17_500, 30),
    ("batch", "v1", 17_400, 15),
    ("certificates.k8s.io", "v1", 17_300, 15),
    ("networking.k8s.io", "v1", 17_200, 15),
    ("policy", "v1", 17_100, 15),
    ("rbac.authorization.k8s.io", "v1", 17_000, 15),
    ("storage.k8s.io", "v1", 16_800, 15),
    ("apiextensions.k8s.io", "v1", 16_700, 15),
    ("admissionregistration.k8s.io", "v1", 16_700, 15),
    ("scheduling.k8s.io", "v1", 16_600, 15),
    ("coordination.k8s.io", "v1", 16_500, 15),
    ("node.k8s.io", "v1", 16_300, 15),
    ("discovery.k8s.io", "v1", 16_200, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16_100, 21),
    ("resource.k8s.io", "v1", 15_900, 15),
    ("metrics.k8s.io", "v1beta1", 100, 100),
];

/// The object for a group-version that is built in; none for one that is not registered so (this group itself).
pub fn local(group: &str, version: &str) -> Option<Value> {
    let known = PRIORITIES.iter().find(|(g, v, ..)| (*g, *v) == (group, version));
    let (.., minimum, priority) = known?;
    let mut spec = json!({ "version": version, "groupPriorityMinimum": minimum, "versionPriority": priority });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    Some(json!({
        "metadata": {
            "name": format!("{version}.{group}"),
            "labels": { "kube-aggregator.kubernetes.io/automanaged": "onstart" },
        },
        "spec": spec,
    }))
}

impl Kind for ApiService {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "APIService";
    const PLURAL: &'static str = "apiservices";
    const SINGULAR: &'static str = "apiservice";
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status(GROUP, "v1", "APIService")];
    const KEY: &'static str = "apiservices";
    const UNCONDITIONAL_UPDATE: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow(
            "Service",
            "string",
            "The reference to the service that hosts this API endpoint.",
        ),
        Column::narrow("Available", "string", "Whether this service is available."),
        Column::AGE,
    ];
    type Object = k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

    fn check_name(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn default(service: &mut Value) {
        crate::at::some_mut(service, "/spec/service", |reference| {
            set_default(reference, "port", 443)
        });
    }

    fn before_create(service: &mut Value, context: &Context<'_>) {
        // What this server serves itself is available from the start.
        if some(service, "/spec/service").is_none() {
            let available = json!({
                "type": "Available", "status": "True", "reason": "Local", "lastTransitionTime": context.now,
                "message": "Local APIServices are always available",
            });
            service["status"] = json!({ "conditions": [available] });
        }
    }

    fn validate(service: &Value) -> Vec<FieldError> {
        let spec = root(service).child("spec");
        let (group, version) = (spec.text("group"), spec.text("version"));
        let mut errors = Vec::new();
        let name = metadata::name(service);
        let required = format!("{version}.{group}");
        if name != required {
            let why = format!("must be `spec.version+\".\"+spec.group`: {required:?}");
            errors.push(FieldError::invalid("metadata.name", name, why));
        }
        if group.is_empty() && version != "v1" {
            let why = "only v1 may have an empty group and it better be legacy kube";
            errors.push(spec.required("group", why));
        }
        if !group.is_empty() {
            errors.extend(spec.invalid("group", names::dns1123_subdomain(group)));
        }
        errors.extend(spec.invalid_text("version", names::dns1035_label(version)));
        for (member, limit) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
            if !(1..=limit).contains(&spec.int(member)) {
                let why = format!("must be positive and less than {limit}");
                errors.push(FieldError::invalid(spec.path(member), spec.int(member), why));
            }
        }
        errors.extend(backend(service));
        errors
    }

    fn validate_update(new: &Value, _old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return status(new);
        }
        Self::validate(new)
    }

    fn row(service: &Value, now: Timestamp) -> Vec<Value> {
        let reference = some(service, "/spec/service").map_or_else(
            || "Local".to_owned(),
            |reference| format!("{}/{}", text(reference, "/namespace"), text(reference, "/name")),
        );
        let mut conditions = list(service, "/status/conditions").iter();
        let available = conditions.find(|c| text(c, "/type") == "Available");
        let shown = available.map_or_else(
            || "Unknown".to_owned(),
            |condition| match text(condition, "/status") {
                "True" => "True".to_owned(),
                other => format!("{other} ({})", text(condition, "/reason")),
            },
        );
        vec![
            metadata::name(service).into(),
            reference.into(),
            shown.into(),
            metadata::age(service, now).into(),
        ]
    }
}

fn backend(service: &Value) -> Vec<FieldError> {
    let spec = root(service).child("spec");
    let (insecure, bundle) = (flag(service, "/spec/insecureSkipTLSVerify"), spec.text("caBundle"));
    let mut errors = Vec::new();
    let Some(reference) = spec.some("service") else {
        if !bundle.is_empty() {
            let size = format!("{} bytes", bundle.len());
            let why = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(spec.path("caBundle"), size, why));
        }
        if insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.extend(spec.invalid("insecureSkipTLSVerify", [why]));
        }
        return errors;
    };
    for member in ["namespace", "name"] {
        if reference.text(member).is_empty() {
            errors.push(reference.required(member, ""));
        }
    }
    if !names::port(reference.int("port")).is_empty() {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        errors.extend(reference.invalid("port", [why]));
    }
    if insecure && !bundle.is_empty() {
        errors.extend(spec.invalid("insecureSkipTLSVerify", ["may not be true if caBundle is present"]));
    }
    errors
}

fn status(service: &Value) -> Vec<FieldError> {
    let (mut errors, mut seen) = (Vec::new(), std::collections::HashSet::new());
    for condition in root(service).child("status").items("conditions") {
        errors.extend(condition.must_be_one_of("status", &["False", "True", "Unknown"]));
        if !seen.insert(condition.text("type")) {
            errors.push(FieldError::duplicate(condition.path("type"), condition.text("type")));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_registered() {
        for rules in crate::KINDS.iter().filter(|rules| rules.group != GROUP) {
            let object = local(rules.group, rules.version);
            assert!(object.is_some(), "{}/{}", rules.group, rules.version);
        }
        let rules = crate::find(GROUP, "v1", "apiservices").expect("apiservices are served");
        for (group, version, ..) in PRIORITIES {
            let mut object = local(group, version).expect("it is in the table");
            rules.default(&mut object);
            assert_eq!(rules.validate(&object), []);
        }
    }

    #[test]
    fn services_are_judged_and_shown_as_upstream() {
        let service = |name: &str, spec: Value| json!({ "metadata": { "name": name }, "spec": spec });
        let remote = json!({ "group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1, "service": { "name": "s", "namespace": "n", "port": 443 } });
        let good = service("v1.a.b", remote.clone());
        assert_eq!(ApiService::validate(&good), []);
        let row = ApiService::row(&good, Timestamp::UNIX_EPOCH);
        assert_eq!(Value::from(row[1..3].to_vec()), json!(["n/s", "Unknown"]));
        let errors = ApiService::validate(&service("x", remote));
        assert_eq!(
            errors[0].to_string(),
            "metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.a.b\""
        );
        let local = json!({ "group": "a.b", "version": "v1", "groupPriorityMinimum": 0, "versionPriority": 1, "insecureSkipTLSVerify": true });
        let fields: Vec<String> = ApiService::validate(&service("v1.a.b", local))
            .iter()
            .map(|e| e.field.clone())
            .collect();
        assert_eq!(fields, ["spec.groupPriorityMinimum", "spec.insecureSkipTLSVerify"]);
    }
}
