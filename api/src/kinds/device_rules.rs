//! What the kinds of `resource.k8s.io` have in common: requests for devices, selectors, configuration (resource `validation`,
//! `defaults`). No kind of its own. CEL is not compiled here.

use super::volume_source;
use crate::{
    at::{At, each_mut, some_mut},
    field::FieldError,
    names,
    read::{int, set_default_text, text},
};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

pub(super) const GROUP: &str = "resource.k8s.io";
/// Requests, constraints, configurations, selectors and results that one object may have.
pub(super) const ITEMS_MAX: usize = 32;
const SUB_REQUESTS_MAX: usize = 8;
const TOLERATIONS_MAX: usize = 16;
const EXPRESSION_MAX: usize = 10 * 1024;
const PARAMETERS_MAX: usize = 10 * 1024;
const POOL_MAX: usize = 253;
const ID_MAX: usize = 32;
const DOMAIN_MAX: usize = 63;
const MODES: &[&str] = &["All", "ExactCount"];
const EFFECTS: &[&str] = &["NoExecute", "NoSchedule"];
const NO_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

const NO_ATTRIBUTE: &str =
    "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";

/// The requests of a claim, each with its sub-requests.
pub(super) type Requests<'a> = HashMap<&'a str, HashSet<&'a str>>;

/// Fills in the requests of a claim's spec.
pub(super) fn default_claim(spec: &mut Value) {
    each_mut(spec, "/devices/requests", |request| {
        some_mut(request, "/exactly", default_request);
        each_mut(request, "/firstAvailable", default_request);
    });
}

fn default_request(request: &mut Value) {
    set_default_text(request, "allocationMode", "ExactCount");
    if text(request, "/allocationMode") == "ExactCount" && int(request, "/count") == 0 {
        request["count"] = 1.into();
    }
    each_mut(request, "/tolerations", |toleration| {
        set_default_text(toleration, "operator", "Equal");
    });
}

/// What is wrong with a claim's spec.
pub(super) fn claim(spec: &At<'_>) -> Vec<FieldError> {
    let devices = spec.child("devices");
    let requests = requests(spec.value);
    let mut errors = set(&devices, "requests", ITEMS_MAX, "name", |at, errors| {
        request(at, errors)
    });
    errors.extend(all(&devices, "constraints", ITEMS_MAX, |at, errors| {
        errors.extend(names_of(at, &requests));
        let mut attributes = ["matchAttribute", "distinctAttribute"].into_iter();
        match attributes.find_map(|member| at.some(member)) {
            Some(name) => errors.extend(fully_qualified(&name)),
            None => errors.push(at.required("", NO_ATTRIBUTE)),
        }
    }));
    errors.extend(all(&devices, "config", ITEMS_MAX, |at, errors| {
        errors.extend(names_of(at, &requests));
        configuration(at, errors);
    }));
    errors
}

/// The names that a claim's constraints, configurations and results may speak of.
pub(super) fn requests(spec: &Value) -> Requests<'_> {
    let requests = spec.pointer("/devices/requests").and_then(Value::as_array);
    let mut names = Requests::new();
    for request in requests.into_iter().flatten() {
        let inner = request.get("firstAvailable").and_then(Value::as_array);
        let inner = inner.into_iter().flatten().map(|sub| text(sub, "/name")).collect();
        names.insert(text(request, "/name"), inner);
    }
    names
}

fn request(at: &At<'_>, errors: &mut Vec<FieldError>) {
    errors.extend(at.invalid_text("name", names::dns1123_label(at.text("name"))));
    let one = "exactly one of `exactly` or `firstAvailable` is required";
    match (at.some("exactly"), at.items("firstAvailable").is_empty()) {
        (None, true) => errors.push(at.required("", one)),
        (Some(_), false) => {
            let why = format!("{one}, but multiple fields are set");
            errors.push(FieldError::invalid(at.path(""), Value::Null, why));
        }
        (Some(exactly), true) => exact(&exactly, errors),
        (None, false) => errors.extend(set(at, "firstAvailable", SUB_REQUESTS_MAX, "name", |sub, errors| {
            errors.extend(sub.invalid_text("name", names::dns1123_label(sub.text("name"))));
            exact(sub, errors);
        })),
    }
}

