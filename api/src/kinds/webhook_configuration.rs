//! ValidatingWebhookConfiguration and MutatingWebhookConfiguration: whom the server asks about a write. One file, because the
//! second has one word more.

use super::admission_rules::{self, CATEGORIES, FAILURE_POLICIES, GROUP, MATCH_POLICIES, REINVOCATION_POLICIES};
use crate::{
    at::{At, each_mut, root, some_mut},
    field::FieldError,
    kind::{Column, Kind},
    metadata, names,
    read::{list, set_default},
    selector,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::narrow(
        "Webhooks",
        "integer",
        "Webhooks indicates the number of webhooks registered in this configuration",
    ),
    Column::AGE,
];

/// `admissionregistration.k8s.io/v1` ValidatingWebhookConfiguration.
pub struct Validating;

/// `admissionregistration.k8s.io/v1` MutatingWebhookConfiguration.
pub struct Mutating;

impl Kind for Validating {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "ValidatingWebhookConfiguration";
    const PLURAL: &'static str = "validatingwebhookconfigurations";
    const SINGULAR: &'static str = "validatingwebhookconfiguration";
    const CATEGORIES: &'static [&'static str] = CATEGORIES;
    const NAMESPACED: bool = false;
    const KEY: &'static str = "validatingwebhookconfigurations";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;
    type Object = k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;

    fn default(configuration: &mut Value) {
        each_mut(configuration, "/webhooks", default_hook);
    }

    fn validate(configuration: &Value) -> Vec<FieldError> {
        hooks(configuration, None)
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        hooks(new, Some(old))
    }

    fn row(configuration: &Value, now: Timestamp) -> Vec<Value> {
        row(configuration, now)
    }
}

impl Kind for Mutating {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "MutatingWebhookConfiguration";
    const PLURAL: &'static str = "mutatingwebhookconfigurations";
    const SINGULAR: &'static str = "mutatingwebhookconfiguration";
    const CATEGORIES: &'static [&'static str] = CATEGORIES;
    const NAMESPACED: bool = false;
    const KEY: &'static str = "mutatingwebhookconfigurations";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;
    type Object = k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;

    fn default(configuration: &mut Value) {
        each_mut(configuration, "/webhooks", |hook| {
            default_hook(hook);
            set_default(hook, "reinvocationPolicy", "Never");
        });
    }

    fn validate(configuration: &Value) -> Vec<FieldError> {
        hooks(configuration, None)
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        hooks(new, Some(old))
    }

    fn row(configuration: &Value, now: Timestamp) -> Vec<Value> {
        row(configuration, now)
    }
}

fn row(configuration: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        metadata::name(configuration).into(),
        list(configuration, "/webhooks").len().into(),
        metadata::age(configuration, now).into(),
    ]
}

fn default_hook(hook: &mut Value) {
    set_default(hook, "failurePolicy", "Fail");
    set_default(hook, "matchPolicy", "Equivalent");
    set_default(hook, "namespaceSelector", json!({}));
    set_default(hook, "objectSelector", json!({}));
    set_default(hook, "timeoutSeconds", 10);
    some_mut(hook, "/clientConfig/service", |service| {
        set_default(service, "port", 443)
    });
    admission_rules::default_rules(hook, "rules");
}

/// What older servers let through stays as it is.
struct Grandfathered {
    side_effects: bool,
    versions: bool,
    names: bool,
}

// === impl Grandfathered ===

impl Grandfathered {
    fn of(old: Option<&Value>) -> Self {
        let hooks = old.map_or(&[][..], |old| list(old, "/webhooks"));
        let at: Vec<At<'_>> = hooks.iter().map(root).collect();
        let versions = |hook: &At<'_>| {
            let all = hook.items("admissionReviewVersions");
            all.is_empty() || all.iter().any(|v| REVIEW_VERSIONS.contains(&v.as_text()))
        };
        let mut seen = HashSet::new();
        Self {
            side_effects: !at.iter().all(|hook| SIDE_EFFECTS.contains(&hook.text("sideEffects"))),
            versions: !at.iter().all(versions),
            names: !at.iter().all(|hook| seen.insert(hook.text("name"))),
        }
    }
}

fn hooks(configuration: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let may = Grandfathered::of(old);
    let (mut errors, mut seen) = (Vec::new(), HashSet::new());
    for hook in root(configuration).items("webhooks") {
        self::hook(&hook, &may, &mut errors);
        review_versions(&hook, &may, &mut errors);
        let name = hook.text("name");
        if !may.names && !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(hook.path("name"), name));
        }
    }
    errors
}

fn hook(at: &At<'_>, may: &Grandfathered, errors: &mut Vec<FieldError>) {
    match at.text("name") {
        "" => errors.push(at.required("name", "")),
        name => errors.extend(at.invalid("name", names::qualified_domain(name, 3))),
    }
    for rule in at.items("rules") {
        admission_rules::rule(&rule, errors);
    }
    errors.extend(at.one_of("failurePolicy", FAILURE_POLICIES));
    errors.extend(at.one_of("matchPolicy", MATCH_POLICIES));
    let older = ["None", "NoneOnDryRun", "Some", "Unknown"];
    let known = if may.side_effects { &older[..] } else { SIDE_EFFECTS };
    if at.has("sideEffects") {
        errors.extend(at.one_of("sideEffects", known));
    } else {
        errors.push(at.required("sideEffects", format!("must specify one of {}", known.join(", "))));
    }
    if at.has("timeoutSeconds") && !(1..=30).contains(&at.int("timeoutSeconds")) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.extend(at.invalid("timeoutSeconds", [why]));
    }
    for member in ["namespaceSelector", "objectSelector"] {
        errors.extend(at.some(member).iter().flat_map(selector::check));
    }
    errors.extend(at.one_of("reinvocationPolicy", REINVOCATION_POLICIES));
    client(at, errors);
    admission_rules::match_conditions(at, errors);
}

