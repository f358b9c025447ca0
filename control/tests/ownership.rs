//! The garbage collector, the namespace controller and what the cluster publishes about itself, against the real API server.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod plane;

use client::{Api, Dynamic, Error, Object, Patch};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use plane::{Plane, eventually};
use serde_json::{Value, json};

impl Plane {
    async fn start() -> Plane {
        let plane = Plane::with(&["default", "kube-system", "other"]).await;
        plane.control(controllers::Settings {
            service_cidrs: vec!["10.96.0.0/12".parse().unwrap()],
            cluster_ca: "PEM".to_owned(),
            advertised: Some("10.77.0.11:6443".parse().unwrap()),
            ..controllers::Settings::default()
        });
        plane
    }

    fn maps(&self) -> Api<Dynamic> {
        self.api("configmaps", Some("default"))
    }

    /// Makes a ConfigMap with these owners and gives its UID.
    async fn map(&self, name: &str, owners: &[Value]) -> String {
        let map = json!({"metadata": {"name": name, "ownerReferences": owners}});
        self.maps().create(&Dynamic(map)).await.unwrap().uid().to_owned()
    }

    async fn is_gone(&self, name: &str) {
        let gone = async || self.maps().get(name).await.err().filter(Error::is_not_found);
        eventually(&format!("{name} is gone"), gone).await;
    }
}

fn owner(name: &str, uid: &str, blocks: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": blocks})
}

