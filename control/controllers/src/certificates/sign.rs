//! certificatesigningrequest-signing-controller: signs what is approved, or says why not.

use super::{Signer, each, is, is_issued, judge, read};
use crate::context::Context;
use client::{Api, Error};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use std::time::Duration;

/// Upstream's `--cluster-signing-duration`.
const LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) async fn run(context: Context) {
    let Some(signer) = context.settings.signer.clone() else {
        return tracing::warn!("the control plane has no key of the cluster's CA: certificate requests are not signed");
    };
    let own = context.clone();
    each("certificatesigningrequest-signing-controller", &own, move |request| {
        let (context, signer) = (context.clone(), signer.clone());
        async move { reconcile(&context, &signer, &request).await }
    })
    .await;
}

async fn reconcile(context: &Context, signer: &Signer, request: &CertificateSigningRequest) -> Result<(), Error> {
    let is_due = is(request, "Approved") && !is(request, "Denied") && !is(request, "Failed") && !is_issued(request);
    if !is_due || !judge::is_ours(&request.spec.signer_name) {
        return Ok(());
    }
    let mut request = request.clone();
    let outcome = certificate(signer, &request);
    let status = request.status.get_or_insert_default();
    match outcome {
        Ok(certificate) => status.certificate = Some(ByteString(certificate.into_bytes())),
        Err(why) => status
            .conditions
            .get_or_insert_default()
            .push(CertificateSigningRequestCondition {
                type_: "Failed".to_owned(),
                status: "True".to_owned(),
                reason: Some("SignerValidationFailure".to_owned()),
                message: Some(why),
                ..CertificateSigningRequestCondition::default()
            }),
    }
    let name = request.metadata.name.clone().unwrap_or_default();
    let api = Api::<CertificateSigningRequest>::all(context.transport.clone());
    match api.replace_status(&name, &request).await {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn certificate(signer: &Signer, request: &CertificateSigningRequest) -> Result<String, String> {
    let asked = read(request).map_err(|cause| cause.to_string())?;
    let spec = &request.spec;
    let usages = spec.usages.as_deref().unwrap_or_default();
    let user = spec.username.as_deref().unwrap_or_default();
    if let Some(why) = judge::refuses(&spec.signer_name, user, &asked, usages) {
        return Err(why);
    }
    let wanted = spec
        .expiration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs);
    let life = wanted.map_or(LIFE, |wanted| wanted.min(LIFE));
    signer.0.sign(&asked, usages, life).map_err(|cause| cause.to_string())
}
