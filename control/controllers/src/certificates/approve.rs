//! certificatesigningrequest-approving-controller: a node may have its client certificate, if the authorizer says that whoever
//! asks may ask for it.

use super::{each, is, judge, read};
use crate::context::Context;
use client::{Api, Error};
use identity::Request;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};

/// What the asker must be allowed to create, and what is said when they are.
const RECOGNIZERS: [(&str, &str); 2] = [
    (
        "selfnodeclient",
        "Auto approving self kubelet client certificate after SubjectAccessReview.",
    ),
    (
        "nodeclient",
        "Auto approving kubelet client certificate after SubjectAccessReview.",
    ),
];

pub(crate) async fn run(context: Context) {
    let own = context.clone();
    each("certificatesigningrequest-approving-controller", &own, move |request| {
        let context = context.clone();
        async move { reconcile(&context, &request).await }
    })
    .await;
}

async fn reconcile(context: &Context, request: &CertificateSigningRequest) -> Result<(), Error> {
    if is(request, "Approved") || is(request, "Denied") || request.spec.signer_name != judge::NODE_CLIENT {
        return Ok(());
    }
    let Ok(asked) = read(request) else { return Ok(()) };
    for (subresource, message) in RECOGNIZERS {
        if recognizes(subresource, request, &asked) && is_allowed(context, request, subresource).await? {
            return approve(context, request.clone(), message).await;
        }
    }
    Ok(())
}

fn recognizes(subresource: &str, request: &CertificateSigningRequest, asked: &Request) -> bool {
    let user = request.spec.username.as_deref().unwrap_or_default();
    let usages = request.spec.usages.as_deref().unwrap_or_default();
    judge::refuses(judge::NODE_CLIENT, user, asked, usages).is_none()
        && (subresource != "selfnodeclient" || user == asked.common_name)
}

async fn is_allowed(context: &Context, request: &CertificateSigningRequest, subresource: &str) -> Result<bool, Error> {
    let spec = &request.spec;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                verb: Some("create".to_owned()),
                subresource: Some(subresource.to_owned()),
                version: Some("*".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = Api::<SubjectAccessReview>::all(context.transport.clone())
        .create(&review)
        .await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

async fn approve(context: &Context, mut request: CertificateSigningRequest, message: &str) -> Result<(), Error> {
    let conditions = request
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: "Approved".to_owned(),
        status: "True".to_owned(),
        reason: Some("AutoApproved".to_owned()),
        message: Some(message.to_owned()),
        ..CertificateSigningRequestCondition::default()
    });
    let name = request.metadata.name.clone().unwrap_or_default();
    let api = Api::<CertificateSigningRequest>::all(context.transport.clone());
    match api.put(&name, "approval", &request).await {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
