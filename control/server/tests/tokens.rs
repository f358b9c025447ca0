//! Tokens of service accounts and of machines that join: issued, shown, reviewed, bound, and worthless when what they are
//! bound to is gone.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cluster::{Cluster, ISSUER, Reply, delete, eventually, get, pod, post, raw, text};
use http::Method;
use serde_json::{Value, json};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

async fn with_token(cluster: &Cluster, token: &str, path: &str) -> Reply {
    let header = format!("Bearer {token}");
    raw(
        &cluster.anonymous(),
        Method::GET,
        path,
        &[("authorization", &header)],
        "".into(),
    )
    .await
}

fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

async fn account(cluster: &Cluster, name: &str) -> Value {
    let made = post(&cluster.admin(), ACCOUNTS, &json!({"metadata": {"name": name}})).await;
    assert_eq!(made.code, 201, "{}", made.text);
    made.body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_acts_by_its_token_until_it_is_gone() {
    let cluster = Cluster::with_policy().await;
    let admin = cluster.admin();
    let made = account(&cluster, "robot").await;
    let issued = post(&admin, &format!("{ACCOUNTS}/robot/token"), &json!({"spec": {}})).await;
    assert_eq!(issued.code, 201, "{}", issued.text);
    assert_eq!(
        issued.body["spec"],
        json!({"expirationSeconds": 3600, "audiences": [ISSUER]})
    );
    let token = text(&issued.body, "/status/token");
    let claims = claims(&token);
    assert_eq!(
        (text(&claims, "/sub"), text(&claims, "/iss")),
        ("system:serviceaccount:default:robot".to_owned(), ISSUER.to_owned())
    );
    assert_eq!(
        claims["kubernetes.io"],
        json!({"namespace": "default", "serviceaccount": {"name": "robot", "uid": made["metadata"]["uid"]}})
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert_eq!(with_token(&cluster, &token, "/api").await.code, 200);
    let refused = with_token(&cluster, &token, "/api/v1/pods").await;
    assert!(
        text(&refused.body, "/message").contains("User \"system:serviceaccount:default:robot\" cannot list"),
        "{}",
        refused.text
    );
    // What others check tokens by.
    let document = with_token(&cluster, &token, "/.well-known/openid-configuration").await;
    assert_eq!((document.code, text(&document.body, "/issuer").as_str()), (200, ISSUER));
    let keys = with_token(&cluster, &token, "/openid/v1/jwks").await;
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(text(&keys.body, "/keys/0/kid"), text(&header, "/kid"));
    let mut forged = token.clone();
    forged.replace_range(token.len() - 4.., "AAAA");
    for bad in [forged.as_str(), "x", "", "a.b.c"] {
        let refused = with_token(&cluster, bad, "/api").await;
        assert_eq!(
            (refused.code, text(&refused.body, "/message").as_str()),
            (401, "Unauthorized"),
            "{bad}"
        );
    }
    assert_eq!(delete(&admin, &format!("{ACCOUNTS}/robot")).await.code, 200);
    assert_eq!(with_token(&cluster, &token, "/api").await.code, 401);
    account(&cluster, "robot").await;
    assert_eq!(
        with_token(&cluster, &token, "/api").await.code,
        401,
        "another account of the same name is another"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_token_ends_with_the_pod() {
    let cluster = Cluster::with_policy().await;
    let admin = cluster.admin();
    account(&cluster, "robot").await;
    let pods = "/api/v1/namespaces/default/pods";
    let mut own = pod("p");
    own["spec"]["serviceAccountName"] = json!("robot");
    let made = post(&admin, pods, &own).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let request = |seconds: i64, name: &str, uid: &Value| {
        json!({"spec": {
            "expirationSeconds": seconds, "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid},
        }})
    };
    let path = format!("{ACCOUNTS}/robot/token");
    let issued = post(&admin, &path, &request(3607, "p", &made.body["metadata"]["uid"])).await;
    let token = text(&issued.body, "/status/token");
    let claims = claims(&token);
    assert_eq!(text(&claims, "/kubernetes.io/pod/name"), "p");
    assert_eq!(
        claims["kubernetes.io"]["warnafter"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        3607
    );
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        365 * 24 * 3600
    );
    let review = |audiences: Value| json!({"spec": {"token": token, "audiences": audiences}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let shown = post(&admin, reviews, &review(json!([]))).await;
    assert_eq!(shown.body["status"]["authenticated"], true, "{}", shown.text);
    assert_eq!(
        shown.body["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"],
        json!(["p"])
    );
    let other = post(&admin, reviews, &review(json!(["vault"]))).await;
    assert_eq!(
        (
            other.body["status"].get("authenticated"),
            other.body["status"]["error"].is_string()
        ),
        (None, true)
    );
    for (bad, code) in [
        (request(599, "p", &Value::Null), 422),
        (request(600, "nobody", &Value::Null), 404),
        (request(600, "p", &json!("other")), 409),
        (
            json!({"spec": {"boundObjectRef": {"kind": "Service", "apiVersion": "v1", "name": "s"}}}),
            400,
        ),
    ] {
        let refused = post(&admin, &path, &bad).await;
        assert_eq!(refused.code, code, "{}", refused.text);
    }
    assert_eq!(with_token(&cluster, &token, "/api").await.code, 200);
    assert_eq!(
        delete(&admin, &format!("{pods}/p?gracePeriodSeconds=0")).await.code,
        200
    );
    assert_eq!(with_token(&cluster, &token, "/api").await.code, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_gets_tokens_for_its_pods_alone() {
    let cluster = Cluster::start().await;
    let (admin, node) = (cluster.admin(), cluster.user("system:node:n1", &["system:nodes"]));
    account(&cluster, "robot").await;
    let pods = "/api/v1/namespaces/default/pods";
    let mut own = pod("p");
    own["spec"]["serviceAccountName"] = json!("robot");
    let uid = post(&admin, pods, &own).await.body["metadata"]["uid"].clone();
    let path = format!("{ACCOUNTS}/robot/token");
    let request = json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}}});
    assert_eq!(post(&node, &path, &request).await.code, 403);
    post(&admin, &format!("{pods}/p/binding"), &json!({"target": {"name": "n1"}})).await;
    let issued = post(&node, &path, &request).await;
    assert_eq!(issued.code, 201, "{}", issued.text);
    assert_eq!(
        text(
            &claims(&text(&issued.body, "/status/token")),
            "/kubernetes.io/node/name"
        ),
        "n1"
    );
    let unbound = post(&node, &path, &json!({"spec": {}})).await;
    assert!(
        unbound.text.contains("node requested token not bound to a pod"),
        "{}",
        unbound.text
    );
    let mut elsewhere = request.clone();
    elsewhere["spec"]["audiences"] = json!(["vault"]);
    assert!(
        post(&node, &path, &elsewhere)
            .await
            .text
            .contains("not found in pod spec volume")
    );
    let other = cluster.user("system:node:n2", &["system:nodes"]);
    assert_eq!(post(&other, &path, &request).await.code, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_joins_shows_a_bootstrap_token() {
    let cluster = Cluster::with_policy().await;
    let admin = cluster.admin();
    let secret = |expiration: &str| {
        let data: serde_json::Map<String, Value> = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("auth-extra-groups", "system:bootstrappers:workers"),
            ("expiration", expiration),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), STANDARD.encode(value).into()))
        .collect();
        json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": data})
    };
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let made = post(&admin, secrets, &secret("2100-01-01T00:00:00Z")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let token = "abcdef.0123456789abcdef";
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    assert_eq!(with_token(&cluster, token, requests).await.code, 200);
    assert_eq!(with_token(&cluster, token, secrets).await.code, 403);
    assert_eq!(
        with_token(&cluster, "abcdef.0123456789abcdeg", requests).await.code,
        401
    );
    let path = format!("{secrets}/bootstrap-token-abcdef");
    assert_eq!(delete(&admin, &path).await.code, 200);
    assert_eq!(with_token(&cluster, token, requests).await.code, 401);
    post(&admin, secrets, &secret("2020-01-01T00:00:00Z")).await;
    assert_eq!(with_token(&cluster, token, requests).await.code, 401);
    assert_eq!(get(&admin, &path).await.code, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_tells_on_which_day_its_token_was_last_used() {
    let cluster = Cluster::with_policy().await;
    let admin = cluster.admin();
    let robot = account(&cluster, "robot").await;
    let uid = text(&robot, "/metadata/uid");
    let token = cluster.server.lasting_token("default", "robot", &uid, "robot").unwrap();
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({
        "metadata": { "name": "robot", "annotations": { "kubernetes.io/service-account.name": "robot" } },
        "type": "kubernetes.io/service-account-token", "data": { "token": STANDARD.encode(&token) },
    });
    let made = post(&admin, secrets, &secret).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(with_token(&cluster, &token, "/api").await.code, 200);
    let day = "/metadata/labels/kubernetes.io~1legacy-token-last-used";
    eventually("the last use is marked", async || {
        let secret = get(&admin, &format!("{secrets}/robot")).await;
        text(&secret.body, day).len() == "2026-11-28".len()
    })
    .await;
}