fn client(hook: &At<'_>, errors: &mut Vec<FieldError>) {
    let config = hook.child("clientConfig");
    match (config.has("url"), config.some("service")) {
        (true, None) => errors.extend(config.invalid("url", bad_url(config.text("url")))),
        (false, Some(service)) => {
            for member in ["name", "namespace"] {
                if service.text(member).is_empty() {
                    let why = format!("service {member} is required");
                    errors.push(service.required(member, why));
                }
            }
            if service.has("path") {
                errors.extend(service.invalid("path", bad_path(service.text("path"))));
            }
            if !names::port(service.int("port")).is_empty() {
                let why = "port is not valid: must be between 1 and 65535, inclusive";
                errors.extend(service.invalid("port", [why]));
            }
        }
        _ => errors.push(hook.required("clientConfig", "exactly one of url or service is required")),
    }
}

fn bad_url(url: &str) -> Vec<String> {
    let form = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, tail) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let mut wrong = Vec::new();
    if scheme != "https" {
        wrong.push(format!("'https' is the only allowed URL scheme{form}"));
    }
    if host.is_empty() {
        wrong.push(format!("host must be specified{form}"));
    }
    if host.contains('@') {
        wrong.push(format!("user information is not permitted in the URL{form}"));
    }
    if tail.contains('#') {
        wrong.push(format!("fragments are not permitted in the URL{form}"));
    }
    if tail.contains('?') {
        wrong.push(format!("query parameters are not permitted in the URL{form}"));
    }
    wrong
}

fn bad_path(path: &str) -> Vec<String> {
    if path.is_empty() || path == "/" {
        return Vec::new();
    }
    if path == "//" {
        return vec!["segment[0] may not be empty".to_owned()];
    }
    let mut wrong = Vec::new();
    if !path.starts_with('/') {
        wrong.push("must start with a '/'".to_owned());
    }
    let body = path.trim_start_matches('/');
    let body = body.strip_suffix('/').unwrap_or(body);
    for (index, segment) in body.split('/').enumerate() {
        if segment.is_empty() {
            wrong.push(format!("segment[{index}] may not be empty"));
        } else {
            let failures = names::dns1123_subdomain(segment).into_iter();
            wrong.extend(failures.map(|m| format!("segment[{index}]: {m}")));
        }
    }
    wrong
}

fn review_versions(hook: &At<'_>, may: &Grandfathered, errors: &mut Vec<FieldError>) {
    let all = hook.items("admissionReviewVersions");
    let known = REVIEW_VERSIONS.join(", ");
    if all.is_empty() {
        errors.push(hook.required("admissionReviewVersions", format!("must specify one of {known}")));
        return;
    }
    let (mut seen, mut accepted) = (HashSet::new(), false);
    for version in &all {
        let text = version.as_text();
        if !seen.insert(text) {
            errors.extend(version.invalid("", ["duplicate version"]));
            continue;
        }
        errors.extend(version.invalid("", names::dns1035_label(text)));
        accepted |= REVIEW_VERSIONS.contains(&text);
    }
    if !accepted && !may.versions {
        let why = format!("must include at least one of {known}");
        errors.extend(hook.invalid("admissionReviewVersions", [why]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(change: impl FnOnce(&mut Value)) -> Value {
        let mut hook = json!({
            "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "name": "s", "namespace": "n", "path": "/x" } },
            "rules": [{ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] }],
        });
        change(&mut hook);
        let mut configuration = json!({ "metadata": { "name": "c" }, "webhooks": [hook] });
        Mutating::default(&mut configuration);
        configuration
    }

    #[test]
    fn hooks_are_filled_in_as_upstream_does() {
        let configuration = configuration(|_| {});
        let hook = &configuration["webhooks"][0];
        assert_eq!(
            json!([
                hook["failurePolicy"],
                hook["matchPolicy"],
                hook["timeoutSeconds"],
                hook["reinvocationPolicy"]
            ]),
            json!(["Fail", "Equivalent", 10, "Never"])
        );
        assert_eq!(
            json!([
                hook["rules"][0]["scope"],
                hook["clientConfig"]["service"]["port"],
                hook["objectSelector"]
            ]),
            json!(["*", 443, {}])
        );
        assert_eq!(Mutating::validate(&configuration), []);
    }

    #[test]
    fn hooks_are_judged_as_upstream() {
        for (member, value, message) in [
            (
                "name",
                json!("a.b"),
                "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
            ),
            (
                "sideEffects",
                Value::Null,
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
            ),
            (
                "timeoutSeconds",
                json!(31),
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ),
            (
                "clientConfig",
                json!({}),
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
            (
                "clientConfig",
                json!({ "url": "http://a" }),
                "webhooks[0].clientConfig.url: Invalid value: \"http://a\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ),
            (
                "admissionReviewVersions",
                json!(["v2"]),
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
            ),
        ] {
            let errors = Mutating::validate(&configuration(|hook| hook[member] = value));
            let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(messages, [message], "{member}");
        }
    }
}
