//! The audit log tells who asked what and what came of it, as its policy says, in upstream's form.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod child;

use bytes::Bytes;
use child::{Control, DEADLINE, begin, send};
use http::{Method, Request};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:apiserver", "system:kube-scheduler", "system:kube-controller-manager"]}
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: RequestResponse, omitManagedFields: true, resources: [{group: "", resources: [configmaps]}]}
- {level: Request, namespaces: [kube-system]}
- {level: Metadata, nonResourceURLs: ["/version"]}
"#;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

/// The events of one request, once its last one is there.
async fn events(log: &Path, id: &str) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found: Vec<Value> = lines.filter(|event| event["auditID"] == id).collect();
        if found.iter().any(|event| event["stage"] == "ResponseComplete") {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "no event of {id} in {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn id(headers: &http::HeaderMap) -> String {
    headers["audit-id"].to_str().unwrap().to_owned()
}

/// What is said of masters' requests.
fn allowed_without_a_word() -> Value {
    json!({"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""})
}

#[tokio::test]
async fn requests_are_written_down_as_the_policy_says() {
    let folder = TempDir::new().unwrap();
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    std::fs::write(&policy, POLICY).unwrap();
    let arguments = [
        "--audit-policy",
        policy.to_str().unwrap(),
        "--audit-log",
        log.to_str().unwrap(),
    ];
    let control = Control::start_with(&folder.path().join("data"), &arguments).await;
    let client = control.client();

    let object = json!({"metadata": {"name": "a"}, "stringData": {"password": "hunter2"}});
    let made = send(&client, Method::POST, SECRETS, &object).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let told = events(&log, &id(&made.headers)).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let event = &told[0];
    assert_eq!(
        (&event["kind"], &event["apiVersion"]),
        (&json!("Event"), &json!("audit.k8s.io/v1"))
    );
    assert_eq!(
        (&event["level"], &event["verb"]),
        (&json!("Metadata"), &json!("create"))
    );
    assert_eq!(event["requestURI"], SECRETS);
    assert_eq!(event["user"]["username"], "kubernetes-admin");
    assert_eq!(event["sourceIPs"], json!(["127.0.0.1"]));
    assert_eq!(
        event["objectRef"],
        json!({"resource": "secrets", "namespace": "default", "name": "a", "apiVersion": "v1"})
    );
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(event["annotations"], allowed_without_a_word());
    assert!(event.get("requestObject").is_none() && event.get("responseObject").is_none());

    let again = send(&client, Method::POST, SECRETS, &object).await;
    let told = events(&log, &id(&again.headers)).await;
    assert_eq!(told[0]["responseStatus"]["reason"], "AlreadyExists");
    assert_eq!(told[0]["responseStatus"]["code"], 409);

    let made = send(
        &client,
        Method::POST,
        MAPS,
        &json!({"metadata": {"name": "m"}, "data": {"a": "b"}}),
    )
    .await;
    let told = events(&log, &id(&made.headers)).await;
    assert_eq!(told[0]["requestObject"]["data"], json!({"a": "b"}));
    assert_eq!(
        told[0]["responseObject"]["metadata"]["uid"],
        made.body["metadata"]["uid"]
    );
    assert!(told[0]["responseObject"]["metadata"].get("managedFields").is_none());
    assert!(made.body["metadata"].get("managedFields").is_some());

    let patched = send(
        &client,
        Method::PATCH,
        &format!("{MAPS}/m"),
        &json!({"data": {"a": "c"}}),
    )
    .await;
    let told = events(&log, &id(&patched.headers)).await;
    assert_eq!(
        (&told[0]["verb"], &told[0]["requestObject"]),
        (&json!("patch"), &json!({"data": {"a": "c"}}))
    );

    assert!(!std::fs::read_to_string(&log).unwrap().contains("hunter2"));
    assert!(
        !std::fs::read_to_string(&log)
            .unwrap()
            .contains("system:kube-scheduler\"")
    );
}

#[tokio::test]
async fn watches_have_a_beginning_and_an_end_and_others_ask_in_ones_name() {
    let folder = TempDir::new().unwrap();
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    std::fs::write(&policy, POLICY).unwrap();
    let arguments = [
        "--audit-policy",
        policy.to_str().unwrap(),
        "--audit-log",
        log.to_str().unwrap(),
    ];
    let control = Control::start_with(&folder.path().join("data"), &arguments).await;
    let client = control.client();
    let with = |uri: String, id: &str, user: Option<&str>| {
        let request = Request::builder().uri(uri).header("audit-id", id);
        let request = user
            .into_iter()
            .fold(request, |request, user| request.header("impersonate-user", user));
        request.body(Bytes::new()).unwrap()
    };

    let watch = begin(&client, with(format!("{MAPS}?watch=true"), "my-watch", None))
        .await
        .unwrap();
    assert_eq!(watch.headers()["audit-id"], "my-watch");
    drop(watch);
    let stages: Vec<Value> = events(&log, "my-watch")
        .await
        .into_iter()
        .map(|event| event["stage"].clone())
        .collect();
    assert_eq!(stages, ["ResponseStarted", "ResponseComplete"]);

    let refused = begin(&client, with(MAPS.to_owned(), "as-jane", Some("jane")))
        .await
        .unwrap();
    assert_eq!(refused.status().as_u16(), 403);
    let told = events(&log, "as-jane").await;
    assert_eq!(told[0]["user"]["username"], "kubernetes-admin");
    assert_eq!(told[0]["impersonatedUser"]["username"], "jane");
    assert_eq!(told[0]["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(told[0]["responseStatus"]["reason"], "Forbidden");

    let version = begin(&client, with("/version".to_owned(), "version", None))
        .await
        .unwrap();
    assert_eq!(version.status().as_u16(), 200);
    let told = events(&log, "version").await;
    assert_eq!((&told[0]["verb"], told[0].get("objectRef")), (&json!("get"), None));
}
