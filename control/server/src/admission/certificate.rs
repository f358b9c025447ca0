//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction; and a new request says who made it (upstream does
//! the latter in its strategy, which sees the user).

use crate::authorize::{Attributes, Resource};
use crate::call::Call;
use api::read::{self, text};
use api::status::{self, Status};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use identity::Request;
use serde_json::{Value, json};

const KEY: &str = "certificatesigningrequests";

/// A request is its maker's, whatever its body says.
pub(super) fn own(call: &Call, request: &mut Value, old: Option<&Value>) {
    if call.rules.key != KEY || old.is_some() {
        return;
    }
    let user = &call.user;
    if let Some(spec) = read::map_mut(request, "spec") {
        for member in ["username", "uid", "groups", "extra"] {
            spec.shift_remove(member);
        }
        spec.insert("username".to_owned(), (&*user.name).into());
        if !user.uid.is_empty() {
            spec.insert("uid".to_owned(), (&*user.uid).into());
        }
        spec.insert("groups".to_owned(), json!(&*user.groups));
        if !user.extra.is_empty() {
            spec.insert("extra".to_owned(), json!(&*user.extra));
        }
    }
}

pub(super) fn admit(call: &Call, object: Option<&Value>, old: Option<&Value>) -> Result<(), Status> {
    let Some(object) = object.filter(|_| call.rules.key == KEY) else {
        return Ok(());
    };
    let signer = text(old.unwrap_or(object), "/spec/signerName");
    match (call.subresource.as_str(), old) {
        ("approval", Some(_)) => may(call, "approve", signer),
        ("status", Some(old)) if decides(object, old) => may(call, "sign", signer),
        ("", None) => subject(call, object, signer),
        _ => Ok(()),
    }
}

fn decides(new: &Value, old: &Value) -> bool {
    ["/status/certificate", "/status/conditions"]
        .iter()
        .any(|member| new.pointer(member) != old.pointer(member))
}

/// On the signer itself, or on all of its domain.
fn may(call: &Call, verb: &str, signer: &str) -> Result<(), Status> {
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    let allowed = [signer, &domain].into_iter().any(|name| {
        let resource = Resource {
            group: "certificates.k8s.io",
            resource: "signers",
            name,
            ..Resource::default()
        };
        call.server
            .authorizer
            .allows(&call.user, &Attributes::resource(verb, resource))
            .allowed
    });
    if allowed {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(status::forbidden(&call.rules, &call.name, &why))
}

/// Nobody becomes a master by a certificate of the API's own signer.
fn subject(call: &Call, object: &Value, signer: &str) -> Result<(), Status> {
    if signer != "kubernetes.io/kube-apiserver-client" {
        return Ok(());
    }
    let pem = STANDARD.decode(text(object, "/spec/request")).unwrap_or_default();
    // What cannot be read is refused by validation, or later by the signer.
    let Ok(request) = Request::from_pem(&String::from_utf8_lossy(&pem)) else {
        return Ok(());
    };
    if request.organizations.iter().any(|group| group == crate::user::MASTERS) {
        let why = format!(
            "use of {signer} signer with {} group is not allowed",
            crate::user::MASTERS
        );
        return Err(status::forbidden(&call.rules, api::metadata::name(object), &why));
    }
    Ok(())
}
