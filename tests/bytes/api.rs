//! Requests to the API server: bodies in JSON, YAML and protobuf, patches of all types, selectors, options, tokens. What was
//! accepted must be readable in every form, or a list of its kind would break for everybody.

use crate::damage::Damage;
use bytes::Bytes;
use client::Transport;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use server::{InProcess, Nodes, Server, Tokens};
use std::sync::Arc;
use store::Store;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const FORMS: [&str; 4] = [
    JSON,
    "application/yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
];

/// A server in this process.
struct Api {
    transport: Arc<dyn Transport>,
    _folder: tempfile::TempDir,
}

/// What was answered.
struct Reply {
    code: u16,
    body: Bytes,
}

impl Api {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(&identity::new_key().unwrap(), "https://issuer.test").unwrap();
        let server = Server::new(
            Store::open(folder.path()).unwrap(),
            Nodes::none(),
            tokens,
            "127.0.0.1:6443",
        );
        let api = Self {
            transport: Arc::new(InProcess::new(server, "system:test")),
            _folder: folder,
        };
        api.make("/api/v1/namespaces", json!({"metadata": {"name": "default"}}))
            .await;
        api.make(
            "/api/v1/namespaces/default/serviceaccounts",
            json!({"metadata": {"name": "default"}}),
        )
        .await;
        let network = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}});
        api.make("/apis/networking.k8s.io/v1/servicecidrs", network).await;
        for (collection, object) in objects() {
            api.make(collection, object).await;
        }
        api
    }

    async fn make(&self, collection: &str, object: Value) {
        let reply = self
            .send(Method::POST, collection, JSON, "", object.to_string().into())
            .await
            .unwrap();
        assert_eq!(reply.code, 201, "{collection}: {:?}", reply.body);
    }

    /// None for what is no request at all.
    async fn send(&self, method: Method, path: &str, media_type: &str, accept: &str, body: Bytes) -> Option<Reply> {
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("content-type", media_type)
            .header("accept", if accept.is_empty() { "*/*" } else { accept });
        let answer = self.transport.send(request.body(body).ok()?);
        // In a task of its own, so that a panic is an answer too.
        let answer = tokio::spawn(async move {
            let response = answer.await.expect("a request in this process is answered");
            let code = response.status().as_u16();
            let body = response
                .into_body()
                .collect()
                .await
                .expect("an answer is whole")
                .to_bytes();
            Reply { code, body }
        });
        let answer = tokio::time::timeout(std::time::Duration::from_secs(60), answer).await;
        Some(
            answer
                .expect("a request takes no minute")
                .expect("a request makes nobody panic"),
        )
    }

    /// Everything of a kind, in every form.
    async fn is_readable(&self, collection: &str, again: &dyn Fn() -> String) {
        let forms = FORMS
            .into_iter()
            .chain([PROTOBUF].into_iter().filter(|_| !collection.contains("/example.com/")));
        for form in forms {
            let reply = self
                .send(Method::GET, collection, "", form, Bytes::new())
                .await
                .unwrap();
            assert_eq!(
                reply.code,
                200,
                "{collection} as {form}: {:?} after {}",
                reply.body,
                again()
            );
            if form == PROTOBUF {
                server::protobuf::decode(&reply.body).unwrap_or_else(|cause| panic!("{cause} after {}", again()));
            }
        }
    }
}

