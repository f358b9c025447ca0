//! Who may do what: RBAC, its default roles, escalation, impersonation, reviews, and what nodes may read.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::{Cluster, delete, get, pod, post, put, raw, text};
use http::Method;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn role(name: &str, verbs: &[&str], group: &str, resource: &str) -> Value {
    json!({"metadata": {"name": name}, "rules": [{"verbs": verbs, "apiGroups": [group], "resources": [resource]}]})
}

fn binding(name: &str, kind: &str, role: &str, subject: &Value) -> Value {
    json!({"metadata": {"name": name}, "roleRef": {"kind": kind, "name": role}, "subjects": [subject]})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_counts_from_the_moment_that_it_is_granted() {
    let cluster = Cluster::start().await;
    let (admin, bob) = (cluster.admin(), cluster.user("bob", &["dev"]));
    let pods = "/api/v1/namespaces/default/pods";
    for _ in 0..20 {
        assert_eq!(get(&bob, pods).await.code, 403);
        let roles = format!("{RBAC}/namespaces/default/roles");
        let bindings = format!("{RBAC}/namespaces/default/rolebindings");
        let made = post(&admin, &bindings, &binding("b", "Role", "r", &user("bob"))).await;
        assert_eq!(made.code, 201, "{}", made.text);
        let refused = get(&bob, pods).await;
        assert!(
            text(&refused.body, "/message").ends_with(": RBAC: role.rbac.authorization.k8s.io \"r\" not found"),
            "{}",
            refused.text
        );
        assert_eq!(post(&admin, &roles, &role("r", &["list"], "", "pods")).await.code, 201);
        assert_eq!(get(&bob, pods).await.code, 200);
        assert_eq!(get(&bob, "/api/v1/pods").await.code, 403);
        assert_eq!(delete(&admin, &format!("{bindings}/b")).await.code, 200);
        assert_eq!(delete(&admin, &format!("{roles}/r")).await.code, 200);
    }
    let everywhere = binding("b", "ClusterRole", "c", &json!({"kind": "Group", "name": "dev"}));
    post(&admin, &format!("{RBAC}/clusterroles"), &role("c", &["*"], "*", "*")).await;
    post(&admin, &format!("{RBAC}/clusterrolebindings"), &everywhere).await;
    assert_eq!(get(&bob, "/api/v1/pods").await.code, 200);
    let mut other = everywhere;
    other["roleRef"]["name"] = json!("d");
    let refused = put(&admin, &format!("{RBAC}/clusterrolebindings/b"), &other).await;
    assert_eq!(
        (refused.code, refused.text.contains("cannot change roleRef")),
        (422, true),
        "{}",
        refused.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn default_roles_are_there_and_come_back() {
    let cluster = Cluster::with_policy().await;
    let (admin, bob) = (cluster.admin(), cluster.user("bob", &["dev"]));
    assert_eq!(get(&bob, "/api").await.code, 200);
    assert_eq!(get(&bob, "/metrics").await.code, 403);
    assert_eq!(get(&bob, "/.well-known/openid-configuration").await.code, 403);
    let path = format!("{RBAC}/clusterroles/system:discovery");
    let mut discovery = get(&admin, &path).await.body;
    assert_eq!(
        text(&discovery, "/metadata/labels/kubernetes.io~1bootstrapping"),
        "rbac-defaults"
    );
    discovery["rules"] = json!([{"verbs": ["get"], "nonResourceURLs": ["/extra"]}]);
    assert_eq!(put(&admin, &path, &discovery).await.code, 200);
    assert_eq!(get(&bob, "/api").await.code, 403);
    server::reconcile_policy(&cluster.in_process()).await.unwrap();
    assert_eq!(get(&bob, "/api").await.code, 200);
    let rules = get(&admin, &path).await.body;
    assert_eq!(
        rules["rules"].as_array().map(Vec::len),
        Some(2),
        "what people added stays"
    );
    let before = text(&rules, "/metadata/resourceVersion");
    server::reconcile_policy(&cluster.in_process()).await.unwrap();
    let after = get(&admin, &path).await.body;
    assert_eq!(
        text(&after, "/metadata/resourceVersion"),
        before,
        "a second time changes nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_grants_more_than_they_hold() {
    let cluster = Cluster::start().await;
    let (admin, bob) = (cluster.admin(), cluster.user("bob", &["dev"]));
    let (roles, bindings) = (
        format!("{RBAC}/namespaces/default/roles"),
        format!("{RBAC}/namespaces/default/rolebindings"),
    );
    let rules = json!([
        {"verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "resourceNames": []},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
    ]);
    let mut granter = json!({"metadata": {"name": "granter"}, "rules": rules});
    granter["rules"][0]["verbs"] = json!(["create", "update", "get"]);
    assert_eq!(post(&admin, &roles, &granter).await.code, 201);
    assert_eq!(
        post(&admin, &bindings, &binding("granter", "Role", "granter", &user("bob")))
            .await
            .code,
        201
    );
    assert_eq!(post(&bob, &roles, &role("less", &["get"], "", "pods")).await.code, 201);
    let refused = post(&bob, &roles, &role("more", &["get", "list"], "", "pods")).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        text(&refused.body, "/message"),
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"bob\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}"
    );
    assert_eq!(post(&admin, &roles, &role("all", &["*"], "*", "*")).await.code, 201);
    assert_eq!(
        post(&bob, &bindings, &binding("all", "Role", "all", &user("bob")))
            .await
            .code,
        403
    );
    assert_eq!(
        post(&bob, &bindings, &binding("less", "Role", "less", &user("eve")))
            .await
            .code,
        201
    );
    let missing = post(&bob, &bindings, &binding("none", "Role", "none", &user("eve"))).await;
    assert_eq!(missing.code, 404, "{}", missing.text);
    // Who may bind a role need not hold it.
    let bind = json!({"metadata": {"name": "bind"}, "rules": [
        {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "resourceNames": ["all"]},
    ]});
    assert_eq!(post(&admin, &roles, &bind).await.code, 201);
    assert_eq!(
        post(&admin, &bindings, &binding("bind", "Role", "bind", &user("bob")))
            .await
            .code,
        201
    );
    assert_eq!(
        post(&bob, &bindings, &binding("all", "Role", "all", &user("bob")))
            .await
            .code,
        201
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_acts_as_another() {
    let cluster = Cluster::start().await;
    let (admin, bob) = (cluster.admin(), cluster.user("bob", &["dev"]));
    let pods = "/api/v1/namespaces/default/pods";
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let as_eve = [
        ("impersonate-user", "eve"),
        ("impersonate-group", "qa"),
        ("impersonate-extra-scopes", "view"),
    ];
    let refused = raw(&admin, Method::GET, pods, &as_eve, "".into()).await;
    assert!(
        text(&refused.body, "/message").contains("User \"eve\" cannot list"),
        "{}",
        refused.text
    );
    let refused = raw(&bob, Method::GET, pods, &as_eve, "".into()).await;
    assert_eq!(
        text(&refused.body, "/message"),
        "users \"eve\" is forbidden: User \"bob\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    let groups_alone = [("impersonate-group", "qa")];
    assert_eq!(raw(&admin, Method::GET, pods, &groups_alone, "".into()).await.code, 400);
    post(
        &admin,
        &format!("{RBAC}/clusterroles"),
        &role("self", &["create"], "authentication.k8s.io", "selfsubjectreviews"),
    )
    .await;
    let all = json!({"kind": "Group", "name": "system:authenticated"});
    post(
        &admin,
        &format!("{RBAC}/clusterrolebindings"),
        &binding("self", "ClusterRole", "self", &all),
    )
    .await;
    let headers = [as_eve[0], as_eve[1], as_eve[2], ("content-type", "application/json")];
    let review = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}).to_string();
    let answer = raw(&admin, Method::POST, who, &headers, review.into()).await;
    assert_eq!(
        answer.body["status"]["userInfo"],
        json!({"username": "eve", "groups": ["qa", "system:authenticated"], "extra": {"scopes": ["view"]}}),
        "{}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_answer_and_are_never_stored() {
    let cluster = Cluster::with_policy().await;
    let (admin, bob) = (cluster.admin(), cluster.user("bob", &["dev"]));
    let api = "/apis/authorization.k8s.io/v1";
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    post(&admin, &roles, &role("r", &["get"], "", "pods")).await;
    post(&admin, &bindings, &binding("b", "Role", "r", &user("bob"))).await;
    let attributes =
        |verb: &str| json!({"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": "default"}});
    let own = |verb: &str| json!({"spec": attributes(verb)});
    let yes = post(&bob, &format!("{api}/selfsubjectaccessreviews"), &own("get")).await;
    assert_eq!(yes.code, 201, "{}", yes.text);
    assert_eq!(
        yes.body["status"],
        json!({"allowed": true, "reason": "RBAC: allowed by RoleBinding \"b/default\" of Role \"r\" to User \"bob\""})
    );
    let no = post(&bob, &format!("{api}/selfsubjectaccessreviews"), &own("delete")).await;
    assert_eq!(no.body["status"], json!({"allowed": false}));
    let mut about = own("get");
    about["spec"]["user"] = json!("bob");
    assert_eq!(
        post(&admin, &format!("{api}/subjectaccessreviews"), &about).await.body["status"]["allowed"],
        true
    );
    let local = format!("{api}/namespaces/default/localsubjectaccessreviews");
    assert_eq!(post(&admin, &local, &about).await.body["status"]["allowed"], true);
    about["spec"]["resourceAttributes"]["namespace"] = json!("other");
    assert_eq!(post(&admin, &local, &about).await.code, 422);
    assert_eq!(
        post(&admin, &format!("{api}/subjectaccessreviews"), &own("get"))
            .await
            .code,
        422
    );
    assert_eq!(get(&admin, &format!("{api}/subjectaccessreviews")).await.code, 405);
    let rules = json!({"spec": {"namespace": "default"}});
    let all = post(&bob, &format!("{api}/selfsubjectrulesreviews"), &rules).await;
    assert_eq!(all.body["status"]["incomplete"], false, "{}", all.text);
    let pods = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    assert!(
        all.body["status"]["resourceRules"].as_array().unwrap().contains(&pods),
        "{}",
        all.text
    );
    assert!(!all.body["status"]["nonResourceRules"].as_array().unwrap().is_empty());
    // What has no table is not shown as one.
    let table = [
        ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),
        ("content-type", "application/json"),
    ];
    let path = format!("{api}/selfsubjectaccessreviews");
    assert_eq!(
        raw(&bob, Method::POST, &path, &table, own("get").to_string().into())
            .await
            .code,
        406
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_reads_what_the_drivers_of_its_pods_volumes_need() {
    let cluster = Cluster::start().await;
    let (admin, node) = (cluster.admin(), cluster.user("system:node:n1", &["system:nodes"]));
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["stage", "controller"] {
        post(&admin, secrets, &json!({"metadata": {"name": name}})).await;
    }
    let reference = |name: &str| json!({"name": name, "namespace": "default"});
    let csi = json!({"driver": "d.test", "volumeHandle": "h", "nodeStageSecretRef": reference("stage"),
        "controllerPublishSecretRef": reference("controller")});
    let spec = json!({"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "csi": csi});
    let made = post(
        &admin,
        "/api/v1/persistentvolumes",
        &json!({"metadata": {"name": "pv"}, "spec": spec}),
    )
    .await;
    assert_eq!(made.code, 201, "{}", made.text);
    let spec =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "volumeName": "pv"});
    let claim = json!({"metadata": {"name": "c"}, "spec": spec});
    let made = post(&admin, "/api/v1/namespaces/default/persistentvolumeclaims", &claim).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(get(&node, &format!("{secrets}/stage")).await.code, 403);
    let mut own = pod("p");
    own["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    own["spec"]["nodeName"] = json!("n1");
    let made = post(&admin, "/api/v1/namespaces/default/pods", &own).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(get(&node, &format!("{secrets}/stage")).await.code, 200);
    assert_eq!(get(&node, &format!("{secrets}/controller")).await.code, 403);
    assert_eq!(get(&node, "/api/v1/persistentvolumes/pv").await.code, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_reads_what_its_pods_name() {
    let cluster = Cluster::start().await;
    let (admin, node) = (cluster.admin(), cluster.user("system:node:n1", &["system:nodes"]));
    let (pods, secrets) = ("/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/secrets");
    for name in ["mine", "theirs"] {
        post(&admin, secrets, &json!({"metadata": {"name": name}})).await;
    }
    let mut own = pod("p");
    own["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "mine"}}]);
    assert_eq!(post(&admin, pods, &own).await.code, 201);
    let refused = get(&node, &format!("{secrets}/mine")).await;
    assert_eq!(refused.code, 403);
    assert!(
        text(&refused.body, "/message").ends_with(": no relationship found between node 'n1' and this object"),
        "{}",
        refused.text
    );
    assert_eq!(get(&node, &format!("{pods}/p")).await.code, 403);
    let bound = post(&admin, &format!("{pods}/p/binding"), &json!({"target": {"name": "n1"}})).await;
    assert_eq!(bound.code, 201, "{}", bound.text);
    assert_eq!(get(&node, &format!("{secrets}/mine")).await.code, 200);
    assert_eq!(
        get(&node, &format!("{secrets}?fieldSelector=metadata.name%3Dmine"))
            .await
            .code,
        200
    );
    assert_eq!(get(&node, &format!("{secrets}/theirs")).await.code, 403);
    assert_eq!(get(&node, secrets).await.code, 403);
    assert_eq!(get(&node, &format!("{pods}/p")).await.code, 200);
    assert_eq!(
        get(&node, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await.code,
        200
    );
    assert_eq!(get(&node, "/api/v1/pods").await.code, 403);
    assert_eq!(get(&node, "/api/v1/nodes/n2").await.code, 403);
    assert_eq!(
        delete(&admin, &format!("{pods}/p?gracePeriodSeconds=0")).await.code,
        200
    );
    assert_eq!(get(&node, &format!("{secrets}/mine")).await.code, 403);
    let labels = |label: &str| json!({"metadata": {"name": "n1", "labels": {label: "x"}}});
    assert_eq!(
        post(&node, "/api/v1/nodes", &labels("node-restriction.kubernetes.io/a"))
            .await
            .code,
        403
    );
    assert_eq!(post(&node, "/api/v1/nodes", &labels("example.com/a")).await.code, 201);
}
