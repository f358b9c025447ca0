//! Definitions of custom resources: one is established, its kind is served and published, and it takes its objects along when it goes.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::definitions::{DEFINITIONS, WIDGETS, condition, definition, establish, widget};
use cluster::{Cluster, delete, eventually, get, merge, post, put, raw, text, watch};
use http::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_is_established_by_later_events_and_then_served_at_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut events = watch(&admin, &format!("{DEFINITIONS}?watch=true&resourceVersion=0"), "").await;
    let made = post(&admin, DEFINITIONS, &definition()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(made.body["spec"]["names"]["singular"], "widget");
    assert_eq!(made.body["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(made.body["spec"]["conversion"], json!({ "strategy": "None" }));
    assert_eq!(made.body["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(condition(&made.body, "Established"), "");
    let mut seen = Vec::new();
    while seen
        .last()
        .is_none_or(|(_, _, established): &(String, String, String)| established != "True")
    {
        let event = events.next().await.unwrap();
        let (names, established) = (
            condition(&event["object"], "NamesAccepted"),
            condition(&event["object"], "Established"),
        );
        seen.push((text(&event, "/type"), names, established));
    }
    let of = |kind: &str, names: &str, established: &str| (kind.to_owned(), names.to_owned(), established.to_owned());
    assert_eq!(
        seen,
        [
            of("ADDED", "", ""),
            of("MODIFIED", "True", "False"),
            of("MODIFIED", "True", "True")
        ]
    );
    let list = get(&admin, WIDGETS).await;
    assert_eq!(
        (list.code, text(&list.body, "/kind")),
        (200, "WidgetList".to_owned()),
        "{}",
        list.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_and_openapi_follow_the_definition() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    let group = get(&admin, "/apis/example.com").await;
    assert_eq!(group.body["preferredVersion"]["version"], "v1", "{}", group.text);
    let resources = get(&admin, "/apis/example.com/v1").await;
    let names: Vec<String> = resources.body["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| text(r, "/name"))
        .collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
    assert_eq!(resources.body["resources"][0]["shortNames"], json!(["wd"]));
    let accept = [(
        "accept",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    )];
    let aggregated = raw(&admin, Method::GET, "/apis", &accept, bytes::Bytes::new()).await;
    assert!(
        aggregated.text.contains("\"resource\":\"widgets\""),
        "{}",
        aggregated.text
    );

    let index = get(&admin, "/openapi/v3").await;
    assert!(index.body["paths"]["apis/example.com/v1"].is_object(), "{}", index.text);
    let document = get(&admin, "/openapi/v3/apis/example.com/v1").await;
    let schema = &document.body["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(
        schema["x-kubernetes-group-version-kind"][0]["kind"], "Widget",
        "{}",
        document.text
    );
    assert_eq!(
        schema["properties"]["spec"]["properties"]["size"]["description"],
        "How large it is."
    );
    assert_eq!(
        schema["properties"]["metadata"]["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    let swagger = get(&admin, "/openapi/v2").await;
    assert!(swagger.body["definitions"]["com.example.v1.Widget"]["properties"]["spec"].is_object());

    let mut changed = get(&admin, &format!("{DEFINITIONS}/widgets.example.com")).await.body;
    changed["spec"]["versions"][1]["served"] = false.into();
    assert_eq!(
        put(&admin, &format!("{DEFINITIONS}/widgets.example.com"), &changed)
            .await
            .code,
        200
    );
    eventually("the version is no longer served", async || {
        get(&admin, "/apis/example.com/v1beta1").await.code == 404
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_goes_after_its_objects() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    let mut held = widget("a", &json!({ "size": 3 }));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    assert_eq!(post(&admin, WIDGETS, &held).await.code, 201);
    assert_eq!(
        post(&admin, WIDGETS, &widget("b", &json!({ "size": 3 }))).await.code,
        201
    );
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let gone = delete(&admin, &path).await;
    assert_eq!(gone.code, 200, "{}", gone.text);
    eventually("the free widget is gone", async || {
        get(&admin, &format!("{WIDGETS}/b")).await.code == 404
    })
    .await;
    let ending = get(&admin, &path).await;
    assert_eq!(condition(&ending.body, "Terminating"), "True", "{}", ending.text);
    assert_eq!(
        ending.body["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    let refused = post(&admin, WIDGETS, &widget("c", &json!({ "size": 3 }))).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            405,
            "create not allowed while custom resource definition is terminating".to_owned()
        )
    );
    merge(
        &admin,
        &format!("{WIDGETS}/a"),
        &json!({ "metadata": { "finalizers": null } }),
    )
    .await;
    eventually("the definition is gone", async || get(&admin, &path).await.code == 404).await;
    eventually("nothing is served there", async || {
        get(&admin, WIDGETS).await.code == 404
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_definitions_are_refused_with_upstreams_sentences() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    type Spoil = fn(&mut Value);
    let cases: [(Spoil, &str); 5] = [
        (
            |d| d["metadata"]["name"] = "x.example.com".into(),
            "metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            |d| d["spec"]["versions"][1]["storage"] = true.into(),
            "must have exactly one version marked as storage version",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"] =
                    json!({})
            },
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[size].type: Required value: must not be empty for specified object fields",
        ),
        (
            |d| {
                d["spec"]["versions"][0].as_object_mut().unwrap().remove("schema");
            },
            "spec.versions[0].schema.openAPIV3Schema: Required value",
        ),
        (
            |d| d["spec"]["preserveUnknownFields"] = true.into(),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ),
    ];
    for (spoil, sentence) in cases {
        let mut bad = definition();
        spoil(&mut bad);
        let refused = post(&admin, DEFINITIONS, &bad).await;
        assert_eq!(refused.code, 422, "{}", refused.text);
        assert!(refused.message().contains(sentence), "{}", refused.message());
    }
}
