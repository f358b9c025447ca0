//! CertificateSigningRequest: somebody asks a signer for a certificate; somebody else approves or denies it.

use crate::{
    field::FieldError,
    kind::{Column, Context, Kind, SelectableField, Subresource, Verb},
    metadata, names,
    read::{self, list, text},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};

const API: &str = "certificates.k8s.io";
/// What a certificate may be asked to be good for (certificates.k8s.io/v1 `KeyUsage`).
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Conditions that decide; only the subresource `approval` writes them.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
/// Seconds that a certificate must at least be asked for.
const LEAST_SECONDS: i64 = 600;

/// `certificates.k8s.io/v1` CertificateSigningRequest.
pub struct CertificateSigningRequest;

impl Kind for CertificateSigningRequest {
    const GROUP: &'static str = API;
    const KIND: &'static str = "CertificateSigningRequest";
    const PLURAL: &'static str = "certificatesigningrequests";
    const SINGULAR: &'static str = "certificatesigningrequest";
    const SHORT_NAMES: &'static [&'static str] = &["csr"];
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource {
            name: "approval",
            group: API,
            version: "v1",
            kind: "CertificateSigningRequest",
            verbs: &[Verb::Get, Verb::Patch, Verb::Update],
        },
        Subresource::status(API, "v1", "CertificateSigningRequest"),
    ];
    const KEY: &'static str = "certificatesigningrequests";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::AGE,
        Column::narrow("SignerName", "string", "Who is asked to sign."),
        Column::narrow("Requestor", "string", "Who asked."),
        Column::narrow("RequestedDuration", "string", "For how long."),
        Column::narrow("Condition", "string", "Pending, Approved or Denied; Issued, Failed."),
    ];
    const FIELDS: &'static [SelectableField] = &[SelectableField {
        label: "spec.signerName",
        read: |request| text(request, "/spec/signerName").to_owned(),
    }];
    type Object = k8s_openapi::api::certificates::v1::CertificateSigningRequest;

    fn check_name(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn default(request: &mut Value) {
        let conditions = request.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten().filter(|c| c.is_object()) {
            read::set_default_text(condition, "status", "True");
        }
    }

    fn before_update(new: &mut Value, old: &Value, context: &Context<'_>) {
        metadata::restore_member(new, old, "spec");
        match context.subresource {
            "approval" => {
                let all = conditions(new, |_| true);
                metadata::restore_member(new, old, "status");
                set_conditions(new, all);
            }
            "status" => {
                let decided = conditions(old, |kind| DECISIONS.contains(&kind));
                let kept = conditions(new, |kind| !DECISIONS.contains(&kind));
                set_conditions(new, decided.into_iter().chain(kept).collect());
            }
            _ => {}
        }
        stamp(new, old, context.now);
    }

    fn validate(request: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let Err(why) = block(text(request, "/spec/request")) {
            let shown = text(request, "/spec/request");
            errors.push(FieldError::invalid("spec.request", shown, why));
        }
        usages(request, &mut errors);
        signer(text(request, "/spec/signerName"), &mut errors);
        if let Some(seconds) = read::some(request, "/spec/expirationSeconds")
            .and_then(Value::as_i64)
            .filter(|seconds| *seconds < LEAST_SECONDS)
        {
            errors.push(FieldError::invalid(
                "spec.expirationSeconds",
                seconds,
                "may not specify a duration less than 600 seconds (10 minutes)",
            ));
        }
        judge_conditions(request, &mut errors);
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        let mut errors = Vec::new();
        judge_conditions(new, &mut errors);
        // What is decided stays decided.
        for kind in DECISIONS {
            let of = |request: &Value| conditions(request, |k| k == kind).into_iter().next();
            if subresource == "approval" && of(old).is_some() && of(new).is_none() {
                errors.push(FieldError::forbidden(
                    "status.conditions",
                    format!("updates may not remove a condition of type {kind:?}"),
                ));
            }
        }
        let certificate = |request: &Value| text(request, "/status/certificate").to_owned();
        if !certificate(old).is_empty() && certificate(new) != certificate(old) {
            errors.push(FieldError::forbidden(
                "status.certificate",
                "updates may not modify a certificate that was issued",
            ));
        }
        errors
    }

    fn row(request: &Value, now: Timestamp) -> Vec<Value> {
        let duration = match read::some(request, "/spec/expirationSeconds").and_then(Value::as_i64) {
            Some(seconds) => crate::duration::human(seconds),
            None => "<none>".to_owned(),
        };
        vec![
            metadata::name(request).into(),
            metadata::age(request, now).into(),
            text(request, "/spec/signerName").into(),
            text(request, "/spec/username").into(),
            duration.into(),
            state(request).into(),
        ]
    }
}

