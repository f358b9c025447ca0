//! What may stand in a job's status, and change in it (batch `validateJobStatus`, `ValidateJobStatusUpdate`). Rules hold where
//! a write touches what they are about, so that a status from before them can still be written (registry/batch/job
//! `getStatusValidationOptions`).

use super::{has_condition, indexes};
use crate::{
    field::{FieldError, Reason},
    kinds::amount::not_negative,
    read::{flag, int, list, some, text},
};
use serde_json::Value;

/// A job before and after a write of its status.
struct Change<'a> {
    new: &'a Value,
    old: &'a Value,
}

pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let counts = ["active", "succeeded", "failed", "ready", "terminating"];
    let mut errors = not_negative(&new["status"], "status", &counts);
    uncounted(new, &mut errors);
    let change = Change { new, old };
    change.endings(&mut errors);
    change.times(&mut errors);
    change.of_the_finished(&mut errors);
    change.indexes(&mut errors);
    change.met(&mut errors);
    change.counters(&mut errors);
    errors
}

/// An `Invalid` about the conditions, which shows none of them.
fn conditions(why: impl Into<String>) -> FieldError {
    FieldError {
        field: "status.conditions".to_owned(),
        reason: Reason::Invalid,
        value: None,
        detail: why.into(),
    }
}

/// Pods that still have to be counted are named, each once.
fn uncounted(job: &Value, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<&str> = Vec::new();
    for kind in ["succeeded", "failed"] {
        let pods = list(job, &format!("/status/uncountedTerminatedPods/{kind}"));
        for (index, uid) in pods.iter().enumerate() {
            let (uid, field) = (
                uid.as_str().unwrap_or_default(),
                format!("status.uncountedTerminatedPods.{kind}[{index}]"),
            );
            if uid.is_empty() {
                errors.push(FieldError::invalid(field, "", "must not be empty"));
            } else if seen.contains(&uid) {
                errors.push(FieldError::duplicate(field, uid));
            } else {
                seen.push(uid);
            }
        }
    }
}

// === impl Change ===

