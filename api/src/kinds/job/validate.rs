//! What is wrong with a job (batch `validation.ValidateJob`).

use super::{NAME_LABELS, UID_LABELS, policies, template};
use crate::{
    at::At,
    field::FieldError,
    kinds::amount::not_negative,
    metadata, names,
    read::{flag, int, some, text},
    selector::{self, LabelSelector},
};
use serde_json::{Value, json};

/// Beyond this the indexes of finished pods no longer fit into a status (upstream's limit).
const INDEXED_MAX: i64 = 100_000;

/// Of jobs that are larger than that, and limit the failures of each index: so many may fail, or run at once.
const LARGE_MAX: i64 = 10_000;

pub(super) fn validate(job: &Value) -> Vec<FieldError> {
    let spec = &job["spec"];
    let mut errors = generated_selector(job);
    errors.extend(validate_spec(spec, "spec"));
    errors.extend(validate_selector(spec));
    errors.extend(validate_host_names(job));
    errors
}

fn validate_selector(spec: &Value) -> Vec<FieldError> {
    let Some(object) = some(spec, "/selector") else {
        return vec![FieldError::required("spec.selector", "")];
    };
    let mut errors = selector::check(&At::new(object, "spec.selector"));
    if let Some(read) = LabelSelector::of_object(object) {
        errors.extend(template::validate_match(&read, &spec["template"], "spec.template"));
    }
    errors
}

/// The labels and the selector that were generated are those that would be again.
fn generated_selector(job: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if flag(job, "/spec/manualSelector") || some(job, "/spec/selector").is_none() {
        return errors;
    }
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    for (keys, expected) in [(UID_LABELS, metadata::uid(job)), (NAME_LABELS, metadata::name(job))] {
        for key in keys {
            let (field, why) = (
                format!("spec.template.metadata.labels[{key}]"),
                format!("must be '{expected}'"),
            );
            match labels.get(key).and_then(Value::as_str) {
                None => errors.push(FieldError::required(field, why)),
                Some(value) if value != expected => errors.push(FieldError::invalid(field, value, why)),
                Some(_) => {}
            }
        }
    }
    let expected = json!({ UID_LABELS[0]: metadata::uid(job), UID_LABELS[1]: metadata::uid(job), NAME_LABELS[0]: metadata::name(job), NAME_LABELS[1]: metadata::name(job) });
    if LabelSelector::of_object(&job["spec"]["selector"]).is_some_and(|s| !s.matches_labels(&expected)) {
        let shown = job["spec"]["selector"].clone();
        errors.push(FieldError::invalid(
            "spec.selector",
            shown,
            "`selector` not auto-generated",
        ));
    }
    errors
}

/// An indexed job's pods are called after it and their index.
fn validate_host_names(job: &Value) -> Vec<FieldError> {
    let count = int(job, "/spec/completions");
    if text(job, "/spec/completionMode") != "Indexed" || count == 0 {
        return Vec::new();
    }
    let last = format!("{}-{}", metadata::name(job), count - 1);
    if names::dns1123_label(&last).is_empty() {
        return Vec::new();
    }
    let why = format!("will not able to create pod with invalid DNS label: {last}");
    vec![FieldError::invalid("metadata.name", metadata::name(job), why)]
}

/// What is wrong with a defaulted job spec at `path`, its selector apart.
pub(in crate::kinds) fn validate_spec(spec: &Value, path: &str) -> Vec<FieldError> {
    let counts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    let mut errors = not_negative(spec, path, &counts);
    errors.extend(policies::per_index(spec, path));
    errors.extend(completion_mode(spec, path));
    errors.extend(policies::pod_failure(spec, path));
    errors.extend(policies::success(spec, path));
    errors.extend(policies::replacement(spec, path));
    errors.extend(managed_by(spec, path));
    errors.extend(template::validate(&spec["template"], &format!("{path}.template")));
    errors.extend(restart_policy(spec, path));
    errors
}

fn completion_mode(spec: &Value, path: &str) -> Vec<FieldError> {
    let mode = some(spec, "/completionMode").and_then(Value::as_str);
    let known = ["NonIndexed", "Indexed"];
    match mode {
        Some("Indexed") => indexed(spec, path),
        None | Some("NonIndexed") => policies::needs_indexes(spec, path),
        Some(mode) => vec![FieldError::not_supported(
            format!("{path}.completionMode"),
            mode,
            &known,
        )],
    }
}

