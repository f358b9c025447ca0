//! Bodies and patches with mistakes: refused, or taken with a warning, in upstream's words.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use client::Transport;
use cluster::{Cluster, MAPS, PODS, Reply, config_map, get, post, raw, text};
use http::Method;
use serde_json::json;

const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_fields_are_dropped_and_told() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let body = r#"{"metadata":{"name":"p","lables":{}},"spec":{"unknown1":"v","unknownDupe":1,"unknownDupe":2,
        "hostNetwork":false,"hostNetwork":false,"containers":[{"name":"c","image":"i","img":1}]}}"#;
    let json = [("content-type", "application/json")];
    let strict = raw(
        &admin,
        Method::POST,
        &format!("{PODS}?fieldValidation=Strict"),
        &json,
        body.into(),
    )
    .await;
    assert_eq!(
        strict.message(),
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"metadata.lables\", \
         unknown field \"spec.unknown1\", unknown field \"spec.unknownDupe\", duplicate field \"spec.hostNetwork\", \
         unknown field \"spec.containers[0].img\""
    );
    let warned = raw(&admin, Method::POST, PODS, &json, body.into()).await;
    assert_eq!(warned.code, 201, "{}", warned.text);
    assert_eq!(warned.warnings().len(), 5);
    let stored = get(&admin, &format!("{PODS}/p")).await.body;
    assert!(stored["spec"].get("unknown1").is_none() && stored["spec"]["containers"][0].get("img").is_none());
    let yaml = "metadata:\n  name: why\ndata:\n  x: '1'\n  x: '2'\nbogus: 1\n";
    let yaml_type = [("content-type", "application/yaml")];
    let strict = raw(
        &admin,
        Method::POST,
        &format!("{MAPS}?fieldValidation=Strict"),
        &yaml_type,
        yaml.into(),
    )
    .await;
    assert_eq!(
        strict.message(),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  \
         line 5: key \"x\" already set in map, unknown field \"bogus\""
    );
    let warned = raw(&admin, Method::POST, MAPS, &yaml_type, yaml.into()).await;
    assert_eq!(
        warned.warnings(),
        [
            "299 - \"line 5: key \\\"x\\\" already set in map\"",
            "299 - \"unknown field \\\"bogus\\\"\""
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn yaml_that_is_wrong_is_refused_or_warned_of() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: '1'\n  x: '2'\n";
    let headers = [("content-type", APPLY)];
    let strict = raw(
        &admin,
        Method::PATCH,
        &format!("{MAPS}/a?fieldManager=a&fieldValidation=Strict"),
        &headers,
        twice.into(),
    )
    .await;
    assert_eq!(
        (strict.code, strict.message().as_str()),
        (
            400,
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"x\" already set in map"
        )
    );
    let warned = raw(
        &admin,
        Method::PATCH,
        &format!("{MAPS}/a?fieldManager=a"),
        &headers,
        twice.into(),
    )
    .await;
    assert_eq!(
        (warned.code, text(&warned.body, "/data/x").as_str()),
        (201, "2"),
        "{}",
        warned.text
    );
    assert_eq!(
        warned.warnings(),
        ["299 - \"line 6: key \\\"x\\\" already set in map\""]
    );
    let garbage = raw(
        &admin,
        Method::PATCH,
        &format!("{MAPS}/a?fieldManager=a"),
        &headers,
        "a: [".into(),
    )
    .await;
    assert!(
        garbage.code == 400 && garbage.message().starts_with("error decoding YAML: "),
        "{}",
        garbage.text
    );
}

/// Sends a patch of `a`, written by hand.
async fn patch(client: &dyn Transport, media_type: &str, query: &str, body: &str) -> Reply {
    let (path, headers) = (format!("{MAPS}/a?{query}"), [("content-type", media_type)]);
    raw(client, Method::PATCH, &path, &headers, body.to_owned().into()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_that_cannot_be_done_are_refused_in_upstreams_words() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, MAPS, &config_map("a", &json!({}), &json!({"x": "1"}))).await;
    let rejected = "the server rejected our request due to an error in our request";
    for (media_type, body, code, message) in [
        (
            JSON_PATCH,
            r#"[{"op":"test","path":"/data/x","value":"2"}]"#,
            422,
            rejected,
        ),
        (
            MERGE,
            "[]",
            400,
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (
            STRATEGIC,
            r#"{"data":{"$patch":"what"}}"#,
            500,
            "unknown patch type found: what",
        ),
        (
            STRATEGIC,
            r#"{"metadata":{"$retainKeys":1}}"#,
            400,
            "invalid patch format of retainKeys",
        ),
        (STRATEGIC, r#"{"data":{"$retainKeys":["a"],"b":"1"}}"#, 422, rejected),
        (
            STRATEGIC,
            r#"{"metadata":{"$setElementOrder/finalizers":1,"finalizers":[]}}"#,
            400,
            "invalid patch format of setElementOrder list",
        ),
        (
            STRATEGIC,
            r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":1}}"#,
            400,
            "invalid patch format of primitive list",
        ),
    ] {
        let refused = patch(&admin, media_type, "", body).await;
        assert_eq!((refused.code, refused.message().as_str()), (code, message), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_with_unknown_or_doubled_fields_are_refused_if_asked() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, MAPS, &config_map("a", &json!({}), &json!({"x": "1"}))).await;
    let strict = patch(
        &admin,
        MERGE,
        "fieldValidation=Strict",
        r#"{"bogus":1,"data":{"y":"1"},"data":{"y":"2"}}"#,
    )
    .await;
    let message = strict.message();
    assert_eq!(strict.code, 422);
    assert!(
        message.starts_with(" \"\" is invalid: patch: Invalid value: \"{\\\"apiVersion\\\":\\\"v1\\\""),
        "{message}"
    );
    assert!(
        message.ends_with("strict decoding error: duplicate field \"data\", unknown field \"bogus\""),
        "{message}"
    );
    let strict = patch(&admin, STRATEGIC, "fieldValidation=Strict", r#"{"bogus":1}"#).await;
    assert_eq!(
        strict.message(),
        " \"\" is invalid: patch: Invalid value: \"map[bogus:1]\": strict decoding error: unknown field \"bogus\""
    );
    let strict = patch(
        &admin,
        JSON_PATCH,
        "fieldValidation=Strict",
        r#"[{"op":"add","op":"add","path":"/data/z","value":"1","foo":1}]"#,
    )
    .await;
    let message = strict.message();
    assert!(
        message.ends_with(
            "strict decoding error: json patch duplicate field \"[0].op\", json patch unknown field \"[0].foo\""
        ),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_that_change_a_type_or_do_too_much_are_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, MAPS, &config_map("a", &json!({}), &json!({"x": "1"}))).await;
    let wrong = patch(&admin, MERGE, "", r#"{"data":5}"#).await;
    assert!(
        wrong.code == 422 && wrong.message().contains("cannot unmarshal number"),
        "{}",
        wrong.text
    );
    let operations = format!(
        "[{}]",
        vec![r#"{"op":"test","path":"/data/x","value":"1"}"#; 10_001].join(",")
    );
    let many = patch(&admin, JSON_PATCH, "", &operations).await;
    assert_eq!(
        (many.code, many.message().as_str()),
        (
            413,
            "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
        ),
    );
}
