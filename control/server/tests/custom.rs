//! Custom resources: a definition is established, its kinds are served like any other, and it takes them along when it goes.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::kubectl::Kubectl;
use cluster::{Cluster, DEADLINE, Reply, delete, get, merge, post, put, raw, send, text, watch};
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// A definition with everything that the tests look at.
fn definition() -> Value {
    let schema = json!({ "type": "object", "description": "A widget.", "properties": {
        "spec": { "type": "object", "required": ["size"], "properties": {
            "size": { "type": "integer", "minimum": 1, "description": "How large it is." },
            "color": { "type": "string", "default": "grey", "enum": ["grey", "red"] },
            "tags": { "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" },
            "any": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "port": { "x-kubernetes-int-or-string": true },
            "template": { "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true },
        } },
        "status": { "type": "object", "properties": { "size": { "type": "integer" }, "selector": { "type": "string" } } },
    } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"] },
            "versions": [
                {
                    "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
                    "subresources": { "status": {}, "scale": {
                        "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector",
                    } },
                    "additionalPrinterColumns": [
                        { "name": "Size", "type": "integer", "jsonPath": ".spec.size", "description": "How large." },
                        { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
                    ],
                    "selectableFields": [{ "jsonPath": ".spec.color" }],
                },
                {
                    "name": "v1beta1", "served": true, "storage": false, "deprecated": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                },
            ],
        },
    })
}

/// A widget.
fn widget(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": name }, "spec": spec })
}

/// Makes a definition and waits until it is established.
async fn establish(cluster: &Cluster, definition: &Value) {
    let admin = cluster.admin();
    let made = post(&admin, DEFINITIONS, definition).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let name = text(definition, "/metadata/name");
    eventually(&format!("{name} is established"), async || {
        let found = get(&admin, &format!("{DEFINITIONS}/{name}")).await;
        condition(&found.body, "Established") == "True"
    })
    .await;
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < DEADLINE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn condition(definition: &Value, kind: &str) -> String {
    let conditions = definition["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.map(|found| text(found, "/status")).unwrap_or_default()
}

fn message(reply: &Reply) -> String {
    text(&reply.body, "/message")
}

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
        message(&strict),
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
            message(&refused),
            format!("Widget.example.com \"b\" is invalid: {sentence}")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_status_and_scale_are_views_of_one_object() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&cluster, &definition()).await;
    let mut new = widget("a", &json!({ "size": 3 }));
    new["status"] = json!({ "size": 9 });
    let made = post(&admin, WIDGETS, &new).await;
    assert_eq!(made.body.get("status"), None, "{}", made.text);
    let path = format!("{WIDGETS}/a");

    let older = get(&admin, "/apis/example.com/v1beta1/namespaces/default/widgets/a").await;
    assert_eq!(text(&older.body, "/apiVersion"), "example.com/v1beta1");
    let warning = older
        .headers
        .get("warning")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    assert!(
        warning.contains("example.com/v1beta1 Widget is deprecated"),
        "{warning}"
    );

    let body = json!({ "metadata": { "labels": { "ignored": "yes" } }, "spec": { "size": 5 }, "status": { "size": 2, "selector": "a=b" } });
    let written = merge(&admin, &format!("{path}/status"), &body).await;
    assert_eq!(written.code, 200, "{}", written.text);
    assert_eq!(
        (&written.body["spec"]["size"], &written.body["status"]["size"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(written.body["metadata"].get("labels"), None);
    assert_eq!(written.body["metadata"]["generation"], 1);

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

    let mut whole = now.body.clone();
    whole["spec"]["color"] = "red".into();
    let replaced = put(&admin, &path, &whole).await;
    assert_eq!(
        (replaced.code, &replaced.body["metadata"]["generation"]),
        (200, &json!(3)),
        "{}",
        replaced.text
    );
    let unpinned = widget("a", &json!({ "size": 1 }));
    let refused = put(&admin, &path, &unpinned).await;
    assert_eq!(refused.code, 422);
    assert!(
        message(&refused).contains("metadata.resourceVersion: Invalid value"),
        "{}",
        refused.text
    );

    let strategic = send(
        &admin,
        Method::PATCH,
        &path,
        "application/strategic-merge-patch+json",
        &json!({}),
    )
    .await;
    assert_eq!(strategic.code, 415);
    assert_eq!(
        message(&strategic),
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
        (unknown.code, message(&unknown)),
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
        (refused.code, message(&refused)),
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
        assert!(message(&refused).contains(sentence), "{}", message(&refused));
    }
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
