//! What belongs to something else follows it: networks stay while Services have addresses of theirs, tokens in Secrets go with
//! their accounts.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod plane;

use client::{Api, Dynamic, Patch, Resource};
use controllers::Settings;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use plane::{Plane, eventually};
use serde_json::{Value, json};

impl Plane {
    fn of(&self, group: &str, plural: &str) -> Api<Dynamic> {
        let resource = Resource {
            group: group.into(),
            version: "v1".into(),
            plural: plural.into(),
        };
        Api::dynamic(self.transport.clone(), &resource, None)
    }

    /// Whom the server takes the holder of a token for; none for nobody.
    async fn reviewed(&self, token: &str) -> Option<String> {
        let review = json!({"spec": {"token": token}});
        let review = self
            .of("authentication.k8s.io", "tokenreviews")
            .create(&Dynamic(review))
            .await
            .unwrap()
            .0;
        review["status"]["user"]["username"].as_str().map(str::to_owned)
    }
}

fn cidr(name: &str, prefix: &str) -> Dynamic {
    Dynamic(json!({"metadata": {"name": name}, "spec": {"cidrs": [prefix]}}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_stays_while_services_have_its_addresses() {
    let plane = Plane::with(&["default"]).await;
    let cidrs = plane.of("networking.k8s.io", "servicecidrs");
    cidrs.create(&cidr("kubernetes", "10.96.0.0/24")).await.unwrap();
    plane.control(Settings::default());
    cidrs.create(&cidr("more", "10.200.0.0/24")).await.unwrap();
    eventually("the network is held", async || {
        let more = cidrs.get("more").await.unwrap().0;
        let held = json!(["networking.k8s.io/service-cidr-finalizer"]);
        (more["metadata"]["finalizers"] == held && more["status"]["conditions"][0]["status"] == "True").then_some(())
    })
    .await;
    let services = plane.api("services", Some("default"));
    let service = json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "10.200.0.7", "ports": [{"port": 80}]}});
    services.create(&Dynamic(service)).await.unwrap();
    cidrs.delete("more", &DeleteOptions::default()).await.unwrap();
    eventually("the network says why it stays", async || {
        let more = cidrs.get("more").await.unwrap().0;
        let ready = &more["status"]["conditions"][0];
        let why =
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
        (ready["status"] == "False" && ready["reason"] == "Terminating" && ready["message"] == why).then_some(())
    })
    .await;
    services.delete("s", &DeleteOptions::default()).await.unwrap();
    eventually("the network is gone", async || {
        cidrs.get("more").await.err().filter(client::Error::is_not_found)
    })
    .await;
    // Nobody has an address of the first one, and it is not asked to end.
    assert!(cidrs.get("kubernetes").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_a_secret_holds_while_secret_and_account_do() {
    let plane = Plane::with(&["default"]).await;
    plane.control(Settings {
        account_tokens: Some(plane.account_tokens()),
        cluster_ca: "a certificate".to_owned(),
        ..Settings::default()
    });
    let (accounts, secrets) = (
        plane.api("serviceaccounts", Some("default")),
        plane.api("secrets", Some("default")),
    );
    accounts
        .create(&Dynamic(json!({"metadata": {"name": "robot"}})))
        .await
        .unwrap();
    let secret = |name: &str, account: &str| {
        let annotations = json!({"kubernetes.io/service-account.name": account});
        let metadata = json!({"name": name, "annotations": annotations});
        Dynamic(json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"}))
    };
    let filled = async |name: &str| {
        eventually("the secret is filled", async || {
            let secret = secrets.get(name).await.unwrap().0;
            secret["data"].get("token").is_some().then_some(secret)
        })
        .await
    };
    for name in ["a", "b"] {
        secrets.create(&secret(name, "robot")).await.unwrap();
    }
    let (a, b) = (filled("a").await, filled("b").await);
    assert_eq!(a["data"]["ca.crt"], "YSBjZXJ0aWZpY2F0ZQ==");
    assert_eq!(a["data"]["namespace"], "ZGVmYXVsdA==");
    let robot = accounts.get("robot").await.unwrap().0;
    let uid = &a["metadata"]["annotations"]["kubernetes.io/service-account.uid"];
    assert_eq!(uid, &robot["metadata"]["uid"]);
    let (a, b) = (token(&a), token(&b));
    let robot = Some("system:serviceaccount:default:robot".to_owned());
    assert_eq!(
        (plane.reviewed(&a).await, plane.reviewed(&b).await),
        (robot.clone(), robot.clone())
    );
    assert_eq!(plane.reviewed(&forged(&a)).await, None);
    // A mark takes a token out of use.
    let mark = |since: Value| {
        Patch::Merge(json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": since}}}))
    };
    secrets.patch("b", &mark(json!("2026-11-28"))).await.unwrap();
    assert_eq!(plane.reviewed(&b).await, None);
    secrets.patch("b", &mark(Value::Null)).await.unwrap();
    assert_eq!(plane.reviewed(&b).await, robot);

    secrets.delete("a", &DeleteOptions::default()).await.unwrap();
    assert_eq!((plane.reviewed(&a).await, plane.reviewed(&b).await), (None, robot));
    accounts.delete("robot", &DeleteOptions::default()).await.unwrap();
    assert_eq!(plane.reviewed(&b).await, None);
    // Nobody's: one whose account went, and one whose account never was.
    secrets.create(&secret("c", "nobody")).await.unwrap();
    for name in ["b", "c"] {
        eventually("a secret without its account is gone", async || {
            secrets.get(name).await.err().filter(client::Error::is_not_found)
        })
        .await;
    }
}

/// The token with another signature.
fn forged(token: &str) -> String {
    let (claims, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{claims}.{first}{}", &signature[1..])
}

fn token(secret: &Value) -> String {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(secret["data"]["token"].clone()).unwrap();
    String::from_utf8(bytes.0).unwrap()
}