impl Change<'_> {
    /// Whether one of these members of the status is another now.
    fn touches(&self, members: &[&str]) -> bool {
        members.iter().any(|member| {
            let place = format!("/status/{member}");
            some(self.new, &place) != some(self.old, &place)
        })
    }

    /// Whether one of these conditions holds now and did not, or the other way round.
    fn turns(&self, kinds: &[&str]) -> bool {
        kinds
            .iter()
            .any(|kind| has_condition(self.new, kind) != has_condition(self.old, kind))
    }

    fn is(&self, kind: &str) -> bool {
        has_condition(self.new, kind)
    }

    fn is_finished(&self) -> bool {
        self.is("Complete") || self.is("Failed")
    }

    fn turns_finished(&self) -> bool {
        self.is_finished() != (has_condition(self.old, "Complete") || has_condition(self.old, "Failed"))
    }

    /// Which conditions can hold together.
    fn endings(&self, errors: &mut Vec<FieldError>) {
        let (complete, failed) = (self.is("Complete"), self.is("Failed"));
        if complete && failed && self.turns(&["Complete", "Failed"]) {
            errors.push(conditions("cannot set Complete=True and Failed=true conditions"));
        }
        if complete && self.is("FailureTarget") && self.turns(&["Complete", "FailureTarget"]) {
            errors.push(conditions("cannot set Complete=True and FailureTarget=true conditions"));
        }
        if failed && !self.is("FailureTarget") && self.turns(&["Failed", "FailureTarget"]) {
            let why = "cannot set Failed=True condition without the FailureTarget=true condition";
            errors.push(conditions(why));
        }
        if complete && !self.is("SuccessCriteriaMet") && self.turns(&["Complete", "SuccessCriteriaMet"]) {
            let why = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            errors.push(conditions(why));
        }
        for kind in ["Failed", "Complete", "FailureTarget"] {
            if has_condition(self.old, kind) && !self.is(kind) {
                errors.push(conditions(format!("cannot disable the terminal {kind}=True condition")));
            }
        }
    }

    fn times(&self, errors: &mut Vec<FieldError>) {
        let (field, complete) = ("status.completionTime", self.is("Complete"));
        let [begin, end] = ["startTime", "completionTime"].map(|member| text(self.new, &format!("/status/{member}")));
        let [began, ended] = ["startTime", "completionTime"].map(|member| text(self.old, &format!("/status/{member}")));
        if self.turns(&["Complete"]) || self.touches(&["completionTime"]) {
            if !end.is_empty() && !complete {
                let why = "cannot set completionTime when there is no Complete=True condition";
                errors.push(FieldError::invalid(field, end, why));
            }
            if end.is_empty() && complete {
                errors.push(FieldError::required(
                    field,
                    "completionTime is required for Complete jobs",
                ));
            }
        }
        // Times of one form, in UTC: as texts they have the same order.
        if self.touches(&["startTime", "completionTime"]) && !begin.is_empty() && !end.is_empty() && end < begin {
            let why = "completionTime cannot be set before startTime";
            errors.push(FieldError::invalid(field, end, why));
        }
        if !end.is_empty() && !ended.is_empty() && end != ended {
            errors.push(FieldError::invalid(field, end, "completionTime cannot be mutated"));
        }
        if !began.is_empty() && begin != began && !flag(self.new, "/spec/suspend") {
            let why = "startTime cannot be removed for unsuspended job";
            errors.push(FieldError::required("status.startTime", why));
        }
    }

    fn of_the_finished(&self, errors: &mut Vec<FieldError>) {
        let turns = self.turns_finished();
        let needs_start = !(flag(self.new, "/spec/suspend") && some(self.new, "/spec/completions") == Some(&0.into()));
        if self.is_finished() {
            for (member, why) in [
                ("active", "active>0 is invalid for finished job"),
                ("terminating", "terminating>0 is invalid for finished job"),
            ] {
                let count = int(self.new, &format!("/status/{member}"));
                if count > 0 && (turns || self.touches(&[member])) {
                    errors.push(FieldError::invalid(format!("status.{member}"), count, why));
                }
            }
            if text(self.new, "/status/startTime").is_empty() && needs_start && (turns || self.touches(&["startTime"]))
            {
                errors.push(FieldError::required(
                    "status.startTime",
                    "startTime is required for finished job",
                ));
            }
            let member = "uncountedTerminatedPods";
            let kinds = ["succeeded", "failed"].into_iter();
            let mut kinds = kinds.map(|kind| list(self.new, &format!("/status/{member}/{kind}")));
            if kinds.any(|pods| !pods.is_empty()) && (turns || self.touches(&[member])) {
                let (field, shown) = (format!("status.{member}"), self.new["status"][member].clone());
                let why = "uncountedTerminatedPods needs to be empty for finished job";
                errors.push(FieldError::invalid(field, shown, why));
            }
        }
        if self.touches(&["ready", "active"]) && int(self.new, "/status/ready") > int(self.new, "/status/active") {
            let (ready, why) = (int(self.new, "/status/ready"), "cannot set more ready pods than active");
            errors.push(FieldError::invalid("status.ready", ready, why));
        }
    }

    fn indexes(&self, errors: &mut Vec<FieldError>) {
        let (completed, failed) = (
            text(self.new, "/status/completedIndexes"),
            some(self.new, "/status/failedIndexes").and_then(Value::as_str),
        );
        let completions = some(self.new, "/spec/completions").and_then(Value::as_i64);
        let is_indexed = text(self.new, "/spec/completionMode") == "Indexed";
        let is_limited = some(self.new, "/spec/backoffLimitPerIndex").is_some();
        let mut wrong = |member: &str, shown: &str, why: String| {
            errors.push(FieldError::invalid(format!("status.{member}"), shown, why));
        };
        let read = |text: &str| completions.map_or(Ok(()), |completions| indexes::parse(text, completions).map(drop));
        if self.touches(&["completedIndexes"]) {
            if let Err(why) = read(completed) {
                wrong(
                    "completedIndexes",
                    completed,
                    format!("error parsing completedIndexes: {why}"),
                );
            }
            if !completed.is_empty() && !is_indexed {
                let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
                wrong("completedIndexes", completed, why.to_owned());
            }
        }
        let Some(failed) = failed else { return };
        if self.touches(&["failedIndexes"]) {
            match read(failed) {
                Err(why) if is_limited => wrong("failedIndexes", failed, format!("error parsing failedIndexes: {why}")),
                Err(_) | Ok(()) => {}
            }
            if !is_limited {
                let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
                wrong("failedIndexes", failed, why.to_owned());
            }
        }
        if self.touches(&["failedIndexes", "completedIndexes"])
            && let Some(common) = completions.and_then(|count| indexes::common(completed, failed, count))
        {
            let why = format!("failedIndexes and completedIndexes overlap at index: {common}");
            wrong("failedIndexes", failed, why);
        }
    }

    /// What goes with a success that is certain before all pods have ended.
    fn met(&self, errors: &mut Vec<FieldError>) {
        let (met, was_met) = (
            self.is("SuccessCriteriaMet"),
            has_condition(self.old, "SuccessCriteriaMet"),
        );
        if met && self.is("Failed") {
            let why = "cannot set SuccessCriteriaMet=True and Failed=true conditions";
            errors.push(conditions(why));
        }
        if met && self.is("FailureTarget") {
            let why = "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions";
            errors.push(conditions(why));
        }
        if some(self.new, "/spec/successPolicy").is_some() && !met && self.is("Complete") {
            let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            errors.push(conditions(why));
        }
        if was_met && !met {
            errors.push(conditions("cannot disable the SuccessCriteriaMet=True condition"));
        }
        if has_condition(self.old, "Complete") && !was_met && met {
            let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            errors.push(conditions(why));
        }
    }

    /// What was counted stays counted; an indexed job that shrinks has fewer successes.
    fn counters(&self, errors: &mut Vec<FieldError>) {
        let is_elastic = text(self.new, "/spec/completionMode") == "Indexed"
            && some(self.new, "/spec/completions") == some(self.new, "/spec/parallelism");
        for (member, may_fall) in [("failed", false), ("succeeded", is_elastic)] {
            let (now, before) = (
                int(self.new, &format!("/status/{member}")),
                int(self.old, &format!("/status/{member}")),
            );
            if now < before && !may_fall {
                let why = format!("cannot decrease the {member} counter");
                errors.push(FieldError::invalid(format!("status.{member}"), now, why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BEGIN: &str = "2026-01-01T00:00:00Z";
    const END: &str = "2026-01-01T00:01:00Z";

    fn holds(kinds: &[&str]) -> Value {
        kinds
            .iter()
            .map(|kind| json!({ "type": kind, "status": "True" }))
            .collect()
    }

    fn messages(spec: &Value, new: &Value, old: &Value) -> Vec<String> {
        let job = |status: &Value| json!({ "spec": spec, "status": status });
        validate(&job(new), &job(old)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_job_ends_in_one_way_and_for_good() {
        let done = json!({ "conditions": holds(&["SuccessCriteriaMet", "Complete"]), "startTime": BEGIN, "completionTime": END });
        let running = json!({ "startTime": BEGIN, "active": 1, "ready": 1, "failed": 2, "succeeded": 1 });
        let none = json!({});
        assert_eq!(messages(&none, &running, &none), Vec::<String>::new());
        assert_eq!(
            messages(&none, &done, &json!({ "startTime": BEGIN })),
            Vec::<String>::new()
        );
        for (new, old, expected) in [
            (
                json!({ "conditions": holds(&["Complete"]), "startTime": BEGIN, "completionTime": END }),
                &none,
                "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            ),
            (
                json!({ "conditions": holds(&["Failed"]), "startTime": BEGIN }),
                &none,
                "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
            ),
            (
                json!({ "conditions": holds(&["SuccessCriteriaMet", "Complete"]), "startTime": BEGIN }),
                &none,
                "status.completionTime: Required value: completionTime is required for Complete jobs",
            ),
            (
                json!({ "conditions": holds(&["SuccessCriteriaMet", "Complete"]), "startTime": END, "completionTime": BEGIN }),
                &none,
                "status.completionTime: Invalid value: \"2026-01-01T00:00:00Z\": completionTime cannot be set before startTime",
            ),
            (
                json!({ "startTime": BEGIN, "completionTime": END }),
                &none,
                "status.completionTime: Invalid value: \"2026-01-01T00:01:00Z\": cannot set completionTime when there is no Complete=True condition",
            ),
            (
                json!({ "active": 1 }),
                &running,
                "status.startTime: Required value: startTime cannot be removed for unsuspended job",
            ),
            (
                json!({ "startTime": BEGIN, "ready": 2, "active": 1 }),
                &none,
                "status.ready: Invalid value: 2: cannot set more ready pods than active",
            ),
            (
                json!({ "uncountedTerminatedPods": { "failed": ["a"], "succeeded": ["a"] } }),
                &none,
                "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
            ),
        ] {
            let said = messages(&none, &new, old);
            assert!(said.iter().any(|message| message == expected), "{expected}: {said:?}");
        }
        let undone = messages(&none, &json!({ "startTime": BEGIN }), &done);
        assert!(
            undone.contains(
                &"status.conditions: Invalid value: cannot disable the terminal Complete=True condition".to_owned()
            ),
            "{undone:?}"
        );
        let fewer = messages(
            &none,
            &json!({ "startTime": BEGIN, "failed": 1, "succeeded": 1 }),
            &running,
        );
        assert_eq!(
            fewer,
            ["status.failed: Invalid value: 1: cannot decrease the failed counter"]
        );
    }

    #[test]
    fn indexes_are_those_of_the_job() {
        let (plain, none) = (json!({ "completions": 4 }), json!({}));
        let indexed = json!({ "completionMode": "Indexed", "completions": 4, "backoffLimitPerIndex": 1 });
        for (spec, new, expected) in [
            (
                &indexed,
                json!({ "completedIndexes": "0-1", "failedIndexes": "2" }),
                None,
            ),
            (
                &plain,
                json!({ "completedIndexes": "0" }),
                Some(
                    "status.completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode",
                ),
            ),
            (
                &indexed,
                json!({ "completedIndexes": "7" }),
                Some(
                    "status.completedIndexes: Invalid value: \"7\": error parsing completedIndexes: too large index: \"7\"",
                ),
            ),
            (
                &plain,
                json!({ "failedIndexes": "" }),
                Some(
                    "status.failedIndexes: Invalid value: \"\": cannot set non-null failedIndexes when backoffLimitPerIndex is null",
                ),
            ),
            (
                &indexed,
                json!({ "completedIndexes": "0-2", "failedIndexes": "1,3" }),
                Some(
                    "status.failedIndexes: Invalid value: \"1,3\": failedIndexes and completedIndexes overlap at index: 1",
                ),
            ),
        ] {
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(messages(spec, &new, &none), expected, "{new}");
        }
    }
}
