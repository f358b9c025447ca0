//! CronJob: a job made over and over, at the times of a schedule.

pub mod schedule;

use super::{job, template};
use crate::{
    field::FieldError,
    kind::{Column, Kind, Subresource},
    metadata,
    read::{self, flag, list, some, text},
    selector,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `batch/v1` CronJob.
pub struct CronJob;

/// A job's name is its cron job's with a suffix of eleven characters.
const NAME_MAX: usize = 63 - 11;

impl Kind for CronJob {
    const GROUP: &'static str = "batch";
    const KIND: &'static str = "CronJob";
    const PLURAL: &'static str = "cronjobs";
    const SINGULAR: &'static str = "cronjob";
    const SHORT_NAMES: &'static [&'static str] = &["cj"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("batch", "v1", "CronJob")];
    const KEY: &'static str = "cronjobs";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Schedule", "string", "When jobs are made."),
        Column::narrow("Timezone", "string", "Where the schedule's hours are counted."),
        Column::narrow("Suspend", "boolean", "Whether it makes no jobs now."),
        Column::narrow("Active", "integer", "The jobs that run."),
        Column::narrow("Last Schedule", "string", "When it last made a job."),
        Column::AGE,
        template::CONTAINERS,
        template::IMAGES,
        template::SELECTOR,
    ];
    type Object = k8s_openapi::api::batch::v1::CronJob;

    fn default(cron: &mut Value) {
        read::set_default(cron, "spec", json!({}));
        let spec = &mut cron["spec"];
        read::set_default_text(spec, "concurrencyPolicy", "Allow");
        read::set_default(spec, "suspend", false);
        read::set_default(spec, "successfulJobsHistoryLimit", 3);
        read::set_default(spec, "failedJobsHistoryLimit", 1);
        read::set_default(spec, "jobTemplate", json!({}));
        read::set_default(&mut spec["jobTemplate"], "metadata", json!({}));
        read::set_default(&mut spec["jobTemplate"], "spec", json!({}));
        template::default_template(&mut spec["jobTemplate"]["spec"]);
        read::set_default(cron, "status", json!({}));
    }

    fn validate(cron: &Value) -> Vec<FieldError> {
        let name = metadata::name(cron);
        let mut errors = validate_spec(cron, None);
        if name.len() > NAME_MAX {
            let why = format!("must be no more than {NAME_MAX} characters");
            errors.push(FieldError::invalid("metadata.name", name, why));
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            Vec::new()
        } else {
            validate_spec(new, Some(old))
        }
    }

    fn row(cron: &Value, now: Timestamp) -> Vec<Value> {
        let job = &cron["spec"]["jobTemplate"]["spec"];
        let [containers, images] = template::cells(&job["template"]);
        let suspended = if flag(cron, "/spec/suspend") { "True" } else { "False" };
        let last = text(cron, "/status/lastScheduleTime");
        let zone = text(cron, "/spec/timeZone");
        vec![
            metadata::name(cron).into(),
            text(cron, "/spec/schedule").into(),
            if zone.is_empty() { "<none>" } else { zone }.into(),
            suspended.into(),
            list(cron, "/status/active").len().into(),
            if last.is_empty() {
                "<none>".to_owned()
            } else {
                metadata::since(last, now)
            }
            .into(),
            metadata::age(cron, now).into(),
            containers,
            images,
            selector::shown(Some(&job["selector"])).into(),
        ]
    }
}

