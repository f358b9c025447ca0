//! Pods with users of their own, and what the status says of users. Upstream: security_context.go of test/e2e/common/node and of
//! test/e2e/node.

use super::super::cluster::Cluster;
use super::{create, ready, remove, script};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    users_are_the_pods_own(cluster);
    files_belong_to_its_root(cluster);
    the_status_knows_the_groups(cluster);
}

fn users_are_the_pods_own(cluster: &Cluster) {
    let rows = [("users-1", false), ("users-2", false), ("users-host", true)];
    for (name, users) in rows {
        let container = script("cat /proc/self/uid_map", json!({}));
        create(cluster, name, json!({"hostUsers": users, "containers": [container]}));
    }
    let said = |name: &str| {
        cluster.wait_for(name, "over", |pod| pod["status"]["phase"] == "Succeeded");
        cluster.ask_text("GET", &format!("{}/log", super::path(name)), None).1
    };
    let [one, two, host] = rows.map(|(name, _)| said(name));
    assert!(
        one.contains("65536") && two.contains("65536") && one != two,
        "{one}{two}"
    );
    assert!(host.contains("4294967295"), "{host}");
    remove(cluster, &rows.map(|(name, _)| name));
}

fn files_belong_to_its_root(cluster: &Cluster) {
    let items = json!({"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]});
    let volumes = json!([{"name": "cfg", "configMap": {"name": "walk"}}, {"name": "secret", "secret": {"secretName": "walk"}},
        {"name": "downward", "downwardAPI": items},
        {"name": "projected", "projected": {"sources": [{"downwardAPI": items}, {"secret": {"name": "walk"}}]}}]);
    let text = "busybox stat -c=%g $(busybox find /vol/ -type f) | busybox sort | busybox uniq -c | busybox tr -s ' '";
    let spec = |mounts: Value, context: Value| {
        json!({"hostUsers": false, "volumes": volumes, "securityContext": context,
            "containers": [script(text, json!({"volumeMounts": mounts}))]})
    };
    let mount = |name: &str| json!({"name": name, "mountPath": format!("/vol/{name}")});
    let all = json!(["cfg", "secret", "downward", "projected"].map(mount));
    create(cluster, "users-files", spec(all, json!({})));
    create(
        cluster,
        "users-group",
        spec(json!([mount("cfg")]), json!({"fsGroup": 200})),
    );
    // Three in the config map, two in the secret, one of the pod, and the last two again.
    for (name, said) in [("users-files", " 9 =0\n"), ("users-group", " 3 =200\n")] {
        cluster.wait_for_log(name, "test", said);
    }
    remove(cluster, &["users-files", "users-group"]);
}

fn the_status_knows_the_groups(cluster: &Cluster) {
    let rows = [
        ("known-merge", "Merge", json!([1000, 50000, 60000])),
        ("known-strict", "Strict", json!([1000, 60000])),
    ];
    for (name, policy, _) in &rows {
        let context = json!({"runAsUser": 1000, "supplementalGroups": [60000], "supplementalGroupsPolicy": policy});
        create(
            cluster,
            name,
            json!({"securityContext": context, "containers": [super::forever()]}),
        );
    }
    for (name, _, groups) in &rows {
        let pod = ready(cluster, name);
        let user = &pod["status"]["containerStatuses"][0]["user"]["linux"];
        assert_eq!(
            *user,
            json!({"uid": 1000, "gid": 1000, "supplementalGroups": groups}),
            "{name}"
        );
    }
    remove(cluster, &["known-merge", "known-strict"]);
}
