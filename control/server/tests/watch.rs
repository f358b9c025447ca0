//! Watches: nothing is missed, nothing comes twice, selections gain and lose objects.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::{Cluster, MAPS, config_map, delete, get, merge, post, text, watch};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_come_in_order_with_growing_revisions() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let list = get(&admin, MAPS).await;
    let revision = text(&list.body, "/metadata/resourceVersion");
    let mut lines = watch(&admin, &format!("{MAPS}?watch=true&resourceVersion={revision}"), "").await;

    post(&admin, MAPS, &config_map("a", &json!({}), &json!({"x": "1"}))).await;
    merge(&admin, &format!("{MAPS}/a"), &json!({"data": {"x": "2"}})).await;
    // Changes nothing, so nobody hears of it.
    merge(&admin, &format!("{MAPS}/a"), &json!({"data": {"x": "2"}})).await;
    delete(&admin, &format!("{MAPS}/a")).await;

    let mut last: u64 = revision.parse().unwrap();
    for (kind, value) in [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")] {
        let event = lines.next().await.unwrap();
        assert_eq!(
            (text(&event, "/type").as_str(), text(&event, "/object/data/x").as_str()),
            (kind, value)
        );
        assert_eq!(text(&event, "/object/kind"), "ConfigMap");
        let revision: u64 = text(&event, "/object/metadata/resourceVersion").parse().unwrap();
        assert!(revision > last, "{revision} > {last}");
        last = revision;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selection_gains_and_loses_objects() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut lines = watch(&admin, &format!("{MAPS}?watch=1&labelSelector=app%3Dweb"), "").await;
    post(&admin, MAPS, &config_map("a", &json!({"app": "db"}), &json!({}))).await;
    for (patch, event) in [
        (json!({"metadata": {"labels": {"app": "web"}}}), "ADDED a"),
        (json!({"data": {"x": "1"}}), "MODIFIED a"),
        (
            json!({"metadata": {"labels": {"app": "db"}}, "data": {"x": "2"}}),
            "DELETED a",
        ),
    ] {
        let patched = merge(&admin, &format!("{MAPS}/a"), &patch).await;
        let seen = lines.next().await.unwrap();
        assert_eq!(
            format!("{} {}", text(&seen, "/type"), text(&seen, "/object/metadata/name")),
            event
        );
        let revisions = [&patched.body, &seen["object"]].map(|object| text(object, "/metadata/resourceVersion"));
        assert_eq!(revisions[0], revisions[1]);
        if event.starts_with("DELETED") {
            // The last state that was selected, with the revision of its leaving.
            assert_eq!(text(&seen, "/object/data/x"), "1");
            assert_eq!(text(&seen, "/object/metadata/labels/app"), "web");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initial_events_end_with_a_marked_bookmark() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for name in ["a", "b"] {
        post(&admin, MAPS, &config_map(name, &json!({}), &json!({}))).await;
    }
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = watch(&admin, &format!("{MAPS}?{query}"), "").await;
    assert_eq!(lines.brief().await, "ADDED a");
    assert_eq!(lines.brief().await, "ADDED b");
    let bookmark = lines.next().await.unwrap();
    assert_eq!(text(&bookmark, "/type"), "BOOKMARK");
    assert_eq!(text(&bookmark, "/object/kind"), "ConfigMap");
    assert_eq!(
        bookmark.pointer("/object/metadata/annotations/k8s.io~1initial-events-end"),
        Some(&json!("true"))
    );
    assert_ne!(text(&bookmark, "/object/metadata/resourceVersion"), "");
    post(&admin, MAPS, &config_map("c", &json!({}), &json!({}))).await;
    assert_eq!(lines.brief().await, "ADDED c");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_when_asked_to_and_when_the_server_stops() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut timed = watch(
        &admin,
        &format!("{MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true"),
        "",
    )
    .await;
    assert_eq!(timed.brief().await, "BOOKMARK ");
    assert_eq!(timed.brief().await, "END");
    let mut open = watch(&admin, &format!("{MAPS}?watch=true"), "").await;
    cluster.stop.cancel();
    assert_eq!(open.brief().await, "END");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_revision_is_an_error_event() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for name in ["a", "b", "c"] {
        post(&admin, MAPS, &config_map(name, &json!({}), &json!({}))).await;
    }
    let now: u64 = text(&get(&admin, MAPS).await.body, "/metadata/resourceVersion")
        .parse()
        .unwrap();
    cluster.store.compact(now);
    let mut lines = watch(&admin, &format!("{MAPS}?watch=true&resourceVersion=1"), "").await;
    let event = lines.next().await.unwrap();
    assert_eq!(
        (text(&event, "/type").as_str(), text(&event, "/object/reason").as_str()),
        ("ERROR", "Expired")
    );
    assert_eq!(event.pointer("/object/code"), Some(&json!(410)));
    assert_eq!(lines.brief().await, "END");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_watched_row_by_row() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, MAPS, &config_map("a", &json!({}), &json!({"x": "1"}))).await;
    let mut lines = watch(
        &admin,
        &format!("{MAPS}?watch=true"),
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    )
    .await;
    let first = lines.next().await.unwrap();
    assert_eq!(text(&first, "/object/kind"), "Table");
    assert!(
        first
            .pointer("/object/columnDefinitions")
            .is_some_and(|columns| columns.is_array())
    );
    assert_eq!(first.pointer("/object/rows/0/cells/0"), Some(&json!("a")));
    merge(&admin, &format!("{MAPS}/a"), &json!({"data": {"y": "2"}})).await;
    let second = lines.next().await.unwrap();
    assert_eq!(second.pointer("/object/columnDefinitions"), Some(&json!(null)));
    assert_eq!(text(&second, "/object/rows/0/object/kind"), "PartialObjectMetadata");
}
