//! `/scale` of everything that has replicas, and evictions that budgets judge.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::{Cluster, PODS, get, merge, post, put, text};
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

fn template() -> Value {
    json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_read_and_written_without_the_rest() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let web = json!({
        "metadata": { "name": "web" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": template() },
    });
    let made = post(&admin, DEPLOYMENTS, &web).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let path = format!("{DEPLOYMENTS}/web/scale");
    let scale = get(&admin, &path).await.body;
    assert_eq!(
        (text(&scale, "/kind"), text(&scale, "/apiVersion")),
        ("Scale".to_owned(), "autoscaling/v1".to_owned())
    );
    assert_eq!(
        (&scale["spec"]["replicas"], text(&scale, "/status/selector")),
        (&json!(2), "app=web".to_owned())
    );
    assert_eq!(text(&scale, "/metadata/uid"), text(&made.body, "/metadata/uid"));

    let mut more = scale.clone();
    more["spec"]["replicas"] = 5.into();
    let written = put(&admin, &path, &more).await;
    assert_eq!(
        (written.code, &written.body["spec"]["replicas"]),
        (200, &json!(5)),
        "{}",
        written.text
    );
    let stale = put(&admin, &path, &more).await;
    assert_eq!(stale.code, 409, "{}", stale.text);
    let patched = merge(&admin, &path, &json!({ "spec": { "replicas": 0 } })).await;
    assert_eq!(
        (patched.code, patched.body["spec"].get("replicas")),
        (200, None),
        "{}",
        patched.text
    );
    let after = get(&admin, &format!("{DEPLOYMENTS}/web")).await.body;
    assert_eq!(
        (&after["spec"]["replicas"], &after["metadata"]["generation"]),
        (&json!(0), &json!(3))
    );

    let negative = merge(&admin, &path, &json!({ "spec": { "replicas": -1 } })).await;
    assert_eq!(negative.code, 422);
    assert_eq!(
        text(&negative.body, "/message"),
        "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    let other = json!({ "metadata": { "name": "web", "uid": "somebody else" }, "spec": { "replicas": 1 } });
    assert_eq!(put(&admin, &path, &other).await.code, 409);

    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    let made = post(
        &admin,
        controllers,
        &json!({ "metadata": { "name": "old" }, "spec": { "template": template() } }),
    )
    .await;
    assert_eq!(made.code, 201, "{}", made.text);
    let scale = get(&admin, &format!("{controllers}/old/scale")).await.body;
    assert_eq!(
        (&scale["spec"]["replicas"], text(&scale, "/status/selector")),
        (&json!(1), "app=web".to_owned())
    );
}

/// A pod that runs and is ready, or not.
async fn running(admin: &client::Http, name: &str, ready: &str) {
    let pod = json!({ "metadata": { "name": name, "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    assert_eq!(post(admin, PODS, &pod).await.code, 201);
    let state = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] } });
    let written = merge(admin, &format!("{PODS}/{name}/status"), &state).await;
    assert_eq!(written.code, 200, "{}", written.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evictions_are_taken_out_of_the_budget() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let budget = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } } });
    assert_eq!(post(&admin, BUDGETS, &budget).await.code, 201);
    for (name, ready) in [("one", "True"), ("two", "True"), ("unready", "False")] {
        running(&admin, name, ready).await;
    }
    let evict = |name: &'static str| {
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
        let (admin, path) = (&admin, format!("{PODS}/{name}/eviction"));
        async move { post(admin, &path, &eviction).await }
    };
    // Nobody has counted yet.
    let early = evict("one").await;
    assert_eq!(
        (early.code, text(&early.body, "/reason")),
        (429, "TooManyRequests".to_owned())
    );
    assert_eq!(
        text(&early.body, "/message"),
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(early.body["details"]["retryAfterSeconds"], 10);
    let cause = &early.body["details"]["causes"][0];
    assert_eq!(
        (text(cause, "/reason"), text(cause, "/message")),
        (
            "DisruptionBudget".to_owned(),
            "The disruption budget b is still being processed by the server.".to_owned()
        )
    );

    let counted = json!({ "status": { "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2 } });
    let written = merge(&admin, &format!("{BUDGETS}/b/status"), &counted).await;
    assert_eq!(written.code, 200, "{}", written.text);
    let dry = json!({ "metadata": { "name": "one" }, "deleteOptions": { "dryRun": ["All"] } });
    assert_eq!(post(&admin, &format!("{PODS}/one/eviction"), &dry).await.code, 201);
    let gone = evict("one").await;
    assert_eq!(
        (gone.code, text(&gone.body, "/status")),
        (201, "Success".to_owned()),
        "{}",
        gone.text
    );
    assert_eq!(get(&admin, &format!("{PODS}/one")).await.code, 404);
    let after = get(&admin, &format!("{BUDGETS}/b")).await.body;
    assert_eq!(after["status"]["disruptionsAllowed"], 0);
    assert_ne!(text(&after, "/status/disruptedPods/one"), "");

    let spent = evict("two").await;
    assert_eq!(spent.code, 429);
    assert_eq!(
        text(&spent.body, "/details/causes/0/message"),
        "The disruption budget b needs 1 healthy pods and has 2 currently"
    );
    assert_eq!(spent.body["details"].get("retryAfterSeconds"), None);
    // It is not counted as healthy, so its going costs nothing.
    let unready = evict("unready").await;
    assert_eq!(unready.code, 201, "{}", unready.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_resized_and_joined_through_their_own_paths() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let pod = json!({
        "metadata": { "name": "p" },
        "spec": { "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": "100m" } } }] },
    });
    assert_eq!(post(&admin, PODS, &pod).await.code, 201);
    let strategic = |path: String, body: Value| {
        let admin = &admin;
        async move {
            cluster::send(
                admin,
                http::Method::PATCH,
                &path,
                "application/strategic-merge-patch+json",
                &body,
            )
            .await
        }
    };
    let amounts =
        json!({ "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "200m" } } }] } });
    let refused = strategic(format!("{PODS}/p"), amounts.clone()).await;
    assert_eq!(refused.code, 422, "{}", refused.text);
    let resized = strategic(format!("{PODS}/p/resize"), amounts).await;
    assert_eq!(resized.code, 200, "{}", resized.text);
    assert_eq!(
        resized.body["spec"]["containers"][0]["resources"]["requests"]["cpu"],
        "200m"
    );
    assert_eq!(resized.body["metadata"]["generation"], 2);
    let debug = json!({ "spec": { "ephemeralContainers": [{ "name": "d", "image": "busybox:1", "targetContainerName": "c" }] } });
    let joined = strategic(format!("{PODS}/p/ephemeralcontainers"), debug).await;
    assert_eq!(joined.code, 200, "{}", joined.text);
    assert_eq!(
        joined.body["spec"]["ephemeralContainers"][0]["imagePullPolicy"],
        "IfNotPresent"
    );
    assert_eq!(joined.body["metadata"]["generation"], 3);
    let gone = merge(
        &admin,
        &format!("{PODS}/p/ephemeralcontainers"),
        &json!({ "spec": { "ephemeralContainers": [] } }),
    )
    .await;
    assert_eq!(gone.code, 422);
    assert!(
        text(&gone.body, "/message").contains("may not be removed"),
        "{}",
        gone.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applied_scale_owns_the_wish() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": template() },
    });
    let path = format!("{DEPLOYMENTS}/web");
    let made = apply(&admin, &format!("{path}?fieldManager=owner"), &web).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let scale = |replicas: i32| json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "web" }, "spec": { "replicas": replicas } });
    let by_scaler = format!("{path}/scale?fieldManager=scaler");
    let refused = apply(&admin, &by_scaler, &scale(4)).await;
    assert_eq!(refused.code, 409, "{}", refused.text);
    assert_eq!(text(&refused.body, "/details/causes/0/field"), ".spec.replicas");
    // Somebody who merely wrote is named with the version that they wrote, which of a Scale is its own.
    let patched = merge(
        &admin,
        &format!("{path}?fieldManager=writer"),
        &json!({ "spec": { "replicas": 3 } }),
    )
    .await;
    assert_eq!(patched.code, 200, "{}", patched.text);
    let refused = apply(&admin, &by_scaler, &scale(4)).await;
    let why = "Apply failed with 1 conflict: conflict with \"writer\" using autoscaling/v1: .spec.replicas";
    assert_eq!((refused.code, text(&refused.body, "/message")), (409, why.to_owned()));
    let forced = apply(&admin, &format!("{by_scaler}&force=true"), &scale(4)).await;
    assert_eq!(
        (forced.code, &forced.body["spec"]["replicas"]),
        (200, &json!(4)),
        "{}",
        forced.text
    );
    let after = get(&admin, &path).await.body;
    let entries = after["metadata"]["managedFields"].as_array().unwrap();
    let scaler = entries.iter().find(|entry| entry["manager"] == "scaler").unwrap();
    assert_eq!(
        (text(scaler, "/subresource"), &scaler["fieldsV1"]),
        ("scale".to_owned(), &json!({ "f:spec": { "f:replicas": {} } }))
    );
    let owner = entries.iter().find(|entry| entry["manager"] == "owner").unwrap();
    assert!(owner["fieldsV1"]["f:spec"].get("f:replicas").is_none(), "{owner}");

    let negative = apply(&admin, &by_scaler, &scale(-1)).await;
    assert_eq!(negative.code, 422, "{}", negative.text);
    let unnamed = apply(&admin, &format!("{path}/scale"), &scale(1)).await;
    assert_eq!(unnamed.code, 422, "{}", unnamed.text);
    let absent = apply(
        &admin,
        &format!("{DEPLOYMENTS}/none/scale?fieldManager=scaler"),
        &json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale", "spec": { "replicas": 1 },
        }),
    )
    .await;
    assert_eq!(absent.code, 404, "{}", absent.text);
}

async fn apply(transport: &dyn client::Transport, path: &str, config: &Value) -> cluster::Reply {
    cluster::send(
        transport,
        http::Method::PATCH,
        path,
        "application/apply-patch+yaml",
        config,
    )
    .await
}
