//! `kubectl get jobs`: what the columns say (upstream `printers/internalversion` printJob).

use super::{has_condition, template};
use crate::{
    duration,
    kind::Column,
    metadata,
    read::{int, some, text},
    selector,
};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::narrow("Status", "string", "What became of it so far."),
    Column::narrow("Completions", "string", "The pods that succeeded, of those wished for."),
    Column::narrow("Duration", "string", "How long it ran, or runs already."),
    Column::AGE,
    template::CONTAINERS,
    template::IMAGES,
    template::SELECTOR,
];

pub(super) fn row(job: &Value, now: Timestamp) -> Vec<Value> {
    let [containers, images] = template::cells(&job["spec"]["template"]);
    vec![
        metadata::name(job).into(),
        status(job).into(),
        completions(job).into(),
        duration(job, now).into(),
        metadata::age(job, now).into(),
        containers,
        images,
        selector::shown(Some(&job["spec"]["selector"])).into(),
    ]
}

fn status(job: &Value) -> &'static str {
    let holds = |kind: &&&str| has_condition(job, kind);
    if let Some(end) = ["Complete", "Failed"].iter().find(holds) {
        return end;
    }
    if metadata::is_deleting(job) {
        return "Terminating";
    }
    let on_the_way = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
    on_the_way.iter().find(holds).copied().unwrap_or("Running")
}

fn completions(job: &Value) -> String {
    let succeeded = int(job, "/status/succeeded");
    if let Some(wished) = some(job, "/spec/completions").and_then(Value::as_i64) {
        return format!("{succeeded}/{wished}");
    }
    match int(job, "/spec/parallelism") {
        many if many > 1 => format!("{succeeded}/1 of {many}"),
        _ => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let time = |member: &str| text(job, &format!("/status/{member}")).parse::<Timestamp>().ok();
    match (time("startTime"), time("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => duration::human(end.unwrap_or(now).as_second() - start.as_second()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn jobs_read_as_upstream_prints_them() {
        let now: Timestamp = "2026-01-01T00:02:00Z".parse().expect("it is a time");
        let started = "2026-01-01T00:00:00Z";
        for (spec, state, expected) in [
            (json!({ "completions": 1 }), json!({}), ["Running", "0/1", ""]),
            (
                json!({ "parallelism": 3 }),
                json!({ "startTime": started, "succeeded": 2 }),
                ["Running", "2/1 of 3", "2m"],
            ),
            (
                json!({ "completions": 2 }),
                json!({
                    "startTime": started, "completionTime": "2026-01-01T00:00:05Z", "succeeded": 2,
                    "conditions": [{ "type": "SuccessCriteriaMet", "status": "True" }, { "type": "Complete", "status": "True" }],
                }),
                ["Complete", "2/2", "5s"],
            ),
            (
                json!({}),
                json!({ "conditions": [{ "type": "Suspended", "status": "True" }] }),
                ["Suspended", "0/1", ""],
            ),
        ] {
            let cells = row(
                &json!({ "metadata": { "name": "j" }, "spec": spec, "status": state }),
                now,
            );
            assert_eq!(cells[1..4], expected.map(Value::from), "{state}");
        }
    }
}
