//! Deletes: at once, with grace, held by finalizers, by collection; and namespaces, which empty first.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::{Cluster, MAPS, PODS, config_map, delete, get, merge, pod, post, put, send, text, watch};
use http::Method;
use serde_json::{Value, json};

async fn bound_pod(cluster: &Cluster, name: &str) {
    let admin = cluster.admin();
    assert_eq!(post(&admin, PODS, &pod(name)).await.code, 201);
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    let bound = post(&admin, &format!("{PODS}/{name}/binding"), &binding).await;
    assert_eq!(bound.code, 201, "{}", bound.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_holds_is_gone_at_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = post(&admin, MAPS, &config_map("a", &json!({}), &json!({}))).await;
    let gone = delete(&admin, &format!("{MAPS}/a")).await;
    assert_eq!((gone.code, text(&gone.body, "/status").as_str()), (200, "Success"));
    assert_eq!(text(&gone.body, "/details/uid"), text(&made.body, "/metadata/uid"));
    let missing = delete(&admin, &format!("{MAPS}/a")).await;
    assert_eq!(
        (missing.code, text(&missing.body, "/message").as_str()),
        (404, "configmaps \"a\" not found")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preconditions_name_the_incarnation() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = post(&admin, MAPS, &config_map("a", &json!({}), &json!({}))).await;
    let path = format!("{MAPS}/a");
    let wrong = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    let refused = send(&admin, Method::DELETE, &path, "application/json", &wrong).await;
    assert_eq!(refused.code, 409);
    let uid = text(&made.body, "/metadata/uid");
    let why = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the UID in \
         record ({uid}). The object might have been deleted and then recreated"
    );
    assert_eq!(text(&refused.body, "/message"), why);
    let right = json!({"preconditions": {"uid": made.body["metadata"]["uid"], "resourceVersion": made.body["metadata"]["resourceVersion"]}});
    assert_eq!(
        send(&admin, Method::DELETE, &path, "application/json", &right)
            .await
            .code,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_pod_is_marked_then_removed_by_its_node() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    bound_pod(&cluster, "p").await;
    let path = format!("{PODS}/p");
    let mut lines = watch(&admin, &format!("{PODS}?watch=true"), "").await;
    assert_eq!(lines.brief().await, "ADDED p");

    let marked = delete(&admin, &path).await;
    assert_eq!((marked.code, text(&marked.body, "/kind").as_str()), (200, "Pod"));
    assert_eq!(
        marked.body.pointer("/metadata/deletionGracePeriodSeconds"),
        Some(&json!(30))
    );
    let first_end = text(&marked.body, "/metadata/deletionTimestamp");
    assert_ne!(first_end, "");
    assert_eq!(lines.brief().await, "MODIFIED p");

    // A longer grace changes nothing, a shorter one counts from the first wish.
    let longer = delete(&admin, &format!("{path}?gracePeriodSeconds=60")).await;
    assert_eq!(text(&longer.body, "/metadata/deletionTimestamp"), first_end);
    let shorter = delete(&admin, &format!("{path}?gracePeriodSeconds=5")).await;
    assert_eq!(
        shorter.body.pointer("/metadata/deletionGracePeriodSeconds"),
        Some(&json!(5))
    );
    assert!(text(&shorter.body, "/metadata/deletionTimestamp") < first_end);
    assert_eq!(lines.brief().await, "MODIFIED p");

    let node = cluster.user("system:node:n1", &["system:nodes"]);
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": marked.body["metadata"]["uid"]}});
    let gone = send(&node, Method::DELETE, &path, "application/json", &options).await;
    assert_eq!(gone.code, 200, "{}", gone.text);
    assert_eq!(lines.brief().await, "MODIFIED p");
    assert_eq!(lines.brief().await, "DELETED p");
    assert_eq!(get(&admin, &path).await.code, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_nobody_runs_goes_at_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, PODS, &pod("pending")).await;
    assert_eq!(delete(&admin, &format!("{PODS}/pending")).await.code, 200);
    assert_eq!(get(&admin, &format!("{PODS}/pending")).await.code, 404);
    bound_pod(&cluster, "done").await;
    merge(
        &admin,
        &format!("{PODS}/done/status"),
        &json!({"status": {"phase": "Succeeded"}}),
    )
    .await;
    delete(&admin, &format!("{PODS}/done")).await;
    assert_eq!(get(&admin, &format!("{PODS}/done")).await.code, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finalizers_hold_until_the_last_is_taken_away() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let held = json!({"metadata": {"name": "a", "finalizers": ["example.com/one", "example.com/two"]}});
    post(&admin, MAPS, &held).await;
    let path = format!("{MAPS}/a");
    let marked = delete(&admin, &path).await;
    assert_eq!((marked.code, text(&marked.body, "/kind").as_str()), (200, "ConfigMap"));
    assert_ne!(text(&marked.body, "/metadata/deletionTimestamp"), "");
    let more = merge(
        &admin,
        &path,
        &json!({"metadata": {"finalizers": ["example.com/one", "example.com/two", "example.com/new"]}}),
    )
    .await;
    assert_eq!(more.code, 422, "{}", more.text);
    assert_eq!(
        merge(&admin, &path, &json!({"metadata": {"finalizers": ["example.com/two"]}}))
            .await
            .code,
        200
    );
    assert_eq!(get(&admin, &path).await.code, 200);
    assert_eq!(
        merge(&admin, &path, &json!({"metadata": {"finalizers": null}}))
            .await
            .code,
        200
    );
    assert_eq!(get(&admin, &path).await.code, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_is_deleted_by_its_selectors() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (name, app) in [("a", "web"), ("b", "web"), ("c", "db")] {
        post(&admin, MAPS, &config_map(name, &json!({"app": app}), &json!({}))).await;
    }
    let gone = delete(&admin, &format!("{MAPS}?labelSelector=app%3Dweb")).await;
    assert_eq!((gone.code, gone.body["items"].as_array().map(Vec::len)), (200, Some(2)));
    let left = get(&admin, MAPS).await.body;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(text(&left, "/items/0/metadata/name"), "c");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_ends_when_its_finalizers_do() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = "/api/v1/namespaces/team";
    let made = post(&admin, "/api/v1/namespaces", &json!({"metadata": {"name": "team"}})).await;
    assert_eq!(
        made.body.pointer("/spec/finalizers"),
        Some(&json!(["kubernetes"])),
        "{}",
        made.text
    );
    let marked = delete(&admin, path).await;
    assert_eq!(
        (marked.code, text(&marked.body, "/status/phase").as_str()),
        (200, "Terminating"),
        "{}",
        marked.text
    );
    let late = post(
        &admin,
        &format!("{path}/configmaps"),
        &config_map("a", &json!({}), &json!({})),
    )
    .await;
    assert_eq!(late.code, 403);
    assert_eq!(text(&late.body, "/details/causes/0/reason"), "NamespaceTerminating");
    // Only the subresource takes the finalizer away.
    let mut object = marked.body.clone();
    object["spec"]["finalizers"] = json!([]);
    assert_eq!(put(&admin, path, &object).await.code, 200);
    let present: Value = get(&admin, path).await.body;
    assert_eq!(present.pointer("/spec/finalizers"), Some(&json!(["kubernetes"])));
    let finalized = put(&admin, &format!("{path}/finalize"), &object).await;
    assert_eq!(finalized.code, 200, "{}", finalized.text);
    assert_eq!(get(&admin, path).await.code, 404);
    let immortal = delete(&admin, "/api/v1/namespaces/default").await;
    assert_eq!(immortal.code, 403);
    assert!(text(&immortal.body, "/message").contains("this namespace may not be deleted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    bound_pod(&cluster, "p").await;
    let object = get(&admin, &format!("{PODS}/p")).await.body;
    assert_eq!(text(&object, "/spec/nodeName"), "n1");
    assert_eq!(text(&object, "/status/conditions/0/type"), "PodScheduled");
    let again = post(
        &admin,
        &format!("{PODS}/p/binding"),
        &json!({"target": {"kind": "Node", "name": "n2"}}),
    )
    .await;
    assert_eq!(again.code, 409);
    assert!(
        text(&again.body, "/message").contains("pod p is already assigned to node \"n1\""),
        "{}",
        again.text
    );
    let nowhere = post(
        &admin,
        &format!("{PODS}/p/binding"),
        &json!({"target": {"kind": "Node"}}),
    )
    .await;
    assert_eq!(nowhere.code, 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_bound_by_a_binding_of_its_name() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    assert_eq!(post(&admin, PODS, &pod("p")).await.code, 201);
    let bindings = "/api/v1/namespaces/default/bindings";
    let binding = |name: &str| json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    let bound = post(&admin, bindings, &binding("p")).await;
    assert_eq!(
        (bound.code, text(&bound.body, "/kind")),
        (201, "Status".to_owned()),
        "{}",
        bound.text
    );
    assert_eq!(
        text(&get(&admin, &format!("{PODS}/p")).await.body, "/spec/nodeName"),
        "n1"
    );
    let again = post(&admin, bindings, &binding("p")).await;
    let why = "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"";
    assert_eq!((again.code, again.message()), (409, why.to_owned()));
    let unnamed = post(&admin, bindings, &json!({"target": {"kind": "Node", "name": "n1"}})).await;
    assert_eq!(
        (unnamed.code, unnamed.message()),
        (400, "Name parameter required.".to_owned())
    );
    let absent = post(&admin, bindings, &binding("q")).await;
    assert_eq!(
        (absent.code, absent.message()),
        (404, "pods \"q\" not found".to_owned())
    );
    let other = post(&admin, &format!("{PODS}/p/binding"), &binding("q")).await;
    assert_eq!(
        (other.code, other.message()),
        (400, "name in URL does not match name in Binding object".to_owned())
    );
    assert_eq!(get(&admin, bindings).await.code, 405);
    assert_eq!(delete(&admin, &format!("{bindings}/p")).await.code, 405);
}
