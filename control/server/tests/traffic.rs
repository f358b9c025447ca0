//! What bounds and counts requests, and how large replies travel.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use bytes::Bytes;
use cluster::{Cluster, config_map, get, post, raw, text};
use http::Method;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_replies_are_packed_for_who_takes_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let filling = "0123456789".repeat(30_000);
    post(&admin, MAPS, &config_map("large", &json!({}), &json!({ "k": filling }))).await;
    for (path, accepts, packed) in [
        (format!("{MAPS}/large"), "gzip", true),
        (format!("{MAPS}/large"), "identity", false),
        (MAPS.to_owned(), "deflate, gzip", true),
        (format!("{MAPS}/none"), "gzip", false),
    ] {
        let reply = raw(
            &admin,
            Method::GET,
            &path,
            &[("accept-encoding", accepts)],
            Bytes::new(),
        )
        .await;
        let encoding = reply.headers.get("content-encoding");
        assert_eq!(
            encoding.is_some_and(|value| value == "gzip"),
            packed,
            "{path} {accepts}"
        );
        assert_eq!(reply.body.is_null(), packed, "{path} {accepts}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    get(&admin, &format!("{MAPS}/none")).await;
    get(&admin, MAPS).await;
    let metrics = get(&admin, "/metrics").await.text;
    for line in [
        r#"apiserver_request_total{code="404",group="",resource="configmaps",scope="resource",subresource="",verb="GET",version="v1",component="apiserver"} 1"#,
        r#"apiserver_request_total{code="200",group="",resource="configmaps",scope="namespace",subresource="",verb="LIST",version="v1",component="apiserver"} 1"#,
        r#"apiserver_current_inflight_requests{request_kind="mutating"} 0"#,
        // This request itself.
        r#"apiserver_current_inflight_requests{request_kind="readOnly"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_that_is_none_is_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let refused = get(&admin, &format!("{MAPS}?timeout=soon")).await;
    assert_eq!(refused.code, 400);
    assert_eq!(
        text(&refused.body, "/message"),
        "invalid timeout specified in the request URL - time: invalid duration \"soon\""
    );
    assert_eq!(get(&admin, &format!("{MAPS}?timeout=30s")).await.code, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_check_by_check() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (path, code, expected) in [
        ("/livez", 200, "ok"),
        ("/readyz/etcd", 200, "ok"),
        ("/livez?verbose", 200, "[+]ping ok\n[+]etcd ok\nlivez check passed\n"),
        (
            "/livez?verbose&exclude=etcd&exclude=nothing",
            200,
            "[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"nothing\"\nlivez check passed\n",
        ),
    ] {
        let reply = get(&admin, path).await;
        assert_eq!((reply.code, reply.text.as_str()), (code, expected), "{path}");
    }
    assert_eq!(get(&admin, "/livez/nothing").await.code, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_document_does_not_get_it_again() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    get(&admin, "/openapi/v3").await;
    for path in ["/openapi/v2", "/openapi/v3/apis/batch/v1"] {
        let whole = get(&admin, path).await;
        let tag = whole.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!((whole.code, whole.body.is_object()), (200, true), "{path}");
        let headers = [("if-none-match", tag.as_str())];
        let again = raw(&admin, Method::GET, path, &headers, Bytes::new()).await;
        assert_eq!((again.code, again.text.as_str()), (304, ""), "{path}");
        assert_eq!(again.headers["etag"], tag.as_str());
        let other = [("if-none-match", "\"other\"")];
        assert_eq!(
            raw(&admin, Method::GET, path, &other, Bytes::new()).await.code,
            200,
            "{path}"
        );
    }
}