fn pod_spec() -> Value {
    json!({"containers": [{"name": "c", "image": "busybox:1", "command": ["sh", "-c", "true"], "ports": [{"containerPort": 80, "name": "http"}],
        "env": [{"name": "A", "value": "b"}, {"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}}, "securityContext": {"runAsUser": 1000}}],
        "volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}}],
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}}}})
}

/// Objects that there are, and the collections that they are in.
fn objects() -> Vec<(&'static str, Value)> {
    let labels = json!({"app": "a"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod_spec()});
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer", "minimum": 0, "default": 1}, "names": {"type": "array", "items": {"type": "string", "maxLength": 5}},
        "any": {"x-kubernetes-preserve-unknown-fields": true}, "port": {"x-kubernetes-int-or-string": true}}}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}});
    let names = json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"});
    vec![
        (
            "/api/v1/namespaces/default/configmaps",
            json!({"metadata": {"name": "a", "labels": labels, "annotations": {"x/y": "z"}}, "data": {"k": "v"}, "binaryData": {"b": "AAE="}}),
        ),
        (
            "/api/v1/namespaces/default/secrets",
            json!({"metadata": {"name": "a"}, "data": {"k": "dg=="}}),
        ),
        (
            "/api/v1/namespaces/default/pods",
            json!({"metadata": {"name": "a", "labels": labels}, "spec": pod_spec()}),
        ),
        (
            "/api/v1/namespaces/default/services",
            json!({"metadata": {"name": "a"}, "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]}}),
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            json!({"metadata": {"name": "a"}, "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}}}),
        ),
        (
            "/apis/batch/v1/namespaces/default/cronjobs",
            json!({"metadata": {"name": "a"}, "spec": {"schedule": "*/5 0-3 * * 1", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            json!({"metadata": {"name": "a"}, "spec": {"rules": [{"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {"number": 80}}}}]}}]}}),
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
            json!({"metadata": {"name": "a"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80, "endPort": 90}]}]}}),
        ),
        (
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            json!({"metadata": {"name": "a"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        ),
        (
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}}),
        ),
        (
            "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims",
            json!({"metadata": {"name": "a"}, "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}}),
        ),
    ]
}

fn patches() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let all = |seeds: &[Value]| seeds.iter().map(|seed| seed.to_string().into_bytes()).collect();
    let maps = json!({"metadata": {"labels": {"a": "b"}, "annotations": null, "finalizers": ["x/y"]}, "data": {"k": null, "l": "m"}});
    let spec = json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "c", "image": "i:2", "ports": [{"containerPort": 81}]}]}}}});
    let operations = json!([{"op": "add", "path": "/data/x~1y", "value": "1"}, {"op": "remove", "path": "/data/k"}, {"op": "move", "from": "/data", "path": "/data"},
        {"op": "test", "path": "/metadata/name", "value": "a"}, {"op": "copy", "from": "/spec", "path": "/spec/template"}, {"op": "replace", "path": "", "value": {}}]);
    let special = json!({"spec": {"$retainKeys": ["type"], "ports": [{"$patch": "replace"}, {"port": 81}], "$setElementOrder/ports": [{"port": 81}]},
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["x/y"], "$patch": "merge"}});
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "w"}});
    let managed = json!({"metadata": {"managedFields": [{"manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {".": {}, "f:k": {}}, "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {}, "v:\"x\"": {}, "i:0": {}}}}}]}});
    vec![
        ("application/json-patch+json", all(&[operations])),
        (
            "application/merge-patch+json",
            all(&[maps.clone(), spec.clone(), managed.clone()]),
        ),
        (
            "application/strategic-merge-patch+json",
            all(&[maps, spec.clone(), special, managed]),
        ),
        (
            "application/apply-patch+yaml",
            all(&[
                applied,
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec["spec"]}),
            ]),
        ),
    ]
}

/// A server's own mistakes. A patch that no rule covers is one to upstream too, and says so without a reason.
fn is_a_mistake(reply: &Reply) -> bool {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    reply.code >= 500 && body["reason"] == "InternalError"
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn damaged_objects_are_refused_or_can_be_read() {
    runtime().block_on(async {
        let (api, mut damage) = (Api::start().await, Damage::new());
        let seeds: Vec<(&str, &str, Vec<Vec<u8>>)> = objects()
            .into_iter()
            .flat_map(|(collection, mut object)| {
                object["metadata"]["name"] = "b".into();
                let kind = rules(collection);
                object["kind"] = kind.kind.into();
                object["apiVersion"] = kind.api_version().into();
                let text = object.to_string().into_bytes();
                let encoded = server::protobuf::encode(&object).expect("a seed has a protobuf form");
                let yaml = serde_saphyr::to_string(&object).unwrap().into_bytes();
                [
                    (collection, JSON, vec![text]),
                    (collection, "application/yaml", vec![yaml]),
                    (collection, PROTOBUF, vec![encoded]),
                ]
            })
            .chain([("/apis/example.com/v1/namespaces/default/things", JSON, vec![thing()])])
            .collect();
        while damage.goes_on() {
            let (collection, media_type, seeds) = damage.one(&seeds).clone();
            let bytes = damage.of(&seeds);
            let again = || format!("{collection} {media_type} {}", damage.again(&bytes));
            let reply = api
                .send(Method::POST, collection, media_type, "", bytes.clone().into())
                .await
                .unwrap();
            assert!(!is_a_mistake(&reply), "{:?} after {}", reply.body, again());
            if reply.code == 201 {
                api.is_readable(collection, &again).await;
                let made: Value = serde_json::from_slice(&reply.body).unwrap();
                let name = made["metadata"]["name"].as_str().unwrap();
                if name != "a" && name != "things.example.com" {
                    let gone = format!("{collection}/{name}?gracePeriodSeconds=0");
                    api.send(Method::DELETE, &gone, "", "", Bytes::new()).await;
                }
            }
        }
    });
}

fn thing() -> Vec<u8> {
    let spec = json!({"size": 2, "names": ["a"], "any": {"x": [1, {"y": null}]}, "port": "80"});
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "b"}, "spec": spec});
    thing.to_string().into_bytes()
}