fn exact(at: &At<'_>, errors: &mut Vec<FieldError>) {
    match at.text("deviceClassName") {
        "" => errors.push(at.required("deviceClassName", "")),
        name => errors.extend(at.invalid("deviceClassName", names::dns1123_subdomain(name))),
    }
    errors.extend(selectors(at));
    let count = at.int("count");
    match at.text("allocationMode") {
        "All" if count != 0 => {
            errors.extend(at.invalid("count", ["must not be specified when allocationMode is 'All'"]));
        }
        "ExactCount" if count <= 0 => {
            errors.push(FieldError::invalid(
                at.path("count"),
                count,
                "must be greater than zero",
            ));
        }
        "All" | "ExactCount" => {}
        other => errors.push(FieldError::not_supported(at.path("allocationMode"), other, MODES)),
    }
    errors.extend(all(at, "tolerations", TOLERATIONS_MAX, toleration));
}

pub(super) fn toleration(at: &At<'_>, errors: &mut Vec<FieldError>) {
    if !at.text("key").is_empty() {
        errors.extend(at.invalid("key", names::qualified_name(at.text("key"))));
    }
    match at.text("operator") {
        "Exists" if !at.text("value").is_empty() => {
            errors.extend(at.invalid("value", ["must be empty for operator `Exists`"]));
        }
        "Exists" => {}
        "Equal" => errors.extend(at.invalid_text("value", names::label_value(at.text("value")))),
        "" => errors.push(at.required("operator", "")),
        other => errors.push(FieldError::not_supported(
            at.path("operator"),
            other,
            &["Equal", "Exists"],
        )),
    }
    if !at.text("effect").is_empty() {
        errors.extend(at.one_of("effect", EFFECTS));
    }
}

/// What is wrong with a device's taint.
pub(super) fn taint(at: &At<'_>, errors: &mut Vec<FieldError>) {
    errors.extend(at.invalid_text("key", names::qualified_name(at.text("key"))));
    errors.extend(at.invalid_text("value", names::label_value(at.text("value"))));
    errors.extend(at.must_be_one_of("effect", &["NoExecute", "NoSchedule", "None"]));
}

/// What is wrong with the selectors in `at`.
pub(super) fn selectors(at: &At<'_>) -> Vec<FieldError> {
    all(at, "selectors", ITEMS_MAX, |selector, errors| {
        match selector.some("cel") {
            None => errors.push(selector.required("cel", "")),
            Some(cel) if cel.text("expression").len() > EXPRESSION_MAX => {
                errors.push(FieldError::too_long(cel.path("expression"), EXPRESSION_MAX));
            }
            Some(cel) if cel.text("expression").trim().is_empty() => {
                let why = "compilation failed: ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>'";
                errors.extend(cel.invalid_text("expression", [why]));
            }
            Some(_) => {}
        }
    })
}

/// What is wrong with a configuration.
pub(super) fn configuration(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let Some(opaque) = at.some("opaque") else {
        errors.push(at.required("opaque", ""));
        return;
    };
    errors.extend(volume_source::csi_driver(&opaque, "driver"));
    raw(&opaque, "parameters", PARAMETERS_MAX, errors);
}

/// What is wrong with an object of any shape.
pub(super) fn raw(at: &At<'_>, key: &str, limit: usize, errors: &mut Vec<FieldError>) {
    match at.some(key) {
        None => errors.push(at.required(key, "")),
        Some(value) if value.value.to_string().len() > limit => {
            errors.push(FieldError::too_long(at.path(key), limit));
        }
        Some(value) if !value.value.is_object() => errors.push(FieldError::invalid(
            at.path(key),
            "<value omitted>",
            "parameters must be a valid JSON object",
        )),
        Some(_) => {}
    }
}

/// What is wrong with the names of requests in `at.requests`.
pub(super) fn names_of(at: &At<'_>, requests: &Requests<'_>) -> Vec<FieldError> {
    set(at, "requests", ITEMS_MAX, "", |name, errors| {
        errors.extend(request_name(name, "", name.as_text(), requests));
    })
}

