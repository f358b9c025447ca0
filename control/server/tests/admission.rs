//! Admission plugins, each through the real API: what they fill in, what they refuse, in which words, and what they warn of.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::{Cluster, PODS, delete, get, merge, pod, post, put, text};
use serde_json::{Value, json};

fn warnings(reply: &cluster::Reply) -> String {
    reply.warnings().concat().replace("\\\"", "\"")
}

fn pod_with(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = pod(name);
    change(&mut pod);
    pod
}

async fn make(cluster: &Cluster, path: &str, object: Value) -> Value {
    let made = post(&cluster.admin(), path, &object).await;
    assert_eq!(made.code, 201, "{}", made.text);
    made.body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_runs_as_an_account_that_exists_and_has_its_identity() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = make(&cluster, PODS, pod("p")).await;
    assert_eq!(text(&made, "/spec/serviceAccountName"), "default");
    let volume = text(&made, "/spec/volumes/0/name");
    assert!(volume.starts_with("kube-api-access-"), "{made}");
    let mount = json!({"name": volume, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
    assert_eq!(made.pointer("/spec/containers/0/volumeMounts/0"), Some(&mount));
    let token = made.pointer("/spec/volumes/0/projected/sources/0/serviceAccountToken");
    assert_eq!(token, Some(&json!({"expirationSeconds": 3607, "path": "token"})));

    let account = json!({"metadata": {"name": "quiet"}, "automountServiceAccountToken": false, "imagePullSecrets": [{"name": "s"}]});
    make(&cluster, "/api/v1/namespaces/default/serviceaccounts", account).await;
    let quiet = pod_with("q", |pod| pod["spec"]["serviceAccountName"] = "quiet".into());
    let made = make(&cluster, PODS, quiet).await;
    assert_eq!(
        made.pointer("/spec/volumes")
            .and_then(Value::as_array)
            .map_or(0, Vec::len),
        0
    );
    assert_eq!(made.pointer("/spec/imagePullSecrets"), Some(&json!([{"name": "s"}])));

    let missing = pod_with("m", |pod| pod["spec"]["serviceAccountName"] = "missing".into());
    let refused = post(&admin, PODS, &missing).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "pods \"m\" is forbidden: error looking up service account default/missing: serviceaccount \"missing\" not found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespaces_labels_bound_what_pods_may_do() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let label = |level: &str| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    let privileged = pod_with("priv", |pod| {
        pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true})
    });
    make(&cluster, PODS, privileged.clone()).await;
    let wrong = merge(&admin, "/api/v1/namespaces/default", &label("strict")).await;
    assert_eq!(wrong.code, 422, "{}", wrong.text);
    assert!(
        wrong
            .message()
            .ends_with("Invalid value: \"strict\": must be one of privileged, baseline, restricted"),
        "{}",
        wrong.text
    );
    let stricter = merge(&admin, "/api/v1/namespaces/default", &label("baseline")).await;
    assert_eq!(stricter.code, 200, "{}", stricter.text);
    let said = warnings(&stricter);
    assert!(
        said.contains(
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\""
        ),
        "{said}"
    );
    assert!(said.contains("priv: privileged"), "{said}");
    let again = pod_with("priv2", |pod| pod["spec"] = privileged["spec"].clone());
    let refused = post(&admin, PODS, &again).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "pods \"priv2\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set securityContext.privileged=true)"
    );
    let warn = json!({"metadata": {"labels": {"pod-security.kubernetes.io/warn": "restricted"}}});
    merge(&admin, "/api/v1/namespaces/default", &warn).await;
    let warned = post(&admin, PODS, &pod("plain")).await;
    assert_eq!(warned.code, 201, "{}", warned.text);
    let said = warnings(&warned);
    assert!(
        said.contains("would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false"),
        "{said}"
    );
    // A change that gives a pod nothing is not judged.
    let labelled = merge(
        &admin,
        &format!("{PODS}/priv"),
        &json!({"metadata": {"labels": {"a": "b"}}}),
    )
    .await;
    assert_eq!(labelled.code, 200, "{}", labelled.text);
    let other =
        json!({"spec": {"containers": [{"name": "c", "image": "other", "securityContext": {"privileged": true}}]}});
    let media = "application/strategic-merge-patch+json";
    let changed = cluster::send(&admin, http::Method::PATCH, &format!("{PODS}/priv"), media, &other).await;
    assert_eq!(changed.code, 403, "{}", changed.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priorities_come_from_classes() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, value: i64, global: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": global});
    make(&cluster, classes, class("high", 1000, false)).await;
    make(&cluster, classes, class("usual", 7, true)).await;
    let second = post(&admin, classes, &class("usual2", 8, true)).await;
    assert_eq!(second.code, 403);
    assert!(
        second
            .message()
            .ends_with("PriorityClass usual is already marked as default. Only one default can exist")
    );
    let made = make(
        &cluster,
        PODS,
        pod_with("h", |pod| pod["spec"]["priorityClassName"] = "high".into()),
    )
    .await;
    assert_eq!(made["spec"]["priority"], 1000);
    let made = make(&cluster, PODS, pod("u")).await;
    assert_eq!(
        (&made["spec"]["priority"], &made["spec"]["priorityClassName"]),
        (&json!(7), &json!("usual"))
    );
    let none = post(
        &admin,
        PODS,
        &pod_with("n", |pod| pod["spec"]["priorityClassName"] = "none".into()),
    )
    .await;
    assert_eq!(
        (none.code, none.message().as_str()),
        (
            403,
            "pods \"n\" is forbidden: no PriorityClass with name none was found"
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtime_classes_bring_their_costs_and_missing_ones_are_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let class = json!({"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"cpu": "50m"}},
        "scheduling": {"nodeSelector": {"kind": "vm"}}});
    make(&cluster, "/apis/node.k8s.io/v1/runtimeclasses", class).await;
    let made = make(
        &cluster,
        PODS,
        pod_with("v", |pod| pod["spec"]["runtimeClassName"] = "vm".into()),
    )
    .await;
    assert_eq!(
        (&made["spec"]["overhead"], &made["spec"]["nodeSelector"]),
        (&json!({"cpu": "50m"}), &json!({"kind": "vm"}))
    );
    let none = post(
        &admin,
        PODS,
        &pod_with("n", |pod| pod["spec"]["runtimeClassName"] = "none".into()),
    )
    .await;
    let why = "pods \"n\" is forbidden: pod rejected: RuntimeClass \"none\" not found";
    assert_eq!((none.code, none.message().as_str()), (403, why));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_nodes_take_no_pods_and_ingresses_get_the_default_class() {
    let cluster = Cluster::start().await;
    let node = make(&cluster, "/api/v1/nodes", json!({"metadata": {"name": "n"}})).await;
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
    let class = json!({"metadata": {"name": "web", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "example.com/web"}});
    make(&cluster, "/apis/networking.k8s.io/v1/ingressclasses", class).await;
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}});
    let made = make(
        &cluster,
        "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
        ingress,
    )
    .await;
    assert_eq!(text(&made, "/spec/ingressClassName"), "web");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_ranges_fill_in_and_bound() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let limit = json!({"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}});
    make(
        &cluster,
        "/api/v1/namespaces/default/limitranges",
        json!({"metadata": {"name": "l"}, "spec": {"limits": [limit]}}),
    )
    .await;
    let made = make(&cluster, PODS, pod("p")).await;
    let resources = json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}});
    assert_eq!(made.pointer("/spec/containers/0/resources"), Some(&resources));
    let said = made["metadata"]["annotations"]["kubernetes.io/limit-ranger"].clone();
    assert_eq!(
        said,
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let large = pod_with("large", |pod| {
        pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}})
    });
    let refused = post(&admin, PODS, &large).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "pods \"large\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
        )
    );
}

