//! Replies in protobuf: every kind, lists, watches, refusals, and what has no such form.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;
mod samples;

use api::{KINDS, Rules, Verb};
use bytes::Bytes;
use cluster::{Cluster, PROTOBUF, Reply, config_map, delete, get, merge, post, raw, text, watch};
use http::Method;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const METADATA: &str = "as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

async fn read(admin: &client::Http, path: &str, accept: &str) -> Reply {
    raw(admin, Method::GET, path, &[("accept", accept)], Bytes::new()).await
}

fn media_type(reply: &Reply) -> &str {
    reply.headers["content-type"].to_str().unwrap()
}

/// Without members that say nothing: protobuf does not tell empty from absent where Go's types do not.
fn significant(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.clone(), significant(value)));
            let is_empty = |value: &Value| match value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(members) => members.is_empty(),
                Value::Bool(set) => !set,
                Value::Number(number) => number.as_f64() == Some(0.0),
            };
            Value::Object(members.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(list) => list.iter().map(significant).collect(),
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_made_read_and_written_in_protobuf() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for sample in samples::all() {
        let rules: &Rules = KINDS
            .iter()
            .find(|rules| rules.api_version() == sample.api_version && rules.plural == sample.plural)
            .unwrap();
        let root = if rules.group.is_empty() { "/api" } else { "/apis" };
        let namespace = if rules.namespaced { "namespaces/default/" } else { "" };
        let collection = format!("{root}/{}/{namespace}{}", rules.api_version(), rules.plural);
        let mut body = sample.body.clone();
        body["apiVersion"] = rules.api_version().into();
        body["kind"] = rules.kind.into();
        body["metadata"]["name"] = if sample.name.is_empty() {
            format!("p-{}", rules.version)
        } else {
            sample.name.to_owned()
        }
        .into();
        let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
        let bytes = server::protobuf::encode(&body).unwrap_or_else(|| panic!("{body}"));
        let made = raw(&admin, Method::POST, &collection, &headers, bytes.into()).await;
        assert_eq!(made.code, 201, "{}: {}", rules.plural, made.body);
        assert_eq!(media_type(&made), PROTOBUF, "{}", rules.plural);

        let path = format!("{collection}/{}", text(&made.body, "/metadata/name"));
        let plain = get(&admin, &path).await.body;
        let found = read(&admin, &path, PROTOBUF).await;
        assert_eq!(media_type(&found), PROTOBUF, "{}", rules.plural);
        assert_eq!(significant(&found.body), significant(&plain), "{}", rules.plural);
        assert_eq!(found.body["kind"], plain["kind"]);
        if rules.verbs.contains(&Verb::Update) {
            let bytes = server::protobuf::encode(&found.body).unwrap();
            let same = raw(&admin, Method::PUT, &path, &headers, bytes.into()).await;
            assert_eq!(
                (same.code, &same.body),
                (200, &found.body),
                "a write of nothing: {}",
                rules.plural
            );
        }
        if rules.verbs.contains(&Verb::List) {
            let list = read(&admin, &collection, PROTOBUF).await.body;
            assert_eq!(text(&list, "/kind"), rules.list_kind().to_string());
            assert!(!text(&list, "/metadata/resourceVersion").is_empty(), "{}", rules.plural);
            let mut item = found.body.clone();
            item.as_object_mut()
                .unwrap()
                .retain(|key, _| !["kind", "apiVersion"].contains(&key.as_str()));
            assert!(list["items"].as_array().unwrap().contains(&item), "{}", rules.plural);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_is_whole_in_protobuf_too() {
    let cluster = Cluster::start().await;
    let admin = cluster.in_process();
    // Together more than is kept while the list is measured.
    let filling = "x".repeat(20_000);
    for n in 0..300 {
        let map = config_map(&format!("m{n:03}"), &json!({}), &json!({ "filling": filling }));
        assert_eq!(post(&*admin, MAPS, &map).await.code, 201);
    }
    for path in [MAPS.to_owned(), format!("{MAPS}?limit=290")] {
        let plain = get(&*admin, &path).await.body;
        let found = raw(&*admin, Method::GET, &path, &[("accept", PROTOBUF)], Bytes::new())
            .await
            .body;
        assert_eq!(found["metadata"], plain["metadata"]);
        let names = |list: &Value| -> Vec<String> {
            let items = list["items"].as_array().unwrap();
            items.iter().map(|item| text(item, "/metadata/name")).collect()
        };
        assert_eq!(names(&found), names(&plain));
        assert_eq!(text(&found, "/items/289/data/filling").len(), 20_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sends_frames() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, MAPS, &config_map("a", &json!({}), &json!({"k": "1"}))).await;
    let query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut events = watch(&admin, &format!("{MAPS}?{query}"), PROTOBUF).await;
    let (kind, object) = events.next_frame().await.unwrap();
    assert_eq!((kind.as_str(), text(&object, "/data/k").as_str()), ("ADDED", "1"));
    assert_eq!(text(&object, "/kind"), "ConfigMap");
    let (kind, object) = events.next_frame().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    let annotations = &object["metadata"]["annotations"];
    assert_eq!(annotations["k8s.io/initial-events-end"], "true");
    assert!(!text(&object, "/metadata/resourceVersion").is_empty());
    merge(&admin, &format!("{MAPS}/a"), &json!({"data": {"k": "2"}})).await;
    delete(&admin, &format!("{MAPS}/a")).await;
    for expected in ["MODIFIED", "DELETED"] {
        let (kind, object) = events.next_frame().await.unwrap();
        assert_eq!((kind.as_str(), text(&object, "/data/k").as_str()), (expected, "2"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_a_forgotten_revision_is_refused_in_a_frame() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, MAPS, &config_map("a", &json!({}), &json!({}))).await;
    cluster.store.compact(cluster.store.revision());
    let mut events = watch(&admin, &format!("{MAPS}?watch=1&resourceVersion=1"), PROTOBUF).await;
    let (kind, object) = events.next_frame().await.unwrap();
    assert_eq!(kind, "ERROR");
    assert_eq!((&object["code"], &object["reason"]), (&json!(410), &json!("Expired")));
    assert!(events.next_frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_alone_is_read_listed_and_watched() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, MAPS, &config_map("a", &json!({"l": "x"}), &json!({"k": "1"}))).await;
    for encoding in ["application/json", PROTOBUF] {
        let accept = format!("{encoding};{METADATA}");
        let one = read(&admin, &format!("{MAPS}/a"), &accept).await;
        assert_eq!(media_type(&one), encoding);
        assert_eq!(text(&one.body, "/kind"), "PartialObjectMetadata");
        assert_eq!(text(&one.body, "/apiVersion"), "meta.k8s.io/v1");
        assert_eq!(text(&one.body, "/metadata/labels/l"), "x");
        assert_eq!(one.body.get("data"), None);
        let list = read(
            &admin,
            MAPS,
            &format!("{encoding};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
        )
        .await;
        assert_eq!(text(&list.body, "/kind"), "PartialObjectMetadataList");
        assert_eq!(text(&list.body, "/items/0/metadata/name"), "a");
        assert_eq!(list.body.pointer("/items/0/data"), None);
    }
    let mut lines = watch(
        &admin,
        &format!("{MAPS}?watch=1"),
        &format!("application/json;{METADATA}"),
    )
    .await;
    let event = lines.next().await.unwrap();
    assert_eq!(text(&event, "/object/kind"), "PartialObjectMetadata");
    let mut frames = watch(&admin, &format!("{MAPS}?watch=1"), &format!("{PROTOBUF};{METADATA}")).await;
    let (kind, object) = frames.next_frame().await.unwrap();
    assert_eq!(
        (kind.as_str(), text(&object, "/kind").as_str()),
        ("ADDED", "PartialObjectMetadata")
    );
    assert_eq!(text(&object, "/metadata/name"), "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_successes_are_written_alike() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let missing = read(&admin, &format!("{MAPS}/nothing"), PROTOBUF).await;
    assert_eq!((missing.code, media_type(&missing)), (404, PROTOBUF));
    assert_eq!(text(&missing.body, "/message"), "configmaps \"nothing\" not found");
    assert_eq!(missing.body.pointer("/details/kind"), Some(&json!("configmaps")));
    assert_eq!(missing.body["code"], 404);
    post(&admin, MAPS, &config_map("a", &json!({}), &json!({}))).await;
    let headers = [("accept", PROTOBUF)];
    let deleted = raw(&admin, Method::DELETE, &format!("{MAPS}/a"), &headers, Bytes::new()).await;
    assert_eq!((deleted.code, media_type(&deleted)), (200, PROTOBUF));
    assert_eq!(text(&deleted.body, "/status"), "Success");

    let refused = read(&admin, MAPS, "text/html").await;
    assert_eq!((refused.code, media_type(&refused)), (406, "application/json"));
    assert_eq!(text(&refused.body, "/reason"), "NotAcceptable");
    assert_eq!(
        text(&refused.body, "/message"),
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_have_no_protobuf_but_their_metadata_has() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let definition = json!({"metadata": {"name": "gadgets.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let made = post(
        &admin,
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        &definition,
    )
    .await;
    assert_eq!(made.code, 201, "{}", made.text);
    let gadgets = "/apis/example.org/v1/namespaces/default/gadgets";
    let end = tokio::time::Instant::now() + cluster::DEADLINE;
    let gadget = json!({"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": {"name": "a"}, "spec": {"x": 1}});
    while post(&admin, gadgets, &gadget).await.code == 404 {
        assert!(tokio::time::Instant::now() < end, "the definition is served in time");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for path in [gadgets.to_owned(), format!("{gadgets}/a"), format!("{gadgets}?watch=1")] {
        let refused = read(&admin, &path, PROTOBUF).await;
        assert_eq!(
            (refused.code, text(&refused.body, "/reason").as_str()),
            (406, "NotAcceptable")
        );
    }
    let found = read(&admin, &format!("{gadgets}/a"), &format!("{PROTOBUF},application/json")).await;
    assert_eq!(
        (media_type(&found), &found.body["spec"]),
        ("application/json", &gadget["spec"])
    );
    let list = read(
        &admin,
        gadgets,
        &format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
    )
    .await;
    assert_eq!(media_type(&list), PROTOBUF);
    assert_eq!(text(&list.body, "/items/0/metadata/name"), "a");
}