fn conditions(request: &Value, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    let all = list(request, "/status/conditions").iter();
    all.filter(|condition| wanted(text(condition, "/type")))
        .cloned()
        .collect()
}

fn set_conditions(request: &mut Value, conditions: Vec<Value>) {
    if let Some(status) = read::map_mut(request, "status") {
        if conditions.is_empty() {
            status.shift_remove("conditions");
        } else {
            status.insert("conditions".to_owned(), conditions.into());
        }
    }
}

/// When a condition came and when it last changed, where the client does not say.
fn stamp(new: &mut Value, old: &Value, now: &str) {
    let before = conditions(old, |_| true);
    let present = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in present.into_iter().flatten().filter(|c| c.is_object()) {
        let same = before.iter().find(|b| text(b, "/type") == text(condition, "/type"));
        let kept = |member: &str| same.and_then(|b| b.get(member)).filter(|v| !v.is_null()).cloned();
        let unchanged = same.is_some_and(|b| text(b, "/status") == text(condition, "/status"));
        let transition = kept("lastTransitionTime")
            .filter(|_| unchanged)
            .unwrap_or_else(|| now.into());
        read::set_default(condition, "lastTransitionTime", transition);
        read::set_default(
            condition,
            "lastUpdateTime",
            kept("lastUpdateTime").unwrap_or_else(|| now.into()),
        );
    }
}

/// Whether the text is PEM of the right sort; the signers read what is in it.
fn block(encoded: &str) -> Result<(), String> {
    let bytes = STANDARD.decode(encoded).map_err(|cause| cause.to_string())?;
    let pem = String::from_utf8_lossy(&bytes);
    let wanted = "-----BEGIN CERTIFICATE REQUEST-----";
    let body = pem
        .split_once(wanted)
        .and_then(|(_, rest)| rest.split_once("-----END CERTIFICATE REQUEST-----"));
    let Some((body, _)) = body else {
        return Err("PEM block type must be CERTIFICATE REQUEST".to_owned());
    };
    let compact: String = body.split_whitespace().collect();
    let der = STANDARD
        .decode(compact)
        .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    if der.first() == Some(&0x30) {
        Ok(())
    } else {
        Err("asn1: structure error: tags don't match".to_owned())
    }
}

fn usages(request: &Value, errors: &mut Vec<FieldError>) {
    let usages = list(request, "/spec/usages");
    if usages.is_empty() {
        errors.push(FieldError::required("spec.usages", ""));
    }
    for (index, usage) in usages.iter().enumerate() {
        let field = format!("spec.usages[{index}]");
        let word = usage.as_str().unwrap_or_default();
        if !USAGES.contains(&word) {
            errors.push(FieldError::not_supported(field, word, USAGES));
        } else if usages[..index].contains(usage) {
            errors.push(FieldError::duplicate(field, word));
        }
    }
}

/// Upstream `ValidateSignerName`: a domain and a path below it.
fn signer(name: &str, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.signerName";
    let mut wrong = |why: String| errors.push(FieldError::invalid(FIELD, name, why));
    let (domain, path) = match name.split_once('/') {
        _ if name == "kubernetes.io/legacy-unknown" => {
            return wrong("the legacy signerName is not allowed via this API version".to_owned());
        }
        _ if name.is_empty() => return errors.push(FieldError::required(FIELD, "")),
        Some((domain, path)) if !path.is_empty() => (domain, path),
        Some(_) | None => {
            return wrong("must be a fully qualified domain and path of the form 'example.com/signer-name'".to_owned());
        }
    };
    for why in names::dns1123_subdomain(domain) {
        wrong(format!("validating domain {domain:?}: {why}"));
    }
    if !domain.contains('.') {
        wrong("should be a domain with at least two segments separated by dots".to_owned());
    }
    for part in path.split('.') {
        for why in names::dns1123_label(part) {
            wrong(format!("validating label {part:?}: {why}"));
        }
    }
    if name.len() > 571 {
        errors.push(FieldError::too_long(FIELD, 571));
    }
}

