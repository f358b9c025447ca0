//! Every kind of `KINDS` is made, read, changed in every way, listed as a table and deleted, through the real server.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;
mod samples;

use api::{KINDS, Rules, Verb};
use cluster::{Cluster, delete, get, merge, post, put, raw, send, text};
use http::Method;
use samples::Sample;
use serde_json::{Value, json};

/// Where objects of a kind live.
fn collection(rules: &Rules) -> String {
    let root = if rules.group.is_empty() { "/api" } else { "/apis" };
    let namespace = if rules.namespaced { "namespaces/default/" } else { "" };
    format!("{root}/{}/{namespace}{}", rules.api_version(), rules.plural)
}

/// The samples with their kinds.
fn rows() -> Vec<(&'static Rules, Sample)> {
    let find = |sample: &Sample| {
        let found = KINDS
            .iter()
            .find(|r| r.api_version() == sample.api_version && r.plural == sample.plural);
        *found.unwrap_or_else(|| panic!("{}/{} is no kind", sample.api_version, sample.plural))
    };
    samples::all()
        .into_iter()
        .map(|sample| (find(&sample), sample))
        .collect()
}

/// Makes the sample and answers with its path and what the server made of it.
async fn made(admin: &client::Http, rules: &Rules, sample: &Sample, name: &str) -> (String, Value) {
    // Two views of one object would take each other's name.
    let name = if sample.name.is_empty() {
        format!("{name}-{}", rules.version)
    } else {
        sample.name.to_owned()
    };
    let mut body = sample.body.clone();
    body["metadata"]["name"] = name.as_str().into();
    let reply = post(admin, &collection(rules), &body).await;
    assert_eq!(reply.code, 201, "{}: {}", rules.plural, reply.text);
    (format!("{}/{name}", collection(rules)), reply.body)
}

#[test]
fn every_kind_that_can_be_made_has_a_sample() {
    let samples = samples::all();
    let stored = KINDS.iter().filter(|r| {
        [Verb::Create, Verb::Get, Verb::List]
            .iter()
            .all(|v| r.verbs.contains(v))
            // Its status changes by itself: tests/custom.rs has it.
            && r.plural != "customresourcedefinitions"
    });
    let missing: Vec<String> = stored
        .filter(|r| {
            !samples
                .iter()
                .any(|s| s.api_version == r.api_version() && s.plural == r.plural)
        })
        .map(|r| format!("{}/{}", r.api_version(), r.plural))
        .collect();
    assert!(missing.is_empty(), "tests/samples has no line for {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_are_filled_in_and_read_back() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (rules, sample) in rows() {
        let (path, object) = made(&admin, rules, &sample, "one").await;
        for (pointer, value) in &sample.filled {
            assert_eq!(
                object.pointer(pointer),
                Some(value),
                "{} {pointer}: {object}",
                rules.plural
            );
        }
        assert_eq!(get(&admin, &path).await.body, object, "{}", rules.plural);
        let kind = (text(&object, "/apiVersion"), text(&object, "/kind"));
        assert_eq!(kind, (rules.api_version(), rules.kind.to_owned()));
        if rules.verbs.contains(&Verb::Update) {
            let same = put(&admin, &path, &object).await;
            assert_eq!(
                (same.code, &same.body),
                (200, &object),
                "a write of nothing: {}",
                rules.plural
            );
        }
        for field in rules.fields {
            let chosen = (field.read)(&object);
            let found = get(
                &admin,
                &format!("{}?fieldSelector={}={chosen}", collection(rules), field.label),
            )
            .await;
            assert_eq!(found.code, 200, "{} {}: {}", rules.plural, field.label, found.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_are_changed_by_every_kind_of_patch() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (rules, sample) in rows()
        .into_iter()
        .filter(|(r, s)| r.verbs.contains(&Verb::Patch) && !s.change.is_null())
    {
        let (path, before) = made(&admin, rules, &sample, "one").await;
        let changed = merge(&admin, &path, &sample.change).await;
        assert_eq!(changed.code, 200, "{}: {}", rules.plural, changed.text);
        let moved = text(&changed.body, "/metadata/resourceVersion") != text(&before, "/metadata/resourceVersion");
        assert!(moved, "{}: {} changes nothing", rules.plural, sample.change);
        if rules.generation && sample.change.get("metadata").is_none() {
            assert_eq!(changed.body["metadata"]["generation"], 2, "{}", rules.plural);
        }
        let labels = json!({ "metadata": { "labels": { "strategic": "yes" } } });
        let media_type = "application/strategic-merge-patch+json";
        let strategic = send(&admin, Method::PATCH, &path, media_type, &labels).await;
        assert_eq!(
            strategic.body["metadata"]["labels"]["strategic"], "yes",
            "{}: {}",
            rules.plural, strategic.text
        );
        let steps = json!([{ "op": "add", "path": "/metadata/annotations", "value": { "json": "yes" } }]);
        let json = send(&admin, Method::PATCH, &path, "application/json-patch+json", &steps).await;
        assert_eq!(
            json.body["metadata"]["annotations"]["json"], "yes",
            "{}: {}",
            rules.plural, json.text
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_written_apart() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (rules, sample) in rows().into_iter().filter(|(r, _)| r.has_status()) {
        if sample.status.is_null() {
            continue;
        }
        let (path, before) = made(&admin, rules, &sample, "one").await;
        let ignored = merge(&admin, &path, &sample.status).await;
        assert_eq!(
            ignored.body["status"], before["status"],
            "{}: {}",
            rules.plural, ignored.text
        );
        let mut both = sample.status.clone();
        both["spec"] = json!({ "replicas": 77, "paused": true });
        let written = merge(&admin, &format!("{path}/status?fieldValidation=Ignore"), &both).await;
        assert_eq!(written.code, 200, "{}: {}", rules.plural, written.text);
        for (member, value) in sample.status["status"].as_object().unwrap() {
            assert_eq!(&written.body["status"][member], value, "{}", rules.plural);
        }
        assert_eq!(written.body["spec"], before["spec"], "{}", rules.plural);
        assert_eq!(
            written.body["metadata"]["generation"], before["metadata"]["generation"],
            "{}",
            rules.plural
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_are_listed_as_tables_and_deleted() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (rules, sample) in rows() {
        let (path, _) = made(&admin, rules, &sample, "one").await;
        let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
        let table = raw(&admin, Method::GET, &collection(rules), &accept, bytes::Bytes::new()).await;
        assert_eq!(table.body["kind"], "Table", "{}: {}", rules.plural, table.text);
        let columns = table.body["columnDefinitions"].as_array().unwrap().len();
        let row = &table.body["rows"][0]["cells"];
        assert_eq!(row.as_array().map(Vec::len), Some(columns), "{}", rules.plural);
        let gone = delete(&admin, &path).await;
        assert!(matches!(gone.code, 200 | 202), "{}: {}", rules.plural, gone.text);
    }
}