/// What is wrong with `request` or `request/subrequest`.
pub(super) fn request_name(at: &At<'_>, key: &str, name: &str, requests: &Requests<'_>) -> Vec<FieldError> {
    let parts: Vec<&str> = name.split('/').collect();
    let known = match parts[..] {
        [request] => requests.contains_key(request),
        [request, sub] => requests.get(request).is_some_and(|subs| subs.contains(sub)),
        _ => return at.invalid_text(key, [NO_REQUEST]),
    };
    let wrong = parts.iter().flat_map(|part| names::dns1123_label(part));
    let mut errors: Vec<FieldError> = wrong.map(|m| FieldError::invalid(at.path(key), name, m)).collect();
    if !known {
        errors.extend(at.invalid_text(key, [NO_REQUEST]));
    }
    errors
}

/// What is wrong with a pool's name.
pub(super) fn pool_name(at: &At<'_>, key: &str) -> Vec<FieldError> {
    let name = at.text(key);
    if name.is_empty() {
        return vec![at.required(key, "")];
    }
    let mut errors = Vec::new();
    if name.len() > POOL_MAX {
        errors.push(FieldError::too_long(at.path(key), POOL_MAX));
    }
    for part in name.split('/') {
        let wrong = names::dns1123_subdomain(part).into_iter();
        errors.extend(wrong.map(|m| FieldError::invalid(at.path(key), part, m)));
    }
    errors
}

/// What is wrong with an attribute's name, `id` or `domain/id`, at `path`.
pub(super) fn qualified(path: &str, name: &str) -> Vec<FieldError> {
    let invalid = |part: &str, why: &str| FieldError::invalid(path, part, why);
    let id = |id: &str| -> Vec<FieldError> {
        let long = (id.len() > ID_MAX).then(|| FieldError::too_long(path, ID_MAX));
        let wrong = names::c_identifier(id).into_iter();
        let wrong = wrong.map(|why| FieldError::invalid(path, id, why));
        long.into_iter().chain(wrong).collect()
    };
    match name.split('/').collect::<Vec<_>>()[..] {
        [name] => id(name),
        [domain, name] => {
            let mut errors = Vec::new();
            if domain.is_empty() {
                errors.push(invalid("", "the domain must not be empty"));
            }
            if domain.len() > DOMAIN_MAX {
                errors.push(FieldError::too_long(path, DOMAIN_MAX));
            }
            if !domain.is_empty() {
                let wrong = names::dns1123_subdomain(&domain.to_lowercase()).into_iter();
                errors.extend(wrong.map(|why| invalid(domain, &why)));
            }
            if name.is_empty() {
                errors.push(invalid("", "the name must not be empty"));
            } else {
                errors.extend(id(name));
            }
            errors
        }
        _ => vec![invalid(name, "must not contain more than one slash")],
    }
}

fn fully_qualified(at: &At<'_>) -> Vec<FieldError> {
    let mut errors = qualified(&at.path(""), at.as_text());
    if !at.as_text().contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        errors.extend(at.invalid("", [why]));
    }
    errors
}

/// Judges each item of a list that may have so many.
pub(super) fn all(
    at: &At<'_>,
    key: &str,
    most: usize,
    judge: impl Fn(&At<'_>, &mut Vec<FieldError>),
) -> Vec<FieldError> {
    let items = at.items(key);
    if items.len() > most {
        return vec![FieldError::too_many(at.path(key), items.len(), most)];
    }
    let mut errors = Vec::new();
    items.iter().for_each(|item| judge(item, &mut errors));
    errors
}

/// The same where no two items have the same `member` (the empty one is the item itself).
pub(super) fn set(
    at: &At<'_>,
    key: &str,
    most: usize,
    member: &str,
    judge: impl Fn(&At<'_>, &mut Vec<FieldError>),
) -> Vec<FieldError> {
    let mut errors = all(at, key, most, judge);
    if at.list(key).len() > most {
        return errors;
    }
    let mut seen = HashSet::new();
    for item in at.items(key) {
        let name = if member.is_empty() {
            item.as_text()
        } else {
            item.text(member)
        };
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(item.path(member), name));
        }
    }
    errors
}