/// A quota that says itself what is used: no controller runs here.
async fn quota(cluster: &Cluster, hard: Value, used: Value) -> String {
    let path = "/api/v1/namespaces/default/resourcequotas";
    let mut quota = make(
        cluster,
        path,
        json!({"metadata": {"name": "q"}, "spec": {"hard": hard}}),
    )
    .await;
    quota["status"] = json!({"hard": hard, "used": used});
    let path = format!("{path}/q");
    let written = put(&cluster.admin(), &format!("{path}/status"), &quota).await;
    assert_eq!(written.code, 200, "{}", written.text);
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn quotas_are_charged_once_for_each_that_is_let_in() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = quota(
        &cluster,
        json!({"pods": "5", "requests.cpu": "2"}),
        json!({"pods": "0", "requests.cpu": "0"}),
    )
    .await;
    let silent = post(&admin, PODS, &pod("silent")).await;
    assert_eq!(
        (silent.code, silent.message().as_str()),
        (
            403,
            "pods \"silent\" is forbidden: failed quota: q: must specify requests.cpu for: c"
        )
    );
    let sized = |name: &str| {
        pod_with(name, |pod| {
            pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}})
        })
    };
    let dry = post(&admin, &format!("{PODS}?dryRun=All"), &sized("dry")).await;
    assert_eq!(dry.code, 201, "{}", dry.text);
    assert_eq!(get(&admin, &path).await.body["status"]["used"]["pods"], "0");
    let tries = (0..12).map(|number| {
        let (admin, pod) = (cluster.in_process(), sized(&format!("p{number}")));
        tokio::spawn(async move { post(&*admin, PODS, &pod).await.code })
    });
    let mut let_in = 0;
    for answer in tries.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            201 => let_in += 1,
            code => assert_eq!(code, 403),
        }
    }
    assert_eq!(let_in, 5);
    let used = get(&admin, &path).await.body["status"]["used"].clone();
    assert_eq!(used, json!({"pods": "5", "requests.cpu": "500m"}));
    let refused = post(&admin, PODS, &sized("more")).await;
    assert_eq!(
        refused.message(),
        "pods \"more\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5"
    );
    let taken = post(&admin, PODS, &sized("p0")).await;
    assert!(matches!(taken.code, 403 | 409), "{}", taken.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_count_kinds_and_node_ports_and_know_their_scopes() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let hard = json!({"count/configmaps": "1", "services.nodeports": "1"});
    let path = quota(
        &cluster,
        hard,
        json!({"count/configmaps": "0", "services.nodeports": "0"}),
    )
    .await;
    let maps = "/api/v1/namespaces/default/configmaps";
    make(&cluster, maps, json!({"metadata": {"name": "a"}})).await;
    let second = post(&admin, maps, &json!({"metadata": {"name": "b"}})).await;
    assert_eq!(
        second.message(),
        "configmaps \"b\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1"
    );
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "ClusterIP", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}});
    make(&cluster, services, service).await;
    let open = merge(&admin, &format!("{services}/s"), &json!({"spec": {"type": "NodePort"}})).await;
    assert_eq!(open.code, 403, "{}", open.text);
    assert!(
        open.message()
            .contains("requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1")
    );
    assert_eq!(delete(&admin, &path).await.code, 200);
    assert_eq!(post(&admin, maps, &json!({"metadata": {"name": "b"}})).await.code, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_held_get_the_default_class_and_grow_only_where_it_may() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let class = json!({"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "example.com/p"});
    make(&cluster, "/apis/storage.k8s.io/v1/storageclasses", class).await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let made = make(&cluster, claims, claim).await;
    assert_eq!(text(&made, "/spec/storageClassName"), "fast");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let refused = merge(&admin, &format!("{claims}/c"), &larger).await;
    assert!(matches!(refused.code, 403 | 422), "{}", refused.text);
}
