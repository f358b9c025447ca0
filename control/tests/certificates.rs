//! Certificate requests from the asking to the certificate, and aggregated roles: the loops behind what people see.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod plane;

use client::{Api, Object};
use controllers::{Settings, Signer};
use identity::{Authority, Subject, tls};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plane::{Plane, eventually};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;
use std::sync::Arc;

impl Plane {
    async fn start() -> Plane {
        let plane = Plane::with(&["default", "kube-system", "kube-public", "kube-node-lease"]).await;
        server::reconcile_policy(&plane.transport).await.unwrap();
        let authority = Authority::create("test CA").unwrap();
        plane.control(Settings {
            signer: Some(Signer(Arc::new(authority))),
            ..Settings::default()
        });
        plane
    }

    fn requests(&self, name: &str) -> Api<CertificateSigningRequest> {
        Api::all(self.acting_as(name))
    }
}

fn request(name: &str, signer: &str, cn: &str, organization: &str, usages: &[&str]) -> CertificateSigningRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    let pem = params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
        .unwrap();
    CertificateSigningRequest {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: signer.to_owned(),
            usages: Some(usages.iter().map(|usage| (*usage).to_owned()).collect()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    }
}

/// Reads an object again and again until `done` finds in it what it looks for.
async fn until<K: Object, T>(api: &Api<K>, name: &str, done: impl Fn(&K) -> Option<T>) -> T {
    let look = async || done(&api.get(name).await.unwrap());
    eventually(&format!("{name} becomes what it should"), look).await
}

fn certificate(request: &CertificateSigningRequest) -> Option<String> {
    let issued = request.status.as_ref()?.certificate.as_ref()?;
    Some(String::from_utf8(issued.0.clone()).unwrap())
}

fn condition(request: &CertificateSigningRequest, kind: &str) -> Option<String> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some(found.message.clone().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_approved_is_signed() {
    let plane = Plane::start().await;
    let api = plane.requests("system:test");
    let asked = request(
        "a",
        "kubernetes.io/kube-apiserver-client",
        "alice",
        "dev",
        &["digital signature", "client auth"],
    );
    let mut made = api.create(&asked).await.unwrap();
    assert_eq!(made.spec.username.as_deref(), Some("system:test"));
    let approval = json!([{"type": "Approved", "status": "True", "reason": "test", "message": "good"}]);
    made.status.get_or_insert_default().conditions = Some(serde_json::from_value(approval).unwrap());
    api.put("a", "approval", &made).await.unwrap();
    let pem = until(&api, "a", certificate).await;
    let subject = Subject::of(&tls::certificates(&pem).unwrap()[0]).unwrap();
    assert_eq!(
        (subject.common_name.as_str(), subject.organizations.as_slice()),
        ("alice", &["dev".to_owned()][..])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nodes_own_certificate_needs_nobody() {
    let plane = Plane::start().await;
    let api = plane.requests("system:node:n1");
    let signer = "kubernetes.io/kube-apiserver-client-kubelet";
    let usages = ["digital signature", "client auth"];
    let own = request("own", signer, "system:node:n1", "system:nodes", &usages);
    api.create(&own).await.unwrap();
    until(&api, "own", certificate).await;
    let message = until(&api, "own", |request| condition(request, "Approved")).await;
    assert!(
        message.starts_with("Auto approving self kubelet client certificate"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_signer_does_not_sign_fails_with_a_sentence() {
    let plane = Plane::start().await;
    let api = plane.requests("system:test");
    let asked = request(
        "s",
        "kubernetes.io/kubelet-serving",
        "system:node:n1",
        "system:nodes",
        &["server auth", "digital signature"],
    );
    let mut made = api.create(&asked).await.unwrap();
    let approval = json!([{"type": "Approved", "status": "True"}]);
    made.status.get_or_insert_default().conditions = Some(serde_json::from_value(approval).unwrap());
    api.put("s", "approval", &made).await.unwrap();
    let message = until(&api, "s", |request| condition(request, "Failed")).await;
    assert_eq!(message, "DNS or IP subjectAltName is required");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregated_roles_are_filled() {
    let plane = Plane::start().await;
    let roles = Api::<ClusterRole>::all(plane.acting_as("system:test"));
    let count = |role: &ClusterRole| role.rules.as_ref().map_or(0, Vec::len);
    until(&roles, "admin", |role| (count(role) > 20).then_some(())).await;
    let mut own: ClusterRole = serde_json::from_value(json!({
        "metadata": {"name": "own", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["gadgets"]}],
    }))
    .unwrap();
    own = roles.create(&own).await.unwrap();
    let has = |role: &ClusterRole| {
        role.rules
            .iter()
            .flatten()
            .any(|rule| own.rules.iter().flatten().any(|own| own == rule))
    };
    until(&roles, "view", |role| has(role).then_some(())).await;
    // What view has, edit has, and what edit has, admin has.
    until(&roles, "admin", |role| has(role).then_some(())).await;
}
