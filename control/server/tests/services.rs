//! What Services get from the cluster: addresses, node ports, and the IPAddress objects that say so.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::{Cluster, delete, get, merge, post, put, text};
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

/// A cluster whose Services have these networks.
async fn with_networks(networks: &[&str]) -> Cluster {
    let cluster = Cluster::start().await;
    let admin = cluster.in_process();
    // The tests' cluster has one network by itself; these tests want their own.
    delete(&*admin, "/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await;
    let cidr = json!({ "metadata": { "name": "kubernetes" }, "spec": { "cidrs": networks } });
    let made = post(&*admin, "/apis/networking.k8s.io/v1/servicecidrs", &cidr).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(text(&made.body, "/status/conditions/0/status"), "True");
    cluster
}

fn service(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    if spec.get("ports").is_none() {
        spec["ports"] = json!([{ "port": 80 }]);
    }
    json!({ "metadata": { "name": name }, "spec": spec })
}

#[tokio::test]
async fn a_service_holds_an_address_until_it_is_gone() {
    let cluster = with_networks(&["10.96.0.0/16"]).await;
    let admin = cluster.in_process();
    let made = post(&*admin, SERVICES, &service("a", &json!({}))).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let ip = text(&made.body, "/spec/clusterIP");
    assert!(ip.starts_with("10.96."), "{ip}");
    assert_eq!(made.body["spec"]["clusterIPs"], json!([ip]));
    assert_eq!(made.body["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(made.body["spec"]["ipFamilyPolicy"], "SingleStack");
    let address = get(&*admin, &format!("{ADDRESSES}/{ip}")).await;
    let parent = json!({ "resource": "services", "namespace": "default", "name": "a" });
    assert_eq!(address.body["spec"]["parentRef"], parent);
    let again = post(&*admin, SERVICES, &service("b", &json!({ "clusterIP": ip }))).await;
    assert_eq!(again.code, 422, "{}", again.text);
    let why = format!("failed to allocate IP {ip}: provided IP is already allocated");
    assert!(text(&again.body, "/message").contains(&why), "{}", again.text);
    assert_eq!(delete(&*admin, &format!("{SERVICES}/a")).await.code, 200);
    assert_eq!(get(&*admin, &format!("{ADDRESSES}/{ip}")).await.code, 404);
    let now = post(&*admin, SERVICES, &service("b", &json!({ "clusterIP": ip }))).await;
    assert_eq!(now.code, 201, "{}", now.text);
}

#[tokio::test]
async fn an_address_that_somebody_reserved_is_not_given() {
    let cluster = with_networks(&["10.96.0.0/30"]).await;
    let admin = cluster.in_process();
    let parent = json!({ "resource": "services", "namespace": "x", "name": "y" });
    let reserved = json!({ "metadata": { "name": "10.96.0.1" }, "spec": { "parentRef": parent } });
    assert_eq!(post(&*admin, ADDRESSES, &reserved).await.code, 201);
    let made = post(&*admin, SERVICES, &service("a", &json!({}))).await;
    assert_eq!(text(&made.body, "/spec/clusterIP"), "10.96.0.2");
    let full = post(&*admin, SERVICES, &service("b", &json!({}))).await;
    assert_eq!(full.code, 500);
    let why = "Internal error occurred: failed to allocate a serviceIP: range is full";
    assert_eq!(text(&full.body, "/message"), why);
}

#[tokio::test]
async fn a_dry_run_takes_nothing() {
    let cluster = with_networks(&["10.96.0.0/30"]).await;
    let admin = cluster.in_process();
    for _ in 0..4 {
        let path = format!("{SERVICES}?dryRun=All");
        let dry = post(&*admin, &path, &service("a", &json!({ "type": "NodePort" }))).await;
        assert_eq!(dry.code, 201, "{}", dry.text);
        assert_ne!(text(&dry.body, "/spec/clusterIP"), "");
        assert_ne!(dry.body["spec"]["ports"][0]["nodePort"], Value::Null);
    }
    assert_eq!(get(&*admin, ADDRESSES).await.body["items"], json!([]));
}

#[tokio::test]
async fn types_change_and_what_they_need_comes_and_goes() {
    let cluster = with_networks(&["10.96.0.0/16"]).await;
    let admin = cluster.in_process();
    let path = format!("{SERVICES}/a");
    let made = post(&*admin, SERVICES, &service("a", &json!({}))).await;
    let ip = text(&made.body, "/spec/clusterIP");
    let node = merge(&*admin, &path, &json!({ "spec": { "type": "NodePort" } })).await;
    assert_eq!(node.code, 200, "{}", node.text);
    let port = node.body["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30_000..=32_767).contains(&port), "{port}");
    assert_eq!(node.body["spec"]["externalTrafficPolicy"], "Cluster");
    let same = service(
        "b",
        &json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": port }] }),
    );
    let taken = post(&*admin, SERVICES, &same).await;
    let why = format!("spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated");
    assert!(text(&taken.body, "/message").ends_with(&why), "{}", taken.text);
    // A whole replacement that leaves out what was allocated keeps it.
    let kept = put(&*admin, &path, &service("a", &json!({ "type": "NodePort" }))).await;
    assert_eq!(kept.code, 200, "{}", kept.text);
    assert_eq!(
        (
            text(&kept.body, "/spec/clusterIP"),
            &kept.body["spec"]["ports"][0]["nodePort"]
        ),
        (ip.clone(), &json!(port))
    );
    let plain = merge(&*admin, &path, &json!({ "spec": { "type": "ClusterIP" } })).await;
    assert_eq!(plain.code, 200, "{}", plain.text);
    assert_eq!(plain.body["spec"]["ports"][0].get("nodePort"), None);
    let freed = post(&*admin, SERVICES, &same).await;
    assert_eq!(freed.code, 201, "{}", freed.text);
    let name = json!({ "spec": { "type": "ExternalName", "externalName": "a.example" } });
    let outside = merge(&*admin, &path, &name).await;
    assert_eq!(outside.code, 200, "{}", outside.text);
    assert_eq!(outside.body["spec"].get("clusterIP"), None);
    assert_eq!(get(&*admin, &format!("{ADDRESSES}/{ip}")).await.code, 404);
    let back = merge(
        &*admin,
        &path,
        &json!({ "spec": { "type": "ClusterIP", "externalName": null } }),
    )
    .await;
    assert_eq!(back.code, 200, "{}", back.text);
    assert!(
        text(&back.body, "/spec/clusterIP").starts_with("10.96."),
        "{}",
        back.text
    );
}

#[tokio::test]
async fn two_families_come_and_go_by_the_policy() {
    let cluster = with_networks(&["10.96.0.0/16", "fd00::/112"]).await;
    let admin = cluster.in_process();
    let path = format!("{SERVICES}/a");
    let made = post(
        &*admin,
        SERVICES,
        &service("a", &json!({ "ipFamilyPolicy": "PreferDualStack" })),
    )
    .await;
    assert_eq!(
        made.body["spec"]["ipFamilies"],
        json!(["IPv4", "IPv6"]),
        "{}",
        made.text
    );
    let second = text(&made.body, "/spec/clusterIPs/1");
    assert!(second.starts_with("fd00::"), "{second}");
    let single = merge(&*admin, &path, &json!({ "spec": { "ipFamilyPolicy": "SingleStack" } })).await;
    assert_eq!(single.code, 200, "{}", single.text);
    assert_eq!(single.body["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(get(&*admin, &format!("{ADDRESSES}/{second}")).await.code, 404);
    let both = merge(
        &*admin,
        &path,
        &json!({ "spec": { "ipFamilyPolicy": "RequireDualStack" } }),
    )
    .await;
    assert_eq!(both.code, 200, "{}", both.text);
    assert_eq!(both.body["spec"]["clusterIPs"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn headless_services_have_no_address() {
    let cluster = with_networks(&["10.96.0.0/16"]).await;
    let admin = cluster.in_process();
    let made = post(
        &*admin,
        SERVICES,
        &service("a", &json!({ "clusterIP": "None", "selector": { "a": "b" } })),
    )
    .await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(made.body["spec"]["clusterIPs"], json!(["None"]));
    assert_eq!(get(&*admin, ADDRESSES).await.body["items"], json!([]));
}

#[tokio::test]
async fn no_two_services_get_the_same_however_many_ask_at_once() {
    let cluster = with_networks(&["10.96.0.0/24"]).await;
    let admin = cluster.in_process();
    let tasks: Vec<_> = (0..60)
        .map(|number| {
            let admin = admin.clone();
            tokio::spawn(async move {
                let body = service(&format!("s{number}"), &json!({ "type": "NodePort" }));
                let made = post(&*admin, SERVICES, &body).await;
                assert_eq!(made.code, 201, "{}", made.text);
                (
                    text(&made.body, "/spec/clusterIP"),
                    made.body["spec"]["ports"][0]["nodePort"].as_i64(),
                )
            })
        })
        .collect();
    let (mut ips, mut ports) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    for task in tasks {
        let (ip, port) = task.await.unwrap();
        assert!(ips.insert(ip) && ports.insert(port));
    }
}

#[tokio::test]
async fn a_start_mends_what_a_crash_left() {
    let cluster = with_networks(&["10.96.0.0/16"]).await;
    let admin = cluster.in_process();
    let made = post(&*admin, SERVICES, &service("a", &json!({}))).await;
    let ip = text(&made.body, "/spec/clusterIP");
    delete(&*admin, &format!("{ADDRESSES}/{ip}")).await;
    let labels = json!({ "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io" });
    let parent = json!({ "resource": "services", "namespace": "default", "name": "gone" });
    let orphan = json!({ "metadata": { "name": "10.96.0.77", "labels": labels }, "spec": { "parentRef": parent } });
    assert_eq!(post(&*admin, ADDRESSES, &orphan).await.code, 201);
    cluster.server.repair().await;
    assert_eq!(get(&*admin, &format!("{ADDRESSES}/{ip}")).await.code, 200);
    assert_eq!(get(&*admin, &format!("{ADDRESSES}/10.96.0.77")).await.code, 404);
}
