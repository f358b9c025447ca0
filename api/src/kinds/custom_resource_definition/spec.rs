//! What may be in a definition's spec, the schemas apart (apiextensions `validation.go`).

use super::{columns, schema};
use crate::{
    field::FieldError,
    names,
    read::{self, flag, list, text},
};
use serde_json::Value;
use std::collections::HashSet;

/// What is wrong with a spec.
pub(super) fn errors(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let group = text(spec, "/group");
    let wrong = names::dns1123_subdomain(group);
    if !wrong.is_empty() {
        errors.push(FieldError::invalid("spec.group", group, wrong.join(",")));
    } else if !group.contains('.') {
        let why = "should be a domain with at least one dot";
        errors.push(FieldError::invalid("spec.group", group, why));
    }
    errors.extend(one_of("spec.scope", text(spec, "/scope"), &["Cluster", "Namespaced"]));
    if flag(spec, "/preserveUnknownFields") {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", true, why));
    }
    errors.extend(versions(list(spec, "/versions")));
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(spec, &format!("/names/{name}")).is_empty() {
            errors.push(FieldError::required(format!("spec.names.{name}"), ""));
        }
    }
    errors.extend(name_errors(&spec["names"], "spec.names"));
    errors.extend(conversion(spec));
    errors
}

fn one_of(path: &str, word: &str, known: &[&str]) -> Option<FieldError> {
    match word {
        "" => Some(FieldError::required(path, "")),
        word if known.contains(&word) => None,
        word => Some(FieldError::not_supported(path, word, known)),
    }
}

fn versions(versions: &[Value]) -> Vec<FieldError> {
    const PATH: &str = "spec.versions";
    let mut errors = Vec::new();
    for (at, version) in versions.iter().enumerate() {
        if read::some(version, "/schema/openAPIV3Schema").is_none() {
            errors.push(FieldError::required(format!("{PATH}[{at}].schema.openAPIV3Schema"), ""));
        }
    }
    for (at, version) in versions.iter().enumerate() {
        errors.extend(one_version(version, &format!("{PATH}[{at}]")));
    }
    let mut seen = HashSet::new();
    if !versions.iter().all(|version| seen.insert(text(version, "/name"))) {
        errors.push(FieldError::invalid(
            PATH,
            versions.to_vec(),
            "must contain unique version names",
        ));
    }
    if versions.iter().filter(|version| flag(version, "/storage")).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(PATH, versions.to_vec(), why));
    }
    errors
}

fn one_version(version: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = text(version, "/name");
    let wrong = names::dns1035_label(name);
    if !wrong.is_empty() {
        errors.push(FieldError::invalid(format!("{path}.name"), name, wrong.join(",")));
    }
    errors.extend(deprecation(version, &format!("{path}.deprecationWarning")));
    if let Some(written) = read::some(version, "/schema/openAPIV3Schema") {
        errors.extend(schema::errors(
            written,
            &format!("{path}.schema.openAPIV3Schema"),
            read::some(version, "/subresources/status").is_some(),
        ));
    }
    errors.extend(scale(version, &format!("{path}.subresources")));
    errors.extend(columns::errors(version, path));
    errors
}

fn deprecation(version: &Value, path: &str) -> Option<FieldError> {
    let warning = read::some(version, "/deprecationWarning")?.as_str()?;
    let why = if !flag(version, "/deprecated") {
        "can only be set for deprecated versions"
    } else if warning.len() > 256 {
        "must be <= 256 characters long"
    } else if warning.is_empty() {
        "must not be an empty string"
    } else {
        return None;
    };
    Some(FieldError::invalid(path, warning, why))
}

fn scale(version: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let Some(scale) = read::some(version, "/subresources/scale") else {
        return errors;
    };
    for (name, root, optional) in [
        ("specReplicasPath", "spec", false),
        ("statusReplicasPath", "status", false),
        ("labelSelectorPath", "status", true),
    ] {
        let (path, written) = (format!("{path}.scale.{name}"), text(scale, &format!("/{name}")));
        if written.is_empty() {
            if !optional {
                errors.push(FieldError::required(path, ""));
            }
        } else if let Some(why) = columns::no_simple_path(written) {
            errors.push(FieldError::invalid(path, written, why));
        } else {
            let below_spec = optional && written.starts_with(".spec.");
            if !written.starts_with(&format!(".{root}.")) && !below_spec {
                let why = if optional {
                    "should be a json path under either .spec or .status".to_owned()
                } else {
                    format!("should be a json path under .{root}")
                };
                errors.push(FieldError::invalid(path, written, why));
            }
        }
    }
    errors
}

/// What is wrong with names, wished or accepted; absent ones are not judged.
pub(super) fn name_errors(names: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut judge = |place: String, name: &str, judged: &str, before: &str| {
        let wrong = names::dns1035_label(judged);
        if !name.is_empty() && !wrong.is_empty() {
            errors.push(FieldError::invalid(place, name, format!("{before}{}", wrong.join(","))));
        }
    };
    for member in ["plural", "singular"] {
        let name = text(names, &format!("/{member}"));
        judge(format!("{path}.{member}"), name, name, "");
    }
    for member in ["kind", "listKind"] {
        let name = text(names, &format!("/{member}"));
        let mixed = "may have mixed case, but should otherwise match: ";
        judge(format!("{path}.{member}"), name, &name.to_lowercase(), mixed);
    }
    for member in ["shortNames", "categories"] {
        for (at, name) in list(names, &format!("/{member}"))
            .iter()
            .filter_map(Value::as_str)
            .enumerate()
        {
            judge(format!("{path}.{member}[{at}]"), name, name, "");
        }
    }
    let list_kind = text(names, "/listKind");
    if !list_kind.is_empty() && list_kind == text(names, "/kind") {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(format!("{path}.listKind"), list_kind, why));
    }
    errors
}

fn conversion(spec: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.conversion";
    let Some(conversion) = read::some(spec, "/conversion") else {
        return Vec::new();
    };
    let strategy = text(conversion, "/strategy");
    let mut errors: Vec<FieldError> = one_of(&format!("{PATH}.strategy"), strategy, &["None", "Webhook"])
        .into_iter()
        .collect();
    let config = read::some(conversion, "/webhook/clientConfig");
    let reviews = list(conversion, "/webhook/conversionReviewVersions");
    if strategy == "Webhook" {
        match config {
            None => {
                let why = "required when strategy is set to Webhook";
                errors.push(FieldError::required(format!("{PATH}.webhookClientConfig"), why));
            }
            Some(config) if config.get("url").is_some() == config.get("service").is_some() => {
                let why = "exactly one of url or service is required";
                errors.push(FieldError::required(format!("{PATH}.webhookClientConfig"), why));
            }
            Some(_) => {}
        }
        let path = format!("{PATH}.conversionReviewVersions");
        if reviews.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if !reviews.iter().any(|version| version == "v1" || version == "v1beta1") {
            let why = "must include at least one of v1, v1beta1";
            errors.push(FieldError::invalid(path, reviews.to_vec(), why));
        }
    } else {
        let why = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            errors.push(FieldError::forbidden(format!("{PATH}.webhookClientConfig"), why));
        }
        if !reviews.is_empty() {
            errors.push(FieldError::forbidden(format!("{PATH}.conversionReviewVersions"), why));
        }
    }
    errors
}
