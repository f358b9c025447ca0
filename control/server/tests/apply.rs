//! Server-side apply and managedFields over the wire: who owns what after each kind of write, conflicts, and what is refused.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use client::Transport;
use cluster::{Cluster, MAPS, PODS, Reply, config_map, get, merge, pod, post, put, raw, send, text};
use http::Method;
use serde_json::{Value, json};

const APPLY: &str = "application/apply-patch+yaml";

/// Applies a configuration; `query` says for whom, such as `fieldManager=a&force=true`.
async fn apply(client: &dyn Transport, path: &str, query: &str, config: &Value) -> Reply {
    send(client, Method::PATCH, &format!("{path}?{query}"), APPLY, config).await
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

/// Manager, operation, subresource and fields of each entry.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    let brief = |entry: &Value| {
        let words = ["/manager", "/operation", "/subresource"].map(|pointer| text(entry, pointer));
        assert_eq!(text(entry, "/fieldsType"), "FieldsV1");
        assert!(!text(entry, "/time").is_empty());
        format!("{} {}", words.join(" ").trim_end(), entry["fieldsV1"])
    };
    entries.into_iter().flatten().map(brief).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_says_who_owns_what() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let named = format!("{MAPS}?fieldManager=maker");
    let made = post(
        &admin,
        &named,
        &config_map("a", &json!({"x": "y"}), &json!({"one": "1"})),
    )
    .await;
    assert_eq!(
        owners(&made.body),
        [r#"maker Update {"f:data":{".":{},"f:one":{}},"f:metadata":{"f:labels":{".":{},"f:x":{}}}}"#]
    );
    assert_eq!(get(&admin, &format!("{MAPS}/a")).await.body, made.body);
    let agent = [
        ("content-type", "application/merge-patch+json"),
        ("user-agent", "editor/1.2 (linux)"),
    ];
    let patch = json!({"data": {"two": "2"}}).to_string();
    let patched = raw(&admin, Method::PATCH, &format!("{MAPS}/a"), &agent, patch.into()).await;
    assert_eq!(owners(&patched.body)[0], r#"editor Update {"f:data":{"f:two":{}}}"#);
    let mut next = patched.body.clone();
    next["data"]["one"] = json!("9");
    let replaced = put(&admin, &format!("{MAPS}/a?fieldManager=third"), &next).await;
    let mut seen = owners(&replaced.body);
    seen.sort();
    assert_eq!(
        seen,
        [
            r#"editor Update {"f:data":{"f:two":{}}}"#,
            r#"maker Update {"f:data":{},"f:metadata":{"f:labels":{".":{},"f:x":{}}}}"#,
            r#"third Update {"f:data":{"f:one":{}}}"#,
        ]
    );
    // A write of nothing changes nothing, whoever it comes from.
    let same = put(&admin, &format!("{MAPS}/a?fieldManager=fourth"), &replaced.body).await;
    assert_eq!(same.body, replaced.body);
    let reset = merge(
        &admin,
        &format!("{MAPS}/a"),
        &json!({"metadata": {"managedFields": []}}),
    )
    .await;
    assert_eq!(reset.code, 200, "{}", reset.text);
    assert!(reset.body["metadata"].get("managedFields").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_owned_through_its_subresource() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = post(&admin, &format!("{PODS}?fieldManager=maker"), &pod("p")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let fields = made.body["metadata"]["managedFields"][0]["fieldsV1"].to_string();
    assert!(
        fields.contains(r#""f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}"#),
        "{fields}"
    );
    assert!(!fields.contains("f:status"), "{fields}");
    let status = json!({"status": {"phase": "Running"}});
    let strategic = "application/strategic-merge-patch+json";
    let patched = send(
        &admin,
        Method::PATCH,
        &format!("{PODS}/p/status?fieldManager=node"),
        strategic,
        &status,
    )
    .await;
    let seen = owners(&patched.body);
    assert!(
        seen.iter()
            .any(|o| o == r#"node Update status {"f:status":{"f:phase":{}}}"#),
        "{seen:?}"
    );
    let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Failed"}});
    let refused = apply(&admin, &format!("{PODS}/p/status"), "fieldManager=other", &config).await;
    assert_eq!(refused.code, 409, "{}", refused.text);
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"node\" with subresource \"status\" using v1: .status.phase"
    );
    let forced = apply(
        &admin,
        &format!("{PODS}/p/status"),
        "fieldManager=other&force=true",
        &config,
    )
    .await;
    assert_eq!(
        (forced.code, text(&forced.body, "/status/phase").as_str()),
        (200, "Failed"),
        "{}",
        forced.text
    );
    let none = apply(
        &admin,
        &format!("{PODS}/none/status"),
        "fieldManager=other",
        &json!({"apiVersion": "v1", "kind": "Pod"}),
    )
    .await;
    assert_eq!(none.code, 404, "{}", none.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_makes_changes_and_prunes() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{MAPS}/a");
    let dry = apply(&admin, &path, "fieldManager=a&dryRun=All", &map(json!({"x": "1"}))).await;
    assert_eq!(dry.code, 201, "{}", dry.text);
    assert_eq!(get(&admin, &path).await.code, 404);
    let made = apply(&admin, &path, "fieldManager=a", &map(json!({"x": "1", "y": "1"}))).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(owners(&made.body), [r#"a Apply {"f:data":{"f:x":{},"f:y":{}}}"#]);
    let again = apply(&admin, &path, "fieldManager=a", &map(json!({"x": "1", "y": "1"}))).await;
    assert_eq!((again.code, &again.body), (200, &made.body));
    let other = apply(&admin, &path, "fieldManager=b", &map(json!({"z": "1"}))).await;
    assert_eq!(other.body["data"], json!({"x": "1", "y": "1", "z": "1"}));
    let less = apply(&admin, &path, "fieldManager=a", &map(json!({"x": "1"}))).await;
    assert_eq!(less.body["data"], json!({"x": "1", "z": "1"}));
    let none = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    apply(&admin, &path, "fieldManager=a", &none).await;
    let nothing = apply(&admin, &path, "fieldManager=b", &none).await;
    assert!(
        nothing.body.get("data").is_none() && nothing.body["metadata"].get("managedFields").is_none(),
        "{}",
        nothing.text
    );
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: why\ndata: {k: 'v'}\n";
    let made = raw(
        &admin,
        Method::PATCH,
        &format!("{MAPS}/why?fieldManager=a"),
        &[("content-type", APPLY)],
        yaml.into(),
    )
    .await;
    assert_eq!(
        (made.code, text(&made.body, "/data/k").as_str()),
        (201, "v"),
        "{}",
        made.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_have_causes_and_can_be_forced() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{MAPS}/a");
    post(
        &admin,
        &format!("{MAPS}?fieldManager=owner"),
        &config_map("a", &json!({}), &json!({"x": "1", "y": "1"})),
    )
    .await;
    let refused = apply(&admin, &path, "fieldManager=a", &map(json!({"x": "2", "y": "2"}))).await;
    assert_eq!(
        (refused.code, text(&refused.body, "/reason").as_str()),
        (409, "Conflict")
    );
    assert_eq!(
        refused.message(),
        "Apply failed with 2 conflicts: conflicts with \"owner\" using v1:\n- .data.x\n- .data.y"
    );
    assert_eq!(
        refused.body["details"]["causes"],
        json!([
            {"reason": "FieldManagerConflict", "message": "conflict with \"owner\" using v1", "field": ".data.x"},
            {"reason": "FieldManagerConflict", "message": "conflict with \"owner\" using v1", "field": ".data.y"},
        ])
    );
    let forced = apply(
        &admin,
        &path,
        "fieldManager=a&force=true",
        &map(json!({"x": "2", "y": "2"})),
    )
    .await;
    assert_eq!((forced.code, &forced.body["data"]), (200, &json!({"x": "2", "y": "2"})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_owned_through_the_scale_that_set_them() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let config = |replicas: i64| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template},
        })
    };
    let path = "/apis/apps/v1/namespaces/default/deployments/d";
    let made = apply(&admin, path, "fieldManager=a", &config(1)).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let scale = json!({"spec": {"replicas": 3}});
    let scaled = merge(&admin, &format!("{path}/scale?fieldManager=scaler"), &scale).await;
    assert_eq!(scaled.code, 200, "{}", scaled.text);
    let seen = owners(&get(&admin, path).await.body);
    assert!(
        seen.iter()
            .any(|o| o == r#"scaler Update scale {"f:spec":{"f:replicas":{}}}"#),
        "{seen:?}"
    );
    let refused = apply(&admin, path, "fieldManager=a", &config(1)).await;
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
}

/// A configuration of the ConfigMap of that name with one more field; the key may begin with `metadata.`.
fn with(name: &str, key: &str, value: Value) -> Value {
    let mut config = map(json!({"x": "1"}));
    config["metadata"]["name"] = json!(name);
    match key.strip_prefix("metadata.") {
        Some(key) => config["metadata"][key] = value,
        None => config[key] = value,
    }
    config
}

/// Asserts that a configuration is refused with that code and sentence.
async fn assert_refused(client: &dyn Transport, path: &str, config: &Value, code: u16, message: &str) {
    let refused = apply(client, path, "fieldManager=a", config).await;
    assert_eq!((refused.code, refused.message().as_str()), (code, message), "{config}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_that_make_no_sense_are_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{MAPS}/a");
    let typed = "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .foo: field not declared in schema";
    for (config, code, message) in [
        (
            with("a", "metadata.managedFields", json!([])),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            with("a", "kind", json!("Secret")),
            400,
            "invalid object type: /v1, Kind=Secret",
        ),
        (with("a", "foo", json!(1)), 500, typed),
        (
            with("b", "data", json!({})),
            400,
            "the name of the object (b) does not match the name on the URL (a)",
        ),
    ] {
        assert_refused(&admin, &path, &config, code, message).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_of_another_object_or_version_are_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = post(&admin, MAPS, &config_map("there", &json!({}), &json!({"x": "1"}))).await;
    let uid = text(&made.body, "/metadata/uid");
    for (name, field, value, message) in [
        (
            "a",
            "metadata.uid",
            "u",
            "configmaps \"a\": uid mismatch: the provided object specified uid u, and no existing object was found",
        ),
        (
            "there",
            "metadata.uid",
            "u",
            &format!("configmaps \"there\": Precondition failed: UID in precondition: u, UID in object meta: {uid}"),
        ),
        (
            "there",
            "metadata.resourceVersion",
            "1",
            "configmaps \"there\": the object has been modified; please apply your changes to the latest version and try again",
        ),
    ] {
        let message = format!("Operation cannot be fulfilled on {message}");
        let config = with(name, field, json!(value));
        assert_refused(&admin, &format!("{MAPS}/{name}"), &config, 409, &message).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_needs_a_manager_and_nothing_else_may_be_forced() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let nobody = apply(&admin, &format!("{MAPS}/a"), "", &map(json!({}))).await;
    assert_eq!(
        (nobody.code, nobody.message().as_str()),
        (
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        )
    );
    post(&admin, MAPS, &config_map("there", &json!({}), &json!({}))).await;
    let forced = send(
        &admin,
        Method::PATCH,
        &format!("{MAPS}/there?force=true"),
        "application/merge-patch+json",
        &json!({}),
    )
    .await;
    assert_eq!(
        (forced.code, forced.message().as_str()),
        (
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
        )
    );
}
