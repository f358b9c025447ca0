//! Lists: pages of one revision, selectors, forms.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::{Cluster, MAPS, config_map, delete, get, pod, post, raw, text};
use http::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_a_list_agree_with_each_other() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for n in 0..7 {
        post(&admin, MAPS, &config_map(&format!("m{n}"), &json!({}), &json!({}))).await;
    }
    let first = get(&admin, &format!("{MAPS}?limit=3")).await.body;
    assert_eq!(first.pointer("/metadata/remainingItemCount"), Some(&json!(4)));
    let revision = text(&first, "/metadata/resourceVersion");
    // What happens between the pages is not seen by them.
    delete(&admin, &format!("{MAPS}/m4")).await;
    post(&admin, MAPS, &config_map("m9", &json!({}), &json!({}))).await;
    let (mut names, mut page, mut remaining) = (Vec::new(), first, vec![]);
    loop {
        remaining.extend(page.pointer("/metadata/remainingItemCount").cloned());
        assert_eq!(text(&page, "/kind"), "ConfigMapList");
        assert_eq!(text(&page, "/metadata/resourceVersion"), revision);
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| text(item, "/metadata/name")),
        );
        let token = text(&page, "/metadata/continue");
        if token.is_empty() {
            break;
        }
        page = get(&admin, &format!("{MAPS}?limit=3&continue={token}")).await.body;
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
    assert_eq!(remaining, [json!(4), json!(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_whose_revision_is_gone_can_go_on_as_of_now() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for n in 0..4 {
        post(&admin, MAPS, &config_map(&format!("m{n}"), &json!({}), &json!({}))).await;
    }
    let first = get(&admin, &format!("{MAPS}?limit=2")).await.body;
    delete(&admin, &format!("{MAPS}/m2")).await;
    cluster.store.compact(cluster.store.revision());
    let token = text(&first, "/metadata/continue");
    let expired = get(&admin, &format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(
        (expired.code, text(&expired.body, "/reason").as_str()),
        (410, "Expired")
    );
    let token = text(&expired.body, "/metadata/continue");
    let rest = get(&admin, &format!("{MAPS}?limit=2&continue={token}")).await.body;
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(text(&rest, "/items/0/metadata/name"), "m3");
    let nonsense = get(&admin, &format!("{MAPS}?continue=nonsense!")).await;
    assert_eq!(nonsense.code, 400);
    assert_eq!(
        text(&nonsense.body, "/message"),
        "invalid continue token: continue key is not valid: illegal base64 data at input byte 8"
    );
    assert_eq!(
        get(&admin, &format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact"))
            .await
            .code,
        410
    );
    let future = get(&admin, &format!("{MAPS}?resourceVersion=99999999")).await;
    assert_eq!((future.code, future.headers.get("retry-after").is_some()), (504, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selectors_choose_and_page() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for n in 0..6 {
        let labels = json!({"parity": if n % 2 == 0 { "even" } else { "odd" }});
        post(&admin, MAPS, &config_map(&format!("m{n}"), &labels, &json!({}))).await;
    }
    let page = get(&admin, &format!("{MAPS}?labelSelector=parity%3Dodd&limit=2"))
        .await
        .body;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(page.pointer("/metadata/remainingItemCount"), None);
    let token = text(&page, "/metadata/continue");
    let rest = get(
        &admin,
        &format!("{MAPS}?labelSelector=parity%3Dodd&limit=2&continue={token}"),
    )
    .await
    .body;
    assert_eq!(text(&rest, "/items/0/metadata/name"), "m5");
    for (query, count) in [
        ("labelSelector=parity%20in%20(even)", 3),
        ("labelSelector=!parity", 0),
        ("fieldSelector=metadata.name%3Dm1", 1),
        ("fieldSelector=metadata.name%3Dnone", 0),
        ("fieldSelector=metadata.namespace!%3Ddefault", 0),
    ] {
        let list = get(&admin, &format!("{MAPS}?{query}")).await.body;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(count), "{query}");
    }
    assert_eq!(get(&admin, &format!("{MAPS}?labelSelector=%3D%3D")).await.code, 400);
    let unknown = get(&admin, "/api/v1/pods?fieldSelector=spec.bogus%3Dx").await;
    assert_eq!(
        (unknown.code, text(&unknown.body, "/message").as_str()),
        (400, "field label not supported: spec.bogus")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_whole_a_table_or_metadata_as_the_client_likes() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, "/api/v1/namespaces/default/pods", &pod("p")).await;
    let read = async |accept: &str, query: &str| {
        raw(
            &admin,
            Method::GET,
            &format!("/api/v1/pods{query}"),
            &[("accept", accept)],
            "".into(),
        )
        .await
    };
    let table = read(
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        "?includeObject=Object",
    )
    .await
    .body;
    assert_eq!(
        (text(&table, "/kind").as_str(), text(&table, "/rows/0/cells/0").as_str()),
        ("Table", "p")
    );
    assert_eq!(text(&table, "/rows/0/object/kind"), "Pod");
    assert_eq!(text(&table, "/columnDefinitions/0/name"), "Name");
    let partial = read("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "")
        .await
        .body;
    assert_eq!(text(&partial, "/kind"), "PartialObjectMetadataList");
    assert!(partial.pointer("/items/0/spec").is_none());
    let yaml = read("application/yaml", "").await;
    assert!(yaml.text.contains("kind: PodList"), "{}", yaml.text);
    let whole = read("text/html, */*", "").await.body;
    // As Go's encoders write them: only the list says what they are.
    for name in ["kind", "apiVersion"] {
        assert_eq!(whole["items"][0][name], json!(null), "{name}");
    }
    let items = yaml.text.split_once("items:").unwrap().1;
    assert!(!items.contains("kind: Pod"), "{items}");
    assert_eq!(read("text/html", "").await.code, 406);
    assert_eq!(
        read("application/json;as=Table;v=v1;g=meta.k8s.io", "?includeObject=x")
            .await
            .code,
        400
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_list_comes_in_pieces_and_is_one_document() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let payload = json!({"x": "y".repeat(40_000)});
    for n in 0..20 {
        post(&admin, MAPS, &config_map(&format!("m{n:02}"), &json!({}), &payload)).await;
    }
    let list = get(&admin, MAPS).await;
    assert!(list.text.len() > 800_000);
    let names: Vec<String> = list.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| text(item, "/metadata/name"))
        .collect();
    assert_eq!(names, (0..20).map(|n| format!("m{n:02}")).collect::<Vec<_>>());
}

/// What `kubectl delete` waits by: it lists the one name, and watches from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_one_name_is_as_of_its_revision() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let named = format!("{MAPS}?fieldSelector=metadata.name%3Dm");
    post(&admin, MAPS, &config_map("m-besides", &json!({}), &json!({}))).await;
    let comes_and_goes = async {
        for _ in 0..300 {
            post(&admin, MAPS, &config_map("m", &json!({}), &json!({}))).await;
            delete(&admin, &format!("{MAPS}/m")).await;
        }
    };
    let (reader, mut both) = (cluster.admin(), [0, 0]);
    let looks = async {
        loop {
            let list = get(&reader, &named).await.body;
            let revision = text(&list, "/metadata/resourceVersion");
            let exact = format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact");
            let whole = get(&reader, &exact).await.body;
            let is_m = |item: &&serde_json::Value| text(item, "/metadata/name") == "m";
            let expected: Vec<_> = whole["items"].as_array().unwrap().iter().filter(is_m).collect();
            let found: Vec<_> = list["items"].as_array().unwrap().iter().collect();
            assert_eq!(found, expected, "as of {revision}");
            let again = get(
                &reader,
                &format!("{named}&resourceVersion={revision}&resourceVersionMatch=Exact"),
            )
            .await;
            assert_eq!(again.body["items"], list["items"], "as of {revision}, asked for it");
            both[found.len()] += 1;
        }
    };
    tokio::select! {
        () = comes_and_goes => {}
        () = looks => {}
    }
    assert!(
        both.iter().all(|seen| *seen > 0),
        "it was there and it was not: {both:?}"
    );
}
