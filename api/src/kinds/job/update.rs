//! What may change in a job (batch `ValidateJobSpecUpdate`).

use crate::{
    field::FieldError,
    kinds::amount::{immutable, is_same},
    read::{flag, list, some, text},
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
        // Without a count the spec itself is wrong.
        Some(_) | None => Vec::new(),
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
        "/spec/affinity/nodeAffinity",
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
}
