//! Job: pods that run until so many of them succeeded.

mod columns;
mod indexes;
mod policies;
mod status;
mod update;
mod validate;

use super::template;
use crate::{
    field::FieldError,
    kind::{Column, Context, Kind, SelectableField, Subresource},
    metadata,
    read::{self, entries, flag, int, some, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use validate::validate_spec;

/// `batch/v1` Job.
pub struct Job;

/// The labels of a job's pods, by their old and their present names.
const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
/// See [`NAME_LABELS`]; the selector names the second.
const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
/// What upstream gives a job before it has failed for good.
const BACKOFF_LIMIT: i64 = 6;

impl Kind for Job {
    const GROUP: &'static str = "batch";
    const KIND: &'static str = "Job";
    const PLURAL: &'static str = "jobs";
    const SINGULAR: &'static str = "job";
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("batch", "v1", "Job")];
    const KEY: &'static str = "jobs";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = columns::COLUMNS;
    const FIELDS: &'static [SelectableField] = &[SelectableField {
        label: "status.successful",
        read: |job| int(job, "/status/succeeded").to_string(),
    }];
    type Object = k8s_openapi::api::batch::v1::Job;

    fn default(job: &mut Value) {
        read::set_default(job, "spec", json!({}));
        let spec = &mut job["spec"];
        if some(spec, "/parallelism").is_none() {
            read::set_default(spec, "completions", 1);
            spec["parallelism"] = 1.into();
        }
        let per_index = some(spec, "/backoffLimitPerIndex").is_some();
        read::set_default(
            spec,
            "backoffLimit",
            if per_index { i64::from(i32::MAX) } else { BACKOFF_LIMIT },
        );
        read::set_default_text(spec, "completionMode", "NonIndexed");
        read::set_default(spec, "suspend", false);
        let policy = some(spec, "/podFailurePolicy").is_some();
        read::set_default_text(
            spec,
            "podReplacementPolicy",
            if policy { "Failed" } else { "TerminatingOrFailed" },
        );
        for condition in conditions(spec) {
            read::set_default_text(condition, "status", "True");
        }
        template::default_template(spec);
        default_labels(job);
        read::set_default(job, "status", json!({}));
    }

    fn before_create(job: &mut Value, _context: &Context<'_>) {
        if !flag(job, "/spec/manualSelector") {
            generate_selector(job);
        }
    }

    fn validate(job: &Value) -> Vec<FieldError> {
        validate::validate(job)
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            status::validate(new, old)
        } else {
            update::validate(new, old)
        }
    }

    fn row(job: &Value, now: Timestamp) -> Vec<Value> {
        columns::row(job, now)
    }
}

/// The conditions that rules of the pod failure policy ask for.
fn conditions(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    let rules = spec
        .pointer_mut("/podFailurePolicy/rules")
        .and_then(Value::as_array_mut);
    rules.into_iter().flatten().flat_map(|rule| {
        let conditions = rule.get_mut("onPodConditions").and_then(Value::as_array_mut);
        conditions.into_iter().flatten()
    })
}

/// A job without labels has its template's.
fn default_labels(job: &mut Value) {
    let labels = job
        .pointer("/spec/template/metadata/labels")
        .cloned()
        .unwrap_or_default();
    let given = labels.as_object().is_some_and(|l| !l.is_empty());
    if given && entries(job, "/metadata/labels").next().is_none() {
        job["metadata"]["labels"] = labels;
    }
}

/// What no other job's pods have: the job's UID. A label that is there already stays, and is then refused by validation.
fn generate_selector(job: &mut Value) {
    let (name, uid) = (metadata::name(job).to_owned(), metadata::uid(job).to_owned());
    let labels = job["spec"]
        .pointer_mut("/template/metadata")
        .and_then(|m| read::map_mut(m, "labels"));
    if let Some(labels) = labels {
        for (keys, value) in [(NAME_LABELS, &name), (UID_LABELS, &uid)] {
            for key in keys {
                labels.entry(key).or_insert_with(|| value.as_str().into());
            }
        }
    }
    let selector =
        read::map_mut(&mut job["spec"], "selector").map(|s| s.entry("matchLabels").or_insert_with(|| json!({})));
    if let Some(Value::Object(labels)) = selector {
        labels.entry(UID_LABELS[1]).or_insert_with(|| uid.into());
    }
}

/// Whether a condition of that type holds.
fn has_condition(job: &Value, kind: &str) -> bool {
    let conditions = read::list(job, "/status/conditions");
    conditions
        .iter()
        .any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job as it is stored, with this in its spec.
    pub(super) fn job(change: Value) -> Value {
        let mut object = json!({
            "metadata": { "name": "j" },
            "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } } },
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        let rules = crate::find("batch", "v1", "jobs").expect("jobs are served");
        rules.default(&mut object);
        let context = Context {
            now: "2026-01-01T00:00:00Z",
            uid: "u",
            suffix: "bcdfg",
            namespace: "n",
            subresource: "",
        };
        rules.before_create(&mut object, &context);
        object
    }

    #[test]
    fn a_job_is_filled_in_and_selects_its_own_pods() {
        let made = job(json!({}));
        let spec = &made["spec"];
        for (member, value) in [
            ("completions", json!(1)),
            ("parallelism", json!(1)),
            ("backoffLimit", json!(6)),
            ("completionMode", json!("NonIndexed")),
            ("suspend", json!(false)),
            ("podReplacementPolicy", json!("TerminatingOrFailed")),
            (
                "selector",
                json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": "u" } }),
            ),
        ] {
            assert_eq!(spec[member], value, "{member}");
        }
        let labels = json!({
            "job-name": "j", "batch.kubernetes.io/job-name": "j",
            "controller-uid": "u", "batch.kubernetes.io/controller-uid": "u",
        });
        assert_eq!(
            (&spec["template"]["metadata"]["labels"], &made["metadata"]["labels"]),
            (&labels, &labels)
        );
        assert_eq!(Job::validate(&made), []);
    }

    #[test]
    fn counts_follow_from_each_other() {
        let made = job(json!({ "parallelism": 3 }));
        assert_eq!(
            (&made["spec"]["parallelism"], made["spec"].get("completions")),
            (&json!(3), None)
        );
        let indexed = job(json!({ "completions": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1 }));
        assert_eq!(indexed["spec"]["backoffLimit"], i32::MAX);
        let policy = job(
            json!({ "podFailurePolicy": { "rules": [{ "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget" }] }] } }),
        );
        assert_eq!(policy["spec"]["podReplacementPolicy"], "Failed");
        assert_eq!(
            policy["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"],
            "True"
        );
        assert_eq!(Job::validate(&policy), []);
    }

    #[test]
    fn a_manual_selector_is_left_alone() {
        let made = job(json!({ "manualSelector": true }));
        assert_eq!(made["spec"].get("selector"), None);
        assert_eq!(Job::validate(&made)[0].to_string(), "spec.selector: Required value");
    }
}
