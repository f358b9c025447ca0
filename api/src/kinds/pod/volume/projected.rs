//! Files that come from objects and not from storage: downward API, keys of Secrets and ConfigMaps, and all of them together in
//! a projected volume (core `validateProjectionSources`).

use super::super::container::{self, FILE_FIELDS};
use crate::{at::At, field::FieldError, kinds::volume_source::inside, names, selector};
use std::collections::HashSet;

const KEY_TYPES: &[&str] = &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];

/// Judges the permissions `member`.
pub(super) fn mode(source: &At<'_>, member: &str) -> Vec<FieldError> {
    source.judge_number(member, |mode| {
        if (0..=0o777).contains(&mode) {
            return Vec::new();
        }
        vec!["must be a number between 0 and 0777 (octal), both inclusive".to_owned()]
    })
}

/// A path below the volume that does not look like one of its own (`ValidateLocalNonReservedPath`).
fn not_reserved(path: &str) -> Vec<String> {
    let mut wrong = inside(path);
    if path.starts_with("..") && !path.starts_with("../") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// Judges a key of a Secret or ConfigMap that becomes a file.
pub(super) fn key_to_path(item: &At<'_>) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = item.need("key").into_iter().collect();
    errors.extend(item.need("path"));
    errors.extend(item.judge("path", not_reserved));
    errors.extend(mode(item, "mode"));
    errors
}

/// Judges a file that shows a field of the pod; upstream names `source`, which has it, and not the file.
pub(super) fn file(item: &At<'_>, source: &At<'_>) -> Vec<FieldError> {
    let item = At::new(item.value, source.path(""));
    let mut errors: Vec<FieldError> = item.need("path").into_iter().collect();
    errors.extend(item.judge("path", not_reserved));
    match (item.some("fieldRef"), item.some("resourceFieldRef")) {
        (Some(field), resource) => {
            errors.extend(container::field_ref(&field, FILE_FIELDS));
            if resource.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(item.path(""), "resource", why));
            }
        }
        (None, Some(resource)) => errors.extend(container::resource_ref(&resource, true)),
        (None, None) => errors.push(item.required("", "one of fieldRef and resourceFieldRef is required")),
    }
    errors.extend(mode(&item, "mode"));
    errors
}

pub(super) fn validate(projected: &At<'_>) -> Vec<FieldError> {
    let mut errors = mode(projected, "defaultMode");
    let mut taken = Taken {
        paths: HashSet::new(),
        volume: projected.path(""),
    };
    for part in projected.items("sources") {
        let mut count = 0;
        for kind in [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ] {
            let Some(source) = part.some(kind) else { continue };
            count += 1;
            errors.extend(match kind {
                "secret" | "configMap" => keys(&source, &mut taken),
                "downwardAPI" => fields(&source, &mut taken),
                "serviceAccountToken" => token(&source, projected),
                "clusterTrustBundle" => bundle(&source, &mut taken),
                _ => certificate(&source, &mut taken),
            });
        }
        if count > 1 {
            errors.push(part.forbidden("", "may not specify more than 1 volume type per source"));
        }
    }
    errors
}

/// The paths that the volume has already.
struct Taken {
    paths: HashSet<String>,
    volume: String,
}

// === impl Taken ===

impl Taken {
    /// Takes a path; `shown` is what the error shows where it is taken.
    fn take(&mut self, path: &str, shown: &str) -> Option<FieldError> {
        if path.is_empty() || self.paths.insert(path.to_owned()) {
            return None;
        }
        Some(FieldError::invalid(&self.volume, shown, "conflicting duplicate paths"))
    }
}

fn keys(source: &At<'_>, taken: &mut Taken) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = source.need("name").into_iter().collect();
    for item in source.items("items") {
        errors.extend(key_to_path(&item));
        errors.extend(taken.take(item.text("path"), source.text("name")));
    }
    errors
}

fn fields(source: &At<'_>, taken: &mut Taken) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for item in source.items("items") {
        errors.extend(file(&item, source));
        errors.extend(taken.take(item.text("path"), item.text("path")));
    }
    errors
}

fn token(source: &At<'_>, projected: &At<'_>) -> Vec<FieldError> {
    let mut errors = source.judge_number("expirationSeconds", |seconds| {
        if seconds < 600 {
            vec!["may not specify a duration less than 10 minutes".to_owned()]
        } else if seconds > 1 << 32 {
            vec!["may not specify a duration larger than 2^32 seconds".to_owned()]
        } else {
            Vec::new()
        }
    });
    // Upstream names the volume here, not the source.
    match source.text("path") {
        "" => errors.push(projected.required("path", "")),
        path => errors.extend(
            not_reserved(path)
                .into_iter()
                .map(|why| FieldError::invalid(projected.path("path"), path, why)),
        ),
    }
    errors
}

fn bundle(source: &At<'_>, taken: &mut Taken) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match (source.has("name"), source.has("signerName")) {
        (true, true) => errors.extend(source.invalid("", ["only one of name and signerName may be used"])),
        (true, false) => {
            if source.text("name").is_empty() {
                errors.push(source.required("name", "must be a valid object name"));
            }
            if source.has("labelSelector") {
                let why = "labelSelector must be unset if name is specified";
                errors.extend(source.invalid("labelSelector", [why]));
            }
        }
        (false, true) => {
            if source.text("signerName").is_empty() {
                errors.push(source.required("signerName", "must be a valid signer name"));
            }
            if let Some(selector) = source.some("labelSelector") {
                errors.extend(selector::check(&selector));
            }
        }
        (false, false) => errors.push(source.required("", "either name or signerName must be specified")),
    }
    errors.extend(source.need("path"));
    errors.extend(source.judge("path", not_reserved));
    errors.extend(taken.take(source.text("path"), source.text("path")));
    errors
}

fn certificate(source: &At<'_>, taken: &mut Taken) -> Vec<FieldError> {
    let mut errors = source.judge("signerName", |signer| match signer.split_once('/') {
        Some((domain, _)) => names::dns1123_subdomain(domain),
        None => vec!["must be a fully qualified domain and path of the form 'example.com/signer-name'".to_owned()],
    });
    if !KEY_TYPES.contains(&source.text("keyType")) {
        let field = source.path("keyType");
        errors.push(FieldError::not_supported(field, source.text("keyType"), KEY_TYPES));
    }
    errors.extend(source.judge_number("maxExpirationSeconds", |seconds| {
        let longest = if source.text("signerName").starts_with("kubernetes.io/") {
            86400
        } else {
            7_862_400
        };
        if seconds < 3600 {
            vec!["if provided, maxExpirationSeconds must be >= 3600".to_owned()]
        } else if seconds > longest {
            vec![format!("if provided, maxExpirationSeconds must be <= {longest}")]
        } else {
            Vec::new()
        }
    }));
    let members = ["credentialBundlePath", "keyPath", "certificateChainPath"];
    for member in members {
        errors.extend(source.judge(member, not_reserved));
        errors.extend(taken.take(source.text(member), source.text(member)));
    }
    if members.iter().all(|member| source.text(member).is_empty()) {
        let why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.push(source.required("", why));
    }
    errors
}
