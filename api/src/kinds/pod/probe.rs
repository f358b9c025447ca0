//! What is wrong with a container's probes and lifecycle hooks (core `validation.validateProbe`, `validateHandler`).

use crate::{at::At, field::FieldError, kinds::amount::not_negative, names};
use serde_json::Value;

const SCHEMES: &[&str] = &["HTTP", "HTTPS"];
/// Signals by name; the real-time ones are numbered from both ends.
const SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGRTMIN",
    "SIGRTMAX",
];

/// Judges the hooks and probes of a container that may have them.
pub(super) fn validate(container: &At<'_>, spec: &At<'_>, errors: &mut Vec<FieldError>) {
    let grace = spec.number("terminationGracePeriodSeconds");
    if let Some(lifecycle) = container.some("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.some(hook) {
                handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace, errors);
            }
        }
        errors.extend(stop_signal(&lifecycle, spec));
    }
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.some(kind) {
            one(kind, &probe, grace, errors);
        }
    }
}

fn one(kind: &str, probe: &At<'_>, grace: Option<i64>, errors: &mut Vec<FieldError>) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace, errors);
    let counts = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    errors.extend(not_negative(probe.value, &probe.path(""), &counts));
    let own_grace = "terminationGracePeriodSeconds";
    errors.extend(probe.judge_number(own_grace, |seconds| match seconds {
        ..=0 => vec!["must be greater than 0".to_owned()],
        _ => Vec::new(),
    }));
    if kind == "readinessProbe" {
        if probe.has(own_grace) {
            errors.extend(probe.invalid(own_grace, ["must not be set for readinessProbes"]));
        }
    } else if probe.int("successThreshold") != 1 {
        errors.extend(probe.invalid("successThreshold", ["must be 1"]));
    }
}

fn handler(holder: &At<'_>, kinds: &[&str], grace: Option<i64>, errors: &mut Vec<FieldError>) {
    let mut count = 0;
    for kind in kinds {
        let Some(handler) = holder.some(kind) else { continue };
        count += 1;
        if count > 1 {
            errors.push(holder.forbidden(kind, "may not specify more than 1 handler type"));
            continue;
        }
        match *kind {
            "exec" if handler.list("command").is_empty() => errors.push(handler.required("command", "")),
            "httpGet" => http_get(&handler, errors),
            "tcpSocket" | "grpc" => errors.extend(port_or_name(&handler, "port")),
            "sleep" => errors.extend(sleep(&handler, grace)),
            _ => {}
        }
    }
    if count == 0 {
        errors.push(holder.required("", "must specify a handler type"));
    }
}

fn sleep(action: &At<'_>, grace: Option<i64>) -> Vec<FieldError> {
    let (seconds, Some(grace)) = (action.int("seconds"), grace) else {
        return Vec::new();
    };
    if (0..=grace).contains(&seconds) {
        return Vec::new();
    }
    let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
    vec![FieldError::invalid(action.path(""), seconds, why)]
}

fn http_get(get: &At<'_>, errors: &mut Vec<FieldError>) {
    errors.extend(get.need("path"));
    errors.extend(port_or_name(get, "port"));
    if !SCHEMES.contains(&get.text("scheme")) {
        errors.push(FieldError::not_supported(
            get.path("scheme"),
            get.text("scheme"),
            SCHEMES,
        ));
    }
    for header in get.items("httpHeaders") {
        let name = header.text("name");
        let wrong = names::http_header(name).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(get.path("httpHeaders"), name, why)));
    }
}

/// A number, or the name of one of the container's ports (core `ValidatePortNumOrName`).
pub(in crate::kinds) fn port_or_name(holder: &At<'_>, member: &str) -> Vec<FieldError> {
    let port = holder.child(member);
    match port.value {
        Value::String(name) => port.invalid("", names::port_name(name)),
        other => {
            let number = other.as_i64().unwrap_or_default();
            let wrong = names::port(number).into_iter();
            wrong
                .map(|why| FieldError::invalid(port.path(""), number, why))
                .collect()
        }
    }
}

fn stop_signal(lifecycle: &At<'_>, spec: &At<'_>) -> Option<FieldError> {
    let signal = lifecycle.some("stopSignal")?;
    let Some(os) = spec.some("os") else {
        let why = "may not be set for containers with empty `spec.os.name`";
        return Some(signal.forbidden("", why));
    };
    let mut known: Vec<String> = match os.text("name") {
        "linux" => SIGNALS.iter().map(|s| (*s).to_owned()).collect(),
        "windows" => vec!["SIGKILL".to_owned(), "SIGTERM".to_owned()],
        _ => return None,
    };
    if os.text("name") == "linux" {
        known.extend((1..=15).map(|n| format!("SIGRTMIN+{n}")));
        known.extend((1..=14).map(|n| format!("SIGRTMAX-{n}")));
    }
    known.sort();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    (!known.contains(&signal.as_text()))
        .then(|| FieldError::not_supported(signal.path(""), signal.value.clone(), &known))
}