fn validate_spec(cron: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let spec = &cron["spec"];
    let mut errors = validate_schedule(spec, old.map(|old| text(old, "/spec/schedule")));
    let counts = [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ];
    errors.extend(super::amount::not_negative(spec, "spec", &counts));
    let (policy, known) = (text(spec, "/concurrencyPolicy"), ["Allow", "Forbid", "Replace"]);
    if !known.contains(&policy) {
        errors.push(FieldError::not_supported("spec.concurrencyPolicy", policy, &known));
    }
    let zone = some(spec, "/timeZone");
    if old.is_none_or(|old| some(old, "/spec/timeZone") != zone) {
        errors.extend(validate_zone(spec));
    }
    let (job, path) = (&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec");
    errors.extend(job::validate_spec(job, path));
    if let Some(selector) = some(job, "/selector") {
        let why = "`selector` will be auto-generated";
        errors.push(FieldError::invalid(format!("{path}.selector"), selector.clone(), why));
    }
    if flag(job, "/manualSelector") {
        errors.push(FieldError::not_supported(
            format!("{path}.manualSelector"),
            true,
            &["nil", "false"],
        ));
    }
    errors
}

fn validate_schedule(spec: &Value, before: Option<&str>) -> Vec<FieldError> {
    let (field, written) = ("spec.schedule", text(spec, "/schedule"));
    if written.is_empty() {
        return vec![FieldError::required(field, "")];
    }
    let mut errors = Vec::new();
    if let Err(why) = schedule::Schedule::parse(written) {
        errors.push(FieldError::invalid(field, written, why.to_string()));
    }
    // One that had it before there was the field may keep it, alone.
    let may_have_zone = before.is_some_and(|before| before.contains("TZ"));
    let why = match (may_have_zone, some(spec, "/timeZone")) {
        (false, _) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        (true, Some(_)) => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        (true, None) => return errors,
    };
    if written.contains("TZ") {
        errors.push(FieldError::invalid(field, written, why));
    }
    errors
}

/// Whether the name could be a time zone; whether it is one, the controller finds when it reads the clock.
fn validate_zone(spec: &Value) -> Option<FieldError> {
    let field = "spec.timeZone";
    let zone = some(spec, "/timeZone")?.as_str()?;
    let why = match zone {
        "" => "timeZone must be nil or non-empty string".to_owned(),
        local if local.eq_ignore_ascii_case("local") => {
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
        }
        odd if !odd.split('/').all(is_part_of_zone) => format!("unknown time zone {odd}"),
        _ => return None,
    };
    Some(FieldError::invalid(field, zone, why))
}

/// By the rules of <https://data.iana.org/time-zones/theory.html#naming>, and with the digits of old names.
fn is_part_of_zone(part: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let is_place = matches!(part, "." | "..") || part.starts_with('-');
    !is_place && (1..=14).contains(&part.len()) && part.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(change: Value) -> Value {
        let mut object = json!({
            "metadata": { "name": "c" },
            "spec": {
                "schedule": "*/5 * * * *",
                "jobTemplate": { "spec": { "template": { "spec": { "restartPolicy": "OnFailure", "containers": [{ "name": "c", "image": "i" }] } } } },
            },
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        CronJob::default(&mut object);
        object
    }

    #[test]
    fn a_cron_job_is_filled_in_but_its_jobs_are_not() {
        let made = cron(json!({}));
        assert_eq!(CronJob::validate(&made), []);
        assert_eq!(made["spec"]["jobTemplate"]["spec"].get("backoffLimit"), None);
        let cells = json!([
            "c",
            "*/5 * * * *",
            "<none>",
            "False",
            0,
            "<none>",
            "<unknown>",
            "c",
            "i",
            "<none>"
        ]);
        assert_eq!(Value::from(CronJob::row(&made, Timestamp::UNIX_EPOCH)), cells);
    }

    #[test]
    fn mistakes_are_named_as_upstream() {
        for (change, message) in [
            (json!({ "schedule": "" }), "spec.schedule: Required value"),
            (
                json!({ "schedule": "often" }),
                "spec.schedule: Invalid value: \"often\": expected exactly 5 fields, found 1: [often]",
            ),
            (
                json!({ "schedule": "TZ=UTC * * * * *" }),
                "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            ),
            (
                json!({ "concurrencyPolicy": "X" }),
                "spec.concurrencyPolicy: Unsupported value: \"X\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ),
            (
                json!({ "timeZone": "Local" }),
                "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            ),
        ] {
            let messages: Vec<String> = CronJob::validate(&cron(change))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, [message]);
        }
        let mut long = cron(json!({}));
        long["metadata"]["name"] = "a".repeat(53).into();
        assert!(
            CronJob::validate(&long)[0]
                .to_string()
                .ends_with("must be no more than 52 characters")
        );
    }
}
