//! Who gets in, and what they hear when they do not.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::{Cluster, config_map, delete, get, issue, merge, pod, post, put, raw, text};
use http::Method;
use identity::Purpose;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_only_health_and_version_answer() {
    let cluster = Cluster::with_policy().await;
    let nobody = cluster.anonymous();
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(get(&nobody, path).await.code, 200, "{path}");
    }
    for path in ["/api/v1/namespaces/default/secrets", "/api", "/metrics"] {
        let refused = get(&nobody, path).await;
        assert_eq!(
            (refused.code, text(&refused.body, "/message").as_str()),
            (401, "Unauthorized"),
            "{path}"
        );
    }
    let stranger = cluster.user("eve", &["dev"]);
    let refused = get(&stranger, "/api/v1/namespaces/default/secrets").await;
    assert_eq!(
        (refused.code, text(&refused.body, "/message").as_str()),
        (
            403,
            "secrets is forbidden: User \"eve\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\""
        )
    );
    let token = raw(
        &nobody,
        Method::GET,
        "/api",
        &[("authorization", "Bearer x")],
        "".into(),
    )
    .await;
    assert_eq!(token.code, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_ca_is_refused_in_the_handshake() {
    let cluster = Cluster::start().await;
    let stranger = identity::cluster::new_bundle().unwrap();
    let pair = issue(
        &stranger,
        "kubernetes-admin",
        &["system:masters"],
        Vec::new(),
        Purpose::Client,
    );
    let client = cluster.connect(Some(&pair));
    let request = http::Request::builder()
        .uri("/version")
        .body(bytes::Bytes::new())
        .unwrap();
    assert!(client::Transport::send(&client, request).await.is_err());
    assert_eq!(get(&cluster.admin(), "/version").await.code, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_writes_to_what_is_its_own() {
    let cluster = Cluster::start().await;
    let (admin, node) = (cluster.admin(), cluster.user("system:node:n1", &["system:nodes"]));
    let own = json!({"metadata": {"name": "n1"}, "status": {"capacity": {"cpu": "2"}}});
    let made = post(&node, "/api/v1/nodes", &own).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(text(&made.body, "/status/capacity/cpu"), "2");
    assert_eq!(
        post(&node, "/api/v1/nodes", &json!({"metadata": {"name": "n2"}}))
            .await
            .code,
        403
    );
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(merge(&node, "/api/v1/nodes/n1/status", &ready).await.code, 200);

    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = json!({"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1", "leaseDurationSeconds": 40}});
    let made = post(&node, leases, &lease).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let mut renewed = made.body.clone();
    renewed["spec"]["renewTime"] = json!("2026-11-20T13:00:00.000000Z");
    assert_eq!(put(&node, &format!("{leases}/n1"), &renewed).await.code, 200);
    assert_eq!(put(&node, &format!("{leases}/n1"), &renewed).await.code, 409);
    assert_eq!(
        post(&node, leases, &json!({"metadata": {"name": "n2"}})).await.code,
        403
    );

    let pods = "/api/v1/namespaces/default/pods";
    for (name, to) in [("mine", "n1"), ("theirs", "n2")] {
        post(&admin, pods, &pod(name)).await;
        post(
            &admin,
            &format!("{pods}/{name}/binding"),
            &json!({"target": {"name": to}}),
        )
        .await;
    }
    let running = json!({"status": {"phase": "Running"}});
    assert_eq!(merge(&node, &format!("{pods}/mine/status"), &running).await.code, 200);
    assert_eq!(merge(&node, &format!("{pods}/theirs/status"), &running).await.code, 403);
    assert_eq!(delete(&node, &format!("{pods}/theirs")).await.code, 403);
    assert_eq!(post(&node, pods, &pod("new")).await.code, 403);
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(
        post(&node, secrets, &config_map("s", &json!({}), &json!({})))
            .await
            .code,
        403
    );
    let all = get(&node, secrets).await;
    assert_eq!(
        (
            all.code,
            text(&all.body, "/message").ends_with(": No Object name found")
        ),
        (403, true)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_and_methods_that_are_not_there() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (method, path, code) in [
        (Method::GET, "/apis/nothing.example.com", 404),
        (Method::GET, "/api/v2", 404),
        (Method::GET, "/api/v1/gadgets", 404),
        (Method::GET, "/api/v1/namespaces/default/nodes", 404),
        (Method::GET, "/api/v1/namespaces/default/configmaps/a/status", 404),
        (Method::POST, "/api/v1/namespaces/default/configmaps/a", 405),
        (Method::PUT, "/api/v1/namespaces/default/configmaps", 405),
        (Method::DELETE, "/api/v1/namespaces", 405),
        (Method::TRACE, "/api/v1/pods", 405),
        (Method::POST, "/version", 405),
        (Method::GET, "/nothing", 404),
    ] {
        let refused = raw(&admin, method.clone(), path, &[], "".into()).await;
        assert_eq!(
            (refused.code, text(&refused.body, "/kind").as_str()),
            (code, "Status"),
            "{method} {path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_says_what_is_served_in_every_form() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for path in [
        "/",
        "/api",
        "/api/",
        "/api/v1",
        "/apis",
        "/apis/coordination.k8s.io",
        "/apis/coordination.k8s.io/v1/",
        "/metrics",
    ] {
        assert_eq!(get(&admin, path).await.code, 200, "{path}");
    }
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = raw(&admin, Method::GET, "/apis", &[("accept", accept)], "".into()).await;
    assert_eq!(text(&aggregated.body, "/kind"), "APIGroupDiscoveryList");
    assert_eq!(
        aggregated.headers.get("content-type").unwrap(),
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let verbose = get(&admin, "/readyz?verbose").await.text;
    assert!(
        verbose.contains("[+]etcd ok") && verbose.contains("readyz check passed"),
        "{verbose}"
    );
    let version = get(&admin, "/version").await.body;
    assert_eq!(
        (text(&version, "/major").as_str(), text(&version, "/minor").as_str()),
        ("1", "36")
    );
}
