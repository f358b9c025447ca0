//! Custom resources: judged, shown, versioned and scaled as their definition says, by hand and by kubectl.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::definitions::{WIDGETS, definition, establish, widget};
use cluster::kubectl::Kubectl;
use cluster::{Cluster, get, merge, post, put, raw, send, text};
use http::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_pruned_defaulted_and_judged() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    let spec = json!({ "size": 3, "foo": 1, "any": { "thing": [null] }, "port": "http",
        "template": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x", "nonsense": 1 }, "spec": { "kept": true } } });
    let made = post(&admin, WIDGETS, &widget("a", &spec)).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let expected = json!({ "size": 3, "any": { "thing": [null] }, "port": "http", "color": "grey",
        "template": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x" }, "spec": { "kept": true } } });
    assert_eq!(made.body["spec"], expected);
    assert_eq!(made.body["metadata"]["generation"], 1);
    let strict = post(
        &admin,
        &format!("{WIDGETS}?fieldValidation=Strict"),
        &widget("b", &spec),
    )
    .await;
    assert_eq!(strict.code, 400);
    assert_eq!(
        strict.message(),
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.foo\", unknown field \"spec.template.metadata.nonsense\""
    );
    for (spec, sentence) in [
        (
            json!({ "size": "big" }),
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
        ),
        (
            json!({ "size": 0 }),
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (json!({}), "spec.size: Required value"),
        (
            json!({ "size": 1, "color": "blue" }),
            "spec.color: Unsupported value: \"blue\": supported values: \"grey\", \"red\"",
        ),
        (
            json!({ "size": 1, "tags": ["x", "x"] }),
            "spec.tags[1]: Duplicate value: \"x\"",
        ),
        (
            json!({ "size": 1, "template": { "kind": "Pod" } }),
            "spec.template.apiVersion: Required value: must not be empty",
        ),
    ] {
        let refused = post(&admin, WIDGETS, &widget("b", &spec)).await;
        assert_eq!(refused.code, 422, "{}", refused.text);
        assert_eq!(
            refused.message(),
            format!("Widget.example.com \"b\" is invalid: {sentence}")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_views_of_one_object() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    post(&admin, WIDGETS, &widget("a", &json!({ "size": 3 }))).await;
    let older = get(&admin, "/apis/example.com/v1beta1/namespaces/default/widgets/a").await;
    assert_eq!(text(&older.body, "/apiVersion"), "example.com/v1beta1");
    assert_eq!(older.body["spec"]["size"], 3, "{}", older.text);
    let warnings = older.warnings();
    assert!(
        warnings[0].contains("example.com/v1beta1 Widget is deprecated"),
        "{warnings:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_is_written_by_its_subresource_alone() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    let mut new = widget("a", &json!({ "size": 3 }));
    new["status"] = json!({ "size": 9 });
    let made = post(&admin, WIDGETS, &new).await;
    assert_eq!(made.body.get("status"), None, "{}", made.text);
    let body =
        json!({ "metadata": { "labels": { "ignored": "yes" } }, "spec": { "size": 5 }, "status": { "size": 2 } });
    let written = merge(&admin, &format!("{WIDGETS}/a/status"), &body).await;
    assert_eq!(written.code, 200, "{}", written.text);
    assert_eq!(
        (&written.body["spec"]["size"], &written.body["status"]["size"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(written.body["metadata"].get("labels"), None);
    assert_eq!(written.body["metadata"]["generation"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scale_reads_and_writes_where_the_definition_says() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    post(&admin, WIDGETS, &widget("a", &json!({ "size": 3 }))).await;
    let path = format!("{WIDGETS}/a");
    let status = json!({ "status": { "size": 2, "selector": "a=b" } });
    merge(&admin, &format!("{path}/status"), &status).await;
    let scale = get(&admin, &format!("{path}/scale")).await;
    assert_eq!(scale.body["spec"]["replicas"], 3, "{}", scale.text);
    assert_eq!(scale.body["status"], json!({ "replicas": 2, "selector": "a=b" }));
    let scaled = merge(&admin, &format!("{path}/scale"), &json!({ "spec": { "replicas": 7 } })).await;
    assert_eq!(scaled.body["spec"]["replicas"], 7, "{}", scaled.text);
    let now = get(&admin, &path).await;
    assert_eq!(
        (&now.body["spec"]["size"], &now.body["metadata"]["generation"]),
        (&json!(7), &json!(2))
    );
    // Whoever applies a Scale reads of the Scale's field, wherever the object keeps it.
    let wish = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "spec": { "replicas": 9 } });
    let by_scaler = format!("{path}/scale?fieldManager=scaler");
    let refused = send(&admin, Method::PATCH, &by_scaler, "application/apply-patch+yaml", &wish).await;
    assert_eq!(refused.code, 409, "{}", refused.text);
    assert_eq!(text(&refused.body, "/details/causes/0/field"), ".spec.replicas");
    assert!(refused.message().ends_with(": .spec.replicas"), "{}", refused.message());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_replaced_at_the_version_that_was_read() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    let made = post(&admin, WIDGETS, &widget("a", &json!({ "size": 3 }))).await;
    let path = format!("{WIDGETS}/a");
    let mut whole = made.body.clone();
    whole["spec"]["color"] = "red".into();
    let replaced = put(&admin, &path, &whole).await;
    assert_eq!(
        (replaced.code, &replaced.body["metadata"]["generation"]),
        (200, &json!(2)),
        "{}",
        replaced.text
    );
    let refused = put(&admin, &path, &widget("a", &json!({ "size": 1 }))).await;
    assert_eq!(refused.code, 422);
    assert!(
        refused.message().contains("metadata.resourceVersion: Invalid value"),
        "{}",
        refused.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_types_of_built_in_kinds_are_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    post(&admin, WIDGETS, &widget("a", &json!({ "size": 3 }))).await;
    let strategic = send(
        &admin,
        Method::PATCH,
        &format!("{WIDGETS}/a"),
        "application/strategic-merge-patch+json",
        &json!({}),
    )
    .await;
    assert_eq!(strategic.code, 415);
    assert_eq!(
        strategic.message(),
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    );
    let protobuf = raw(
        &admin,
        Method::POST,
        WIDGETS,
        &[("content-type", "application/vnd.kubernetes.protobuf")],
        "k8s\0".into(),
    )
    .await;
    assert_eq!(protobuf.code, 415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_and_selectors_follow_the_definition() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    post(&admin, WIDGETS, &widget("a", &json!({ "size": 3 }))).await;
    post(&admin, WIDGETS, &widget("b", &json!({ "size": 4, "color": "red" }))).await;
    let red = get(&admin, &format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await;
    let names: Vec<String> = red.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| text(item, "/metadata/name"))
        .collect();
    assert_eq!(names, ["b"]);
    let unknown = get(&admin, &format!("{WIDGETS}?fieldSelector=spec.size%3D3")).await;
    assert_eq!(
        (unknown.code, unknown.message()),
        (400, "field label not supported: spec.size".to_owned())
    );
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = raw(&admin, Method::GET, WIDGETS, &accept, bytes::Bytes::new()).await;
    let columns: Vec<String> = table.body["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| text(c, "/name"))
        .collect();
    assert_eq!(columns, ["Name", "Size", "Age"]);
    let cells = &table.body["rows"][0]["cells"];
    assert_eq!((&cells[0], &cells[1]), (&json!("a"), &json!(3)), "{cells}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_use_custom_resources_with_kubectl() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.run("apply -f -", &definition().to_string()).await;
    kubectl
        .run(
            "wait --for=condition=Established --timeout=30s crd/widgets.example.com",
            "",
        )
        .await;
    let manifest = widget("a", &json!({ "size": 3 })).to_string();
    assert!(
        kubectl
            .run("apply -f -", &manifest)
            .await
            .contains("widget.example.com/a created")
    );
    assert!(
        kubectl
            .run("apply -f -", &manifest)
            .await
            .contains("widget.example.com/a unchanged")
    );
    let larger = widget("a", &json!({ "size": 4 })).to_string();
    assert!(
        kubectl
            .run("apply -f -", &larger)
            .await
            .contains("widget.example.com/a configured")
    );
    let table = kubectl.run("get wd", "").await;
    assert!(table.contains("SIZE") && table.contains('4'), "{table}");
    let explained = kubectl.run("explain widget.spec.size", "").await;
    assert!(explained.contains("How large it is."), "{explained}");
    let unknown = kubectl
        .fail("apply -f -", &widget("b", &json!({ "size": 1, "foo": 1 })).to_string())
        .await;
    assert!(unknown.contains("unknown field \"spec.foo\""), "{unknown}");
    kubectl.run("scale widget/a --replicas=6", "").await;
    assert_eq!(kubectl.run("get widget a -o jsonpath={.spec.size}", "").await, "6");
    assert!(
        kubectl
            .run("delete crd widgets.example.com --timeout=30s", "")
            .await
            .contains("deleted")
    );
}