fn policy(policy: &str) -> DeleteOptions {
    DeleteOptions {
        propagation_policy: Some(policy.into()),
        ..DeleteOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_go_after_their_owner_and_theirs_after_them() {
    let plane = Plane::start().await;
    let a = plane.map("a", &[]).await;
    let other = plane.map("other", &[]).await;
    let b = plane.map("b", &[owner("a", &a, true)]).await;
    plane.map("c", &[owner("b", &b, false)]).await;
    let shared = [owner("a", &a, true), owner("other", &other, false)];
    plane.map("shared", &shared).await;
    plane.map("stray", &[owner("never", "no-such-uid", false)]).await;
    // A name is not enough: this one belongs to an "other" that is no more.
    plane.map("late", &[owner("other", "older-uid", false)]).await;
    for name in ["stray", "late"] {
        plane.is_gone(name).await;
    }
    plane.maps().delete("a", &policy("Background")).await.unwrap();
    for name in ["a", "b", "c"] {
        plane.is_gone(name).await;
    }
    let owners = eventually("the shared one has lost one owner", async || {
        let shared = plane.maps().get("shared").await.unwrap().0;
        let owners = shared["metadata"]["ownerReferences"].clone();
        (owners.as_array().unwrap().len() == 1).then_some(owners)
    })
    .await;
    assert_eq!(owners[0]["name"], "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_ends_last_waits_for_those_that_block_it() {
    let plane = Plane::start().await;
    let a = plane.map("a", &[]).await;
    let held = json!({"metadata": {"name": "b", "finalizers": ["example.com/held"], "ownerReferences": [owner("a", &a, true)]}});
    plane.maps().create(&Dynamic(held)).await.unwrap();
    plane.map("c", &[owner("a", &a, false)]).await;
    let marked = plane.maps().delete("a", &policy("Foreground")).await.unwrap().0;
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    eventually("the one that blocks is being deleted", async || {
        let b = plane.maps().get("b").await.unwrap().0;
        b["metadata"]["deletionTimestamp"].is_string().then_some(())
    })
    .await;
    plane.is_gone("c").await;
    assert!(plane.maps().get("a").await.is_ok(), "a waits for b");
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    plane.maps().patch("b", &free).await.unwrap();
    for name in ["b", "a"] {
        plane.is_gone(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_stay_without_their_owner() {
    let plane = Plane::start().await;
    let a = plane.map("a", &[]).await;
    plane.map("b", &[owner("a", &a, true)]).await;
    plane.maps().delete("a", &policy("Orphan")).await.unwrap();
    plane.is_gone("a").await;
    let b = plane.maps().get("b").await.unwrap().0;
    assert_eq!(b["metadata"]["ownerReferences"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_owners_goes_as_a_whole() {
    let plane = Plane::start().await;
    let a = plane.map("a", &[]).await;
    let b = plane.map("b", &[owner("a", &a, true)]).await;
    let c = plane.map("c", &[owner("b", &b, true)]).await;
    let close = Patch::Merge(json!({"metadata": {"ownerReferences": [owner("c", &c, true)]}}));
    plane.maps().patch("a", &close).await.unwrap();
    plane.maps().delete("a", &policy("Foreground")).await.unwrap();
    for name in ["a", "b", "c"] {
        plane.is_gone(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_in_another_namespace_is_none() {
    let plane = Plane::start().await;
    let elsewhere = plane.api("configmaps", Some("other"));
    let away = elsewhere
        .create(&Dynamic(json!({"metadata": {"name": "away"}})))
        .await
        .unwrap();
    plane.map("lost", &[owner("away", away.uid(), false)]).await;
    plane.is_gone("lost").await;
    assert!(elsewhere.get("away").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_ends_says_what_is_left_and_keeps_what_pods_need_until_they_are_gone() {
    let plane = Plane::start().await;
    let held = |name: &str, body: Value| {
        let mut object = body;
        object["metadata"] = json!({"name": name, "finalizers": ["example.com/held"]});
        Dynamic(object)
    };
    let account = plane.api("serviceaccounts", Some("other"));
    eventually("the default ServiceAccount", async || account.get("default").await.ok()).await;
    let pods = plane.api("pods", Some("other"));
    let spec = json!({"spec": {"containers": [{"name": "a", "image": "app"}], "automountServiceAccountToken": false}});
    pods.create(&held("p", spec)).await.unwrap();
    let maps = plane.api("configmaps", Some("other"));
    maps.create(&Dynamic(json!({"metadata": {"name": "needed"}})))
        .await
        .unwrap();
    let namespaces = plane.api("namespaces", None);
    let labelled = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/last"]}}));
    namespaces.patch("other", &labelled).await.unwrap();
    namespaces.delete("other", &DeleteOptions::default()).await.unwrap();
    let condition = async |kind: &str| {
        let namespace = namespaces.get("other").await.ok()?.0;
        let all = namespace["status"]["conditions"].as_array()?.clone();
        let found = all.into_iter().find(|condition| condition["type"] == kind)?;
        Some(format!("{} {}", found["status"].as_str()?, found["message"].as_str()?))
    };
    let says = async |kind: &str, what: &str| {
        eventually(what, async || condition(kind).await.filter(|said| said == what)).await;
    };
    says(
        "NamespaceContentRemaining",
        "True Some resources are remaining: pods. has 1 resource instances",
    )
    .await;
    says(
        "NamespaceFinalizersRemaining",
        "True Some content in the namespace has finalizers remaining: example.com/held in 1 resource instances",
    )
    .await;
    says(
        "NamespaceDeletionDiscoveryFailure",
        "False All resources successfully discovered",
    )
    .await;
    assert!(maps.get("needed").await.is_ok(), "pods may need it");
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch("p", &free).await.unwrap();
    says("NamespaceContentRemaining", "False All content successfully removed").await;
    eventually("our finalizer is gone, the other one stays", async || {
        let namespace = namespaces.get("other").await.unwrap().0;
        let finalizers = namespace["spec"]["finalizers"].as_array();
        finalizers.is_none_or(Vec::is_empty).then_some(())
    })
    .await;
    namespaces.patch("other", &free).await.unwrap();
    eventually("the namespace is gone", async || {
        namespaces.get("other").await.err().filter(Error::is_not_found)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_publishes_is_put_right() {
    let plane = Plane::start().await;
    let maps = plane.maps();
    let data = async |api: &Api<Dynamic>, name: &str, key: &str| {
        let map = api.get(name).await.ok()?.0;
        Some(map["data"][key].as_str()?.to_owned())
    };
    let has = async |api: &Api<Dynamic>, name: &str, key: &str| {
        let right = async || data(api, name, key).await.filter(|text| text == "PEM");
        eventually(&format!("{name} says {key}"), right).await;
    };
    has(&maps, "kube-root-ca.crt", "ca.crt").await;
    let wrong = Patch::Merge(json!({"data": {"ca.crt": "other", "more": "x"}}));
    maps.patch("kube-root-ca.crt", &wrong).await.unwrap();
    has(&maps, "kube-root-ca.crt", "ca.crt").await;
    maps.delete("kube-root-ca.crt", &DeleteOptions::default())
        .await
        .unwrap();
    has(&maps, "kube-root-ca.crt", "ca.crt").await;
    let system = plane.api("configmaps", Some("kube-system"));
    has(&system, "extension-apiserver-authentication", "client-ca-file").await;

    let services = plane.api("services", Some("default"));
    let service = eventually("the Service", async || services.get("kubernetes").await.ok())
        .await
        .0;
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    let endpoints = plane.api("endpoints", Some("default"));
    let right = async || {
        let found = endpoints.get("kubernetes").await.ok()?.0;
        (found["subsets"][0]["addresses"][0]["ip"] == "10.77.0.11").then_some(())
    };
    eventually("the Endpoints", right).await;
    let away = Patch::Merge(json!({"subsets": [{"addresses": [{"ip": "10.0.0.9"}], "ports": [{"port": 1}]}]}));
    endpoints.patch("kubernetes", &away).await.unwrap();
    eventually("the Endpoints again", right).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_bootstrap_tokens_are_removed() {
    let plane = Plane::start().await;
    let secrets = plane.api("secrets", Some("kube-system"));
    let token = |name: &str, expiration: &str| {
        let data = json!({"token-id": &name[16..], "token-secret": "0123456789abcdef", "expiration": expiration});
        Dynamic(json!({"metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token", "stringData": data}))
    };
    secrets
        .create(&token("bootstrap-token-aaaaaa", "2099-01-01T00:00:00Z"))
        .await
        .unwrap();
    secrets
        .create(&token("bootstrap-token-bbbbbb", "2020-01-01T00:00:00Z"))
        .await
        .unwrap();
    eventually("the expired token is gone", async || {
        secrets
            .get("bootstrap-token-bbbbbb")
            .await
            .err()
            .filter(Error::is_not_found)
    })
    .await;
    assert!(secrets.get("bootstrap-token-aaaaaa").await.is_ok());
}
