//! Writes: metadata, conflicts, no-ops, patches, dry runs, field validation.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::{Cluster, MAPS, PODS, config_map, get, merge, pod, post, put, raw, send, text};
use http::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_object_gets_its_metadata_from_the_server() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = post(&admin, MAPS, &config_map("a", &json!({}), &json!({"x": "1"}))).await;
    assert_eq!(made.code, 201);
    for pointer in [
        "/metadata/uid",
        "/metadata/creationTimestamp",
        "/metadata/resourceVersion",
    ] {
        assert_ne!(text(&made.body, pointer), "", "{pointer}");
    }
    assert_eq!(text(&made.body, "/metadata/namespace"), "default");
    assert_eq!(get(&admin, &format!("{MAPS}/a")).await.body, made.body);

    let again = post(&admin, MAPS, &config_map("a", &json!({}), &json!({}))).await;
    assert_eq!(
        (again.code, text(&again.body, "/reason").as_str()),
        (409, "AlreadyExists")
    );
    assert_eq!(text(&again.body, "/message"), "configmaps \"a\" already exists");

    let generated = post(&admin, MAPS, &json!({"metadata": {"generateName": "g-"}})).await;
    let name = text(&generated.body, "/metadata/name");
    assert!(name.starts_with("g-") && name.len() == 7, "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_write_is_refused_and_a_write_of_nothing_is_none() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{MAPS}/a");
    let first = post(&admin, MAPS, &config_map("a", &json!({}), &json!({"x": "1"})))
        .await
        .body;
    let same = put(&admin, &path, &first).await;
    assert_eq!((same.code, &same.body), (200, &first));
    let mut next = first.clone();
    next["data"]["x"] = json!("2");
    assert_eq!(put(&admin, &path, &next).await.code, 200);
    let stale = put(&admin, &path, &next).await;
    assert_eq!((stale.code, text(&stale.body, "/reason").as_str()), (409, "Conflict"));
    assert_eq!(
        text(&stale.body, "/message"),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    // Without a resourceVersion the client does not care.
    assert_eq!(
        put(&admin, &path, &config_map("a", &json!({}), &json!({"x": "3"})))
            .await
            .code,
        200
    );
    let other = merge(&admin, &path, &json!({"metadata": {"uid": "not-this-one"}})).await;
    assert_eq!(other.code, 409);
    let renamed = put(&admin, &path, &config_map("b", &json!({}), &json!({}))).await;
    assert_eq!(renamed.code, 400);
    assert_eq!(
        put(
            &admin,
            &format!("{MAPS}/none"),
            &config_map("none", &json!({}), &json!({}))
        )
        .await
        .code,
        404
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_lose_nothing() {
    const WRITERS: usize = 8;
    const WRITES: usize = 25;
    let cluster = Cluster::start().await;
    let admin = std::sync::Arc::new(cluster.admin());
    let path = format!("{MAPS}/counter");
    post(&*admin, MAPS, &config_map("counter", &json!({}), &json!({"n": "0"}))).await;
    let writers = (0..WRITERS).map(|_| {
        let (admin, path) = (admin.clone(), path.clone());
        tokio::spawn(async move {
            for _ in 0..WRITES {
                loop {
                    let mut object = get(&*admin, &path).await.body;
                    let n: usize = text(&object, "/data/n").parse().unwrap();
                    object["data"]["n"] = json!((n + 1).to_string());
                    match put(&*admin, &path, &object).await.code {
                        200 => break,
                        409 => {}
                        other => panic!("unexpected {other}"),
                    }
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(
        text(&get(&*admin, &path).await.body, "/data/n"),
        (WRITERS * WRITES).to_string()
    );

    // Patches that say nothing of a revision are made again by the server, and none is lost either.
    let patchers = (0..WRITERS).map(|writer| {
        let (admin, path) = (admin.clone(), path.clone());
        tokio::spawn(async move {
            for n in 0..4 {
                let patched = merge(&*admin, &path, &json!({"data": {format!("w{writer}-{n}"): "x"}})).await;
                assert_eq!(patched.code, 200, "{}", patched.text);
            }
        })
    });
    for patcher in patchers.collect::<Vec<_>>() {
        patcher.await.unwrap();
    }
    let object = get(&*admin, &path).await.body;
    assert_eq!(object["data"].as_object().unwrap().len(), WRITERS * 4 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_patch_is_applied_or_refused_whole() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = post(&admin, PODS, &pod("p")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let path = format!("{PODS}/p");
    let patch = async |media_type: &str, body: Value| send(&admin, Method::PATCH, &path, media_type, &body).await;

    let strategic = json!({"spec": {"containers": [{"name": "c", "image": "busybox:2"}]}});
    let patched = patch("application/strategic-merge-patch+json", strategic).await;
    assert_eq!(
        (patched.code, text(&patched.body, "/spec/containers/0/image").as_str()),
        (200, "busybox:2"),
        "{}",
        patched.text
    );
    assert_eq!(patched.body.pointer("/metadata/generation"), Some(&json!(2)));

    let json_patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]);
    let patched = patch("application/json-patch+json", json_patch).await;
    assert_eq!(
        (patched.code, text(&patched.body, "/metadata/labels/a").as_str()),
        (200, "b")
    );
    assert_eq!(patched.body.pointer("/metadata/generation"), Some(&json!(2)));

    let before = get(&admin, &path).await.body;
    let failing = json!([{"op": "replace", "path": "/metadata/labels/a", "value": "c"}, {"op": "test", "path": "/kind", "value": "Node"}]);
    assert_eq!(patch("application/json-patch+json", failing).await.code, 422);
    assert_eq!(
        patch("application/merge-patch+json", json!({"spec": {"nodeName": "n"}}))
            .await
            .code,
        422
    );
    // An apply must say for whom.
    assert_eq!(patch("application/apply-patch+yaml", json!({})).await.code, 422);
    assert_eq!(patch("text/plain", json!({})).await.code, 415);
    assert_eq!(get(&admin, &path).await.body, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spec_and_status_are_written_apart() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, PODS, &pod("p")).await;
    let status = json!({"status": {"phase": "Running"}, "spec": {"containers": [{"name": "c", "image": "evil"}]}});
    let strategic = "application/strategic-merge-patch+json";
    let patched = send(&admin, Method::PATCH, &format!("{PODS}/p/status"), strategic, &status).await;
    assert_eq!(
        (patched.code, text(&patched.body, "/status/phase").as_str()),
        (200, "Running"),
        "{}",
        patched.text
    );
    assert_eq!(text(&patched.body, "/spec/containers/0/image"), "busybox");
    assert_eq!(patched.body.pointer("/metadata/generation"), Some(&json!(1)));
    let spec = json!({"status": {"phase": "Failed"}, "metadata": {"labels": {"a": "b"}}});
    let patched = send(&admin, Method::PATCH, &format!("{PODS}/p"), strategic, &spec).await;
    assert_eq!(
        (patched.code, text(&patched.body, "/status/phase").as_str()),
        (200, "Running")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let revision = cluster.store.revision();
    let dry = post(
        &admin,
        &format!("{MAPS}?dryRun=All"),
        &config_map("a", &json!({}), &json!({})),
    )
    .await;
    assert_eq!((dry.code, text(&dry.body, "/metadata/name").as_str()), (201, "a"));
    assert_eq!(cluster.store.revision(), revision);
    assert_eq!(get(&admin, &format!("{MAPS}/a")).await.code, 404);
    post(&admin, MAPS, &config_map("a", &json!({}), &json!({"x": "1"}))).await;
    let dry = merge(&admin, &format!("{MAPS}/a?dryRun=All"), &json!({"data": {"x": "2"}})).await;
    assert_eq!(text(&dry.body, "/data/x"), "2");
    let dry = send(
        &admin,
        Method::DELETE,
        &format!("{MAPS}/a"),
        "application/json",
        &json!({"dryRun": ["All"]}),
    )
    .await;
    assert_eq!(dry.code, 200);
    assert_eq!(text(&get(&admin, &format!("{MAPS}/a")).await.body, "/data/x"), "1");
    assert_eq!(post(&admin, &format!("{MAPS}?dryRun=Some"), &json!({})).await.code, 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_and_duplicate_fields_are_ignored_reported_or_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let body = r#"{"metadata":{"name":"a"},"data":{"x":"1"},"bogus":1,"data":{"x":"2"}}"#;
    let headers = [("content-type", "application/json")];
    let sent = async |query: &str| {
        raw(
            &admin,
            Method::POST,
            &format!("{MAPS}?dryRun=All{query}"),
            &headers,
            body.into(),
        )
        .await
    };
    let strict = sent("&fieldValidation=Strict").await;
    assert_eq!(strict.code, 400);
    assert_eq!(
        text(&strict.body, "/message"),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"bogus\", duplicate field \"data\""
    );
    let warned = sent("").await;
    let warnings: Vec<&str> = warned
        .headers
        .get_all("warning")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(
        warnings,
        [
            "299 - \"unknown field \\\"bogus\\\"\"",
            "299 - \"duplicate field \\\"data\\\"\""
        ]
    );
    let ignored = sent("&fieldValidation=Ignore").await;
    assert_eq!((ignored.code, ignored.headers.get("warning")), (201, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_with_one_sentence() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let big = json!({"metadata": {"name": "big"}, "data": {"x": "y".repeat(3 * 1024 * 1024)}});
    for (path, body, code, sentence) in [
        (MAPS, json!([]), 400, "unrecognized"),
        (
            MAPS,
            json!({"kind": "Pod", "metadata": {"name": "a"}}),
            400,
            "Pod in version \"v1\" cannot be handled as a ConfigMap",
        ),
        (
            MAPS,
            json!({"apiVersion": "v2", "metadata": {"name": "a"}}),
            400,
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            MAPS,
            json!({"metadata": {"name": "a", "namespace": "b"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (MAPS, json!({"metadata": {}}), 422, "name or generateName is required"),
        (
            MAPS,
            json!({"metadata": {"name": "A_b"}}),
            422,
            "metadata.name: Invalid value: \"A_b\"",
        ),
        (
            MAPS,
            json!({"metadata": {"name": "a", "resourceVersion": "7"}}),
            500,
            "resourceVersion should not be set on objects to be created",
        ),
        (
            MAPS,
            json!({"metadata": {"name": "a"}, "data": 5}),
            400,
            "cannot unmarshal",
        ),
        (MAPS, big, 413, "limit is 3145728"),
        (
            "/api/v1/namespaces/none/configmaps",
            json!({"metadata": {"name": "a"}}),
            404,
            "namespaces \"none\" not found",
        ),
        (
            PODS,
            json!({"metadata": {"name": "p"}, "spec": {"containers": []}}),
            422,
            "spec.containers: Required value",
        ),
        (
            "/api/v1/namespaces/default/gadgets",
            json!({}),
            404,
            "could not find the requested resource",
        ),
        ("/api/v1/configmaps", json!({}), 405, "does not allow this method"),
    ] {
        let refused = post(&admin, path, &body).await;
        assert_eq!(refused.code, code, "{path}: {}", refused.text);
        assert!(
            text(&refused.body, "/message").contains(sentence),
            "{path}: {}",
            refused.text
        );
        assert_eq!(text(&refused.body, "/kind"), "Status");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_come_in_the_encodings_that_clients_use() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let garbage = raw(
        &admin,
        Method::POST,
        MAPS,
        &[("content-type", "application/json")],
        "{".into(),
    )
    .await;
    assert_eq!(garbage.code, 400);
    let protobuf = raw(
        &admin,
        Method::POST,
        MAPS,
        &[("content-type", "application/vnd.kubernetes.protobuf")],
        "k8s\0".into(),
    )
    .await;
    assert_eq!(protobuf.code, 415, "{}", protobuf.text);
    let yaml = raw(
        &admin,
        Method::POST,
        MAPS,
        &[("content-type", "application/yaml")],
        "metadata:\n  name: yaml\n".into(),
    )
    .await;
    assert_eq!(yaml.code, 201, "{}", yaml.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authors_of_pods_hear_what_is_odd() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut odd = pod("odd");
    odd["spec"]["terminationGracePeriodSeconds"] = json!(-1);
    let made = post(&admin, "/api/v1/namespaces/default/pods", &odd).await;
    let why = "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1";
    assert_eq!((made.code, made.warnings()), (201, vec![format!("299 - \"{why}\"")]));
    let usual = post(&admin, "/api/v1/namespaces/default/pods", &pod("usual")).await;
    assert_eq!((usual.code, usual.warnings()), (201, Vec::new()));
}