/// How large an indexed job may be: its status has to hold the indexes that ended.
fn indexed(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let given = |member: &str| some(spec, &format!("/{member}")).and_then(Value::as_i64);
    let (completions, parallelism, failed) = (given("completions"), given("parallelism"), given("maxFailedIndexes"));
    let mut above = |member: &str, count: Option<i64>, limit: i64, when: &str| {
        if let Some(count) = count.filter(|count| *count > limit) {
            let why = format!("must be less than or equal to {limit}{when}");
            errors.push(FieldError::invalid(format!("{path}.{member}"), count, why));
        }
    };
    above(
        "parallelism",
        parallelism,
        INDEXED_MAX,
        " when completion mode is Indexed",
    );
    above("maxFailedIndexes", failed, INDEXED_MAX, "");
    let is_large = completions > Some(INDEXED_MAX) && given("backoffLimitPerIndex").is_some();
    if is_large {
        let when = format!(" when completions are above {INDEXED_MAX} and used with backoff limit per index");
        above("parallelism", parallelism, LARGE_MAX, &when);
        above("maxFailedIndexes", failed, LARGE_MAX, &when);
    }
    if is_large && failed.is_none() {
        let why = format!("must be specified when completions is above {INDEXED_MAX}");
        errors.push(FieldError::required(format!("{path}.maxFailedIndexes"), why));
    }
    if completions.is_none() {
        let why = "when completion mode is Indexed";
        errors.push(FieldError::required(format!("{path}.completions"), why));
    } else if failed > completions {
        let (shown, why) = (failed.unwrap_or_default(), "must be less than or equal to completions");
        errors.push(FieldError::invalid(format!("{path}.maxFailedIndexes"), shown, why));
    }
    errors
}

fn managed_by(spec: &Value, path: &str) -> Vec<FieldError> {
    let Some(manager) = some(spec, "/managedBy").and_then(Value::as_str) else {
        return Vec::new();
    };
    let field = format!("{path}.managedBy");
    let mut errors = Vec::new();
    match manager.split_once('/') {
        _ if manager.is_empty() => errors.push(FieldError::required(field.as_str(), "")),
        None | Some(("", _) | (_, "")) => errors.push(FieldError::invalid(
            field.as_str(),
            manager,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        )),
        Some((domain, _)) => {
            let wrong = names::dns1123_subdomain(domain).into_iter();
            errors.extend(wrong.map(|m| FieldError::invalid(field.as_str(), domain, m)));
        }
    }
    if manager.len() > 63 {
        errors.push(FieldError::too_long(field, 63));
    }
    errors
}

/// A pod that always restarts never ends, so the policy must be said.
fn restart_policy(spec: &Value, path: &str) -> Vec<FieldError> {
    let field = format!("{path}.template.spec.restartPolicy");
    let policy = text(spec, "/template/spec/restartPolicy");
    let mut errors = Vec::new();
    match policy {
        "OnFailure" | "Never" => {}
        "Always" => errors.push(FieldError::required(
            field.as_str(),
            "valid values: \"OnFailure\", \"Never\"",
        )),
        other => errors.push(FieldError::not_supported(
            field.as_str(),
            other,
            &["OnFailure", "Never"],
        )),
    }
    if some(spec, "/podFailurePolicy").is_some() && policy != "Never" {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.push(FieldError::invalid(field, policy, why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::{super::tests::job, validate};
    use serde_json::{Value, json};

    #[test]
    fn mistakes_are_named_as_upstream() {
        let template = |policy: &str| json!({ "spec": { "restartPolicy": policy, "containers": [{ "name": "c", "image": "i" }] } });
        for (change, message) in [
            (
                json!({ "parallelism": -1 }),
                "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({ "template": template("Always") }),
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (
                json!({ "completionMode": "Indexed", "parallelism": 1 }),
                "spec.completions: Required value: when completion mode is Indexed",
            ),
            (
                json!({ "backoffLimitPerIndex": 1 }),
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            ),
            (
                json!({ "podFailurePolicy": { "rules": [{ "action": "Ignore" }] } }),
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
            ),
            (
                json!({ "podReplacementPolicy": "X" }),
                "spec.podReplacementPolicy: Unsupported value: \"X\": supported values: \"Failed\", \"TerminatingOrFailed\"",
            ),
            (
                json!({ "managedBy": "me" }),
                "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
        ] {
            let messages: Vec<String> = validate(&job(change)).iter().map(ToString::to_string).collect();
            assert_eq!(messages, [message]);
        }
    }

    #[test]
    fn a_selector_of_ones_own_is_refused_unless_it_is_manual() {
        let own = json!({ "selector": { "matchLabels": { "a": "b" } } });
        let messages: Vec<String> = validate(&job(own)).iter().map(ToString::to_string).collect();
        assert!(
            messages
                .iter()
                .any(|m| m.starts_with("spec.selector:") && m.ends_with("`selector` not auto-generated")),
            "{messages:?}"
        );
        let mut renamed = job(json!({}));
        renamed["spec"]["template"]["metadata"]["labels"]["job-name"] = "x".into();
        assert_eq!(
            validate(&renamed)[0].to_string(),
            "spec.template.metadata.labels[job-name]: Invalid value: \"x\": must be 'j'"
        );
        let _: Value = renamed;
    }
}