fn judge_conditions(request: &Value, errors: &mut Vec<FieldError>) {
    let all = list(request, "/status/conditions");
    for (index, condition) in all.iter().enumerate() {
        let field = format!("status.conditions[{index}]");
        let (kind, status) = (text(condition, "/type"), text(condition, "/status"));
        if kind.is_empty() {
            errors.push(FieldError::required(format!("{field}.type"), ""));
        }
        if matches!(kind, "Approved" | "Denied" | "Failed") && status != "True" {
            errors.push(FieldError::not_supported(format!("{field}.status"), status, &["True"]));
        }
        if all[..index].iter().any(|before| text(before, "/type") == kind) {
            errors.push(FieldError::duplicate(format!("{field}.type"), kind));
        }
    }
    if DECISIONS
        .iter()
        .all(|kind| all.iter().any(|c| text(c, "/type") == *kind))
    {
        errors.push(FieldError::invalid(
            "status.conditions",
            json!(DECISIONS),
            "Approved and Denied conditions are mutually exclusive",
        ));
    }
}

/// As `kubectl get csr` shows it.
fn state(request: &Value) -> String {
    let is = |kind: &str| {
        list(request, "/status/conditions")
            .iter()
            .any(|c| text(c, "/type") == kind)
    };
    let mut state = if is("Denied") {
        "Denied"
    } else if is("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if is("Failed") {
        state.push_str(",Failed");
    }
    if !text(request, "/status/certificate").is_empty() {
        state.push_str(",Issued");
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(subresource: &str) -> Context<'_> {
        Context {
            now: "2026-11-20T13:08:07Z",
            uid: "u",
            suffix: "abcde",
            namespace: "",
            subresource,
        }
    }

    #[test]
    fn what_is_asked_for_is_judged() {
        let pem = "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";
        let request = |spec: Value| {
            let mut request = json!({ "spec": {
                "request": STANDARD.encode(pem), "signerName": "example.com/a", "usages": ["client auth"],
            }});
            request["spec"]
                .as_object_mut()
                .unwrap()
                .extend(spec.as_object().unwrap().clone());
            let errors = CertificateSigningRequest::validate(&request);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(request(json!({})), Vec::<String>::new());
        for (spec, sentence) in [
            (
                json!({ "request": "eA==" }),
                "PEM block type must be CERTIFICATE REQUEST",
            ),
            (json!({ "usages": [] }), "spec.usages: Required value"),
            (
                json!({ "usages": ["fun"] }),
                "spec.usages[0]: Unsupported value: \"fun\"",
            ),
            (
                json!({ "signerName": "kubernetes.io/legacy-unknown" }),
                "the legacy signerName is not allowed",
            ),
            (
                json!({ "signerName": "signer" }),
                "must be a fully qualified domain and path",
            ),
            (
                json!({ "expirationSeconds": 1 }),
                "may not specify a duration less than 600 seconds",
            ),
        ] {
            let messages = request(spec);
            assert!(
                messages.iter().any(|m| m.contains(sentence)),
                "{sentence}: {messages:?}"
            );
        }
    }

    #[test]
    fn each_subresource_writes_its_own_conditions() {
        let old = json!({ "spec": { "username": "a" }, "status": { "conditions": [{ "type": "Failed", "status": "True" }] } });
        let mut new = json!({ "spec": { "username": "b" }, "status": { "certificate": "x", "conditions": [
            { "type": "Approved", "status": "True", "reason": "r" }, { "type": "Seen", "status": "True" },
            { "type": "Failed", "status": "True" },
        ]}});
        CertificateSigningRequest::before_update(&mut new, &old, &context("approval"));
        assert_eq!(new["spec"]["username"], "a");
        assert_eq!(new["status"].get("certificate"), None);
        let kinds: Vec<&str> = list(&new, "/status/conditions")
            .iter()
            .map(|c| text(c, "/type"))
            .collect();
        assert_eq!(kinds, ["Approved", "Seen", "Failed"]);
        assert_eq!(state(&new), "Approved,Failed");
        let mut issued = json!({ "status": { "certificate": "x" } });
        CertificateSigningRequest::before_update(&mut issued, &new, &context("status"));
        assert_eq!(state(&issued), "Approved,Issued");
    }
}
