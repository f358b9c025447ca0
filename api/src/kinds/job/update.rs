//! What may change in a job (batch `ValidateJobSpecUpdate`, `ValidateJobUpdateStatus`).

use super::has_condition;
use crate::{
    field::FieldError,
    kinds::amount::{immutable, is_same, not_negative},
    read::{flag, int, list, some, text},
};
use serde_json::Value;

pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = super::validate::validate(new);
    errors.extend(completions(new, old));
    errors.extend(immutable(new, old, "spec.selector"));
    errors.extend(template(new, old));
    for member in [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        errors.extend(immutable(new, old, &format!("spec.{member}")));
    }
    errors
}

/// An indexed job may grow and shrink, its parallelism with it; any other has its count for ever.
fn completions(new: &Value, old: &Value) -> Vec<FieldError> {
    let field = "spec.completions";
    if text(new, "/spec/completionMode") != "Indexed" {
        return immutable(new, old, field);
    }
    let (now, before) = (some(new, "/spec/completions"), some(old, "/spec/completions"));
    match now {
        _ if now == before => Vec::new(),
        Some(count) if some(new, "/spec/parallelism") != Some(count) => {
            let why = "can only be modified in tandem with spec.parallelism";
            vec![FieldError::invalid(field, count.clone(), why)]
        }
        Some(_) => Vec::new(),
        None => vec![FieldError::required(field, "when completion mode is Indexed")],
    }
}

/// The template stays, but where pods go may be said later while the job waits.
fn template(new: &Value, old: &Value) -> Vec<FieldError> {
    let waits = flag(old, "/spec/suspend") && some(old, "/status/startTime").is_none();
    if !waits {
        return immutable(new, old, "spec.template");
    }
    let mut compared = new.clone();
    for at in [
        "/metadata/labels",
        "/metadata/annotations",
        "/spec/nodeSelector",
        "/spec/affinity",
        "/spec/tolerations",
        "/spec/schedulingGates",
    ] {
        take(&mut compared["spec"]["template"], &old["spec"]["template"], at);
    }
    for kind in ["containers", "initContainers"] {
        let count = list(old, &format!("/spec/template/spec/{kind}")).len();
        if list(new, &format!("/spec/template/spec/{kind}")).len() == count {
            for index in 0..count {
                let at = format!("/spec/{kind}/{index}/resources");
                take(&mut compared["spec"]["template"], &old["spec"]["template"], &at);
            }
        }
    }
    if is_same(compared["spec"].get("template"), old["spec"].get("template")) {
        return Vec::new();
    }
    vec![FieldError::invalid(
        "spec.template",
        new["spec"]["template"].clone(),
        "field is immutable",
    )]
}

/// Makes what is at `pointer` what it is in `old`.
fn take(new: &mut Value, old: &Value, pointer: &str) {
    let (parent, member) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    if let Some(Value::Object(parent)) = new.pointer_mut(parent) {
        match old.pointer(pointer) {
            Some(value) => parent.insert(member.to_owned(), value.clone()),
            None => parent.shift_remove(member),
        };
    }
}

pub(super) fn validate_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let counts = ["active", "succeeded", "failed", "ready", "terminating"];
    let mut errors = not_negative(&new["status"], "status", &counts);
    if has_condition(new, "Complete") && has_condition(new, "Failed") {
        let shown = new["status"]["conditions"].clone();
        let why = "cannot set Complete=True and Failed=True conditions at the same time";
        errors.push(FieldError::invalid("status.conditions", shown, why));
    }
    for kind in ["Complete", "Failed"] {
        if has_condition(old, kind) && !has_condition(new, kind) {
            let shown = new["status"]["conditions"].clone();
            let why = format!("cannot disable the terminal {kind}=True condition");
            errors.push(FieldError::invalid("status.conditions", shown, why));
        }
    }
    let (time, before) = (text(new, "/status/completionTime"), text(old, "/status/completionTime"));
    if !time.is_empty() && !has_condition(new, "Complete") {
        let why = "cannot set completionTime when there is no Complete=True condition";
        errors.push(FieldError::invalid("status.completionTime", time, why));
    }
    if !before.is_empty() && time != before {
        errors.push(FieldError::invalid(
            "status.completionTime",
            time,
            "completionTime cannot be mutated",
        ));
    }
    if int(new, "/status/ready") > int(new, "/status/active") {
        let why = "cannot set more ready pods than active";
        errors.push(FieldError::invalid("status.ready", int(new, "/status/ready"), why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::{super::tests::job, *};
    use serde_json::json;

    fn messages(new: &Value, old: &Value) -> Vec<String> {
        validate(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_template_is_fixed_but_for_placement_while_it_waits() {
        let old = job(json!({}));
        let mut new = old.clone();
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({ "a": "b" });
        let errors = messages(&new, &old);
        assert!(
            errors.len() == 1
                && errors[0].starts_with("spec.template: Invalid value: {")
                && errors[0].ends_with("field is immutable"),
            "{errors:?}"
        );
        let mut waiting = old.clone();
        waiting["spec"]["suspend"] = true.into();
        assert_eq!(messages(&new, &waiting), Vec::<String>::new());
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "j".into();
        assert_eq!(messages(&new, &waiting).len(), 1);
    }

    #[test]
    fn counts_change_only_where_they_may() {
        let old = job(json!({}));
        let mut new = old.clone();
        new["spec"]["parallelism"] = 4.into();
        assert_eq!(messages(&new, &old), Vec::<String>::new());
        new["spec"]["completions"] = 4.into();
        assert_eq!(
            messages(&new, &old),
            ["spec.completions: Invalid value: 4: field is immutable"]
        );
        let old = job(json!({ "completionMode": "Indexed", "completions": 2, "parallelism": 2 }));
        let mut new = old.clone();
        new["spec"]["completions"] = 4.into();
        assert_eq!(
            messages(&new, &old),
            ["spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism"]
        );
        new["spec"]["parallelism"] = 4.into();
        assert_eq!(messages(&new, &old), Vec::<String>::new());
    }

    #[test]
    fn a_finished_job_stays_finished() {
        let done = json!({ "status": { "conditions": [{ "type": "Complete", "status": "True" }], "completionTime": "2026-01-01T00:00:00Z" } });
        assert_eq!(validate_status(&done, &json!({})), []);
        let undone = json!({ "status": {} });
        assert_eq!(validate_status(&undone, &done).len(), 2);
    }
}
