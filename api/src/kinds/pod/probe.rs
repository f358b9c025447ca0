//! What is wrong with a container's probes and lifecycle hooks (core `validation.validateProbe`, `validateHandler`).

use super::validate::{at_least_zero, judge, judge_int, judge_word};
use crate::{
    field::FieldError,
    names,
    read::{self, entries, int, list, text},
};
use serde_json::Value;

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

pub(super) fn validate(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for member in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get(member).filter(|p| !p.is_null()) else {
            continue;
        };
        let path = format!("{path}.{member}");
        handler(probe, &path, errors);
        for number in [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ] {
            judge_int(errors, &path, probe, number, at_least_zero);
        }
        let successes = int(probe, "/successThreshold");
        if member != "readinessProbe" && successes != 1 {
            errors.push(FieldError::invalid(
                format!("{path}.successThreshold"),
                successes,
                "must be 1",
            ));
        }
        let grace = probe.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
        if member == "readinessProbe" && grace.is_some() {
            let field = format!("{path}.terminationGracePeriodSeconds");
            errors.push(FieldError::invalid(field, grace, "must not be set for readinessProbes"));
        } else if let Some(grace) = grace.filter(|g| *g <= 0) {
            let field = format!("{path}.terminationGracePeriodSeconds");
            errors.push(FieldError::invalid(field, grace, "must be greater than 0"));
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(hook_handler) = read::some(container, &format!("/lifecycle/{hook}")) {
            handler(hook_handler, &format!("{path}.lifecycle.{hook}"), errors);
        }
    }
}

fn handler(holder: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let given: Vec<(&str, &Value)> = entries(holder, "")
        .filter(|(kind, h)| HANDLERS.contains(kind) && !h.is_null())
        .collect();
    if given.is_empty() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for (number, (kind, handler)) in given.into_iter().enumerate() {
        let path = format!("{path}.{kind}");
        if number > 0 {
            errors.push(FieldError::forbidden(&path, "may not specify more than 1 handler type"));
            continue;
        }
        match kind {
            "exec" if list(handler, "/command").is_empty() => {
                errors.push(FieldError::required(format!("{path}.command"), ""))
            }
            "httpGet" => http_get(handler, &path, errors),
            "tcpSocket" => port(handler, &path, errors),
            "grpc" => judge(
                errors,
                &format!("{path}.port"),
                &int(handler, "/port").into(),
                names::port(int(handler, "/port")),
            ),
            _ => {}
        }
    }
}

fn http_get(get: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if text(get, "/path").is_empty() {
        errors.push(FieldError::required(format!("{path}.path"), ""));
    }
    port(get, path, errors);
    judge_word(errors, path, get, "scheme", &["HTTP", "HTTPS"]);
}

/// A number, or the name of one of the container's ports.
fn port(handler: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let value = handler.get("port").unwrap_or(&Value::Null);
    let wrong = match value {
        Value::String(name) => names::port_name(name),
        other => names::port(other.as_i64().unwrap_or_default()),
    };
    let shown = if value.is_null() { &Value::from(0) } else { value };
    judge(errors, &format!("{path}.port"), shown, wrong);
}