/// The kind of a collection's objects.
fn rules(collection: &str) -> &'static api::Rules {
    let mut parts: Vec<&str> = collection.trim_start_matches('/').split('/').collect();
    let plural = parts.pop().unwrap();
    let (group, version) = if parts[0] == "api" {
        ("", parts[1])
    } else {
        (parts[1], parts[2])
    };
    api::find(group, version, plural).unwrap()
}

#[test]
fn damaged_patches_are_refused_or_leave_something_readable() {
    runtime().block_on(async {
        let (api, mut damage) = (Api::start().await, Damage::new());
        let (patches, objects) = (patches(), objects());
        while damage.goes_on() {
            let (collection, object) = damage.one(&objects).clone();
            let (media_type, seeds) = damage.one(&patches).clone();
            let bytes = damage.of(&seeds);
            let name = object["metadata"]["name"].as_str().unwrap();
            let options = damage.one(&[
                "fieldManager=m&force=true",
                "fieldManager=n",
                "fieldManager=m&dryRun=All",
                "fieldManager=m&fieldValidation=Strict",
            ]);
            let options = match media_type {
                "application/apply-patch+yaml" => options.to_string(),
                _ => options.replace("&force=true", ""),
            };
            let again = || format!("{collection} {media_type} {options} {}", damage.again(&bytes));
            let path = format!("{collection}/{name}?{options}");
            let reply = api
                .send(Method::PATCH, &path, media_type, "", bytes.clone().into())
                .await
                .unwrap();
            assert!(!is_a_mistake(&reply), "{:?} after {}", reply.body, again());
            if reply.code == 200 {
                api.is_readable(collection, &again).await;
            }
        }
    });
}

#[test]
fn damaged_options_and_tokens_are_refused_or_answered() {
    runtime().block_on(async {
        let (api, mut damage) = (Api::start().await, Damage::new());
        let page = api
            .send(
                Method::GET,
                "/api/v1/namespaces/default/configmaps?limit=1",
                "",
                "",
                Bytes::new(),
            )
            .await
            .unwrap();
        let page: Value = serde_json::from_slice(&page.body).unwrap();
        let queries = [
            "labelSelector=app%20in%20(a,b),x!%3Dy,!z,w%20notin%20(v),q%3D%3Dr,n%3E5",
            "fieldSelector=metadata.name%3Da,status.phase!%3DRunning,spec.nodeName%3D",
            "resourceVersion=1&resourceVersionMatch=NotOlderThan&limit=2",
            "timeoutSeconds=1&allowWatchBookmarks=true",
            "pretty=true&timeout=1m30s",
            &format!(
                "limit=1&continue={}",
                page["metadata"]["continue"].as_str().unwrap_or_default()
            ),
        ]
        .map(|query| query.as_bytes().to_vec());
        let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let issued = api
            .send(Method::POST, account, JSON, "", "{\"spec\":{}}".into())
            .await
            .unwrap();
        let issued: Value = serde_json::from_slice(&issued.body).unwrap();
        let tokens = [
            issued["status"]["token"].as_str().unwrap().as_bytes().to_vec(),
            b"abcdef.0123456789abcdef".to_vec(),
        ];
        let collections = objects();
        while damage.goes_on() {
            let query = damage.of(&queries);
            let (collection, _) = damage.one(&collections);
            let path = format!("{collection}?{}", escaped(&query));
            let reply = api.send(Method::GET, &path, "", "", Bytes::new()).await.unwrap();
            assert!(!is_a_mistake(&reply), "{:?} after {}", reply.body, damage.again(&query));

            let token = damage.of(&tokens);
            let review = json!({"spec": {"token": String::from_utf8_lossy(&token)}}).to_string();
            let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
            let reply = api.send(Method::POST, reviews, JSON, "", review.into()).await.unwrap();
            assert!(!is_a_mistake(&reply), "{:?} after {}", reply.body, damage.again(&token));
            let review: Value = serde_json::from_slice(&reply.body).unwrap();
            let is_known = review["status"]["authenticated"] == true;
            assert!(
                !is_known || tokens.contains(&token),
                "somebody is let in by {}",
                damage.again(&token)
            );
        }
    });
}

/// What no URI may have, percent-encoded.
fn escaped(query: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'=' | b'&' | b'%' | b'.' | b'-' | b'_' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    query.iter().map(escape).collect()
}
