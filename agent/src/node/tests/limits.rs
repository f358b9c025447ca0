//! What a real node does when pods want more than there is, and when the machine goes down.

use super::cluster::Cluster;
use super::{condition, image};
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    pods_that_do_not_fit_are_rejected(cluster);
    critical_pods_are_made_room_for(cluster);
    pods_that_keep_too_much_are_evicted(cluster);
    containers_say_who_they_are_and_what_they_see(cluster);
}

fn create(cluster: &Cluster, name: &str, mut spec: Value) {
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "a", "command": ["sh", "-c", "exec sleep 1000"]}]);
    }
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        container["image"] = json!(image::NAME);
    }
    spec["terminationGracePeriodSeconds"] = json!(1);
    cluster.create("pods", json!({"metadata": {"name": name}, "spec": spec}));
}

fn asking(cpu: &str) -> Value {
    json!([{"name": "a", "command": ["sh", "-c", "exec sleep 1000"], "resources": {"requests": {"cpu": cpu}}}])
}

fn remove(cluster: &Cluster, name: &str) {
    cluster.delete(name);
    cluster.wait_until_gone(name);
}

/// Waits until the pod has failed; its reason and its message.
fn failed(cluster: &Cluster, name: &str) -> (String, String) {
    let pod = cluster.wait_for(name, "Failed", |pod| pod["status"]["phase"] == "Failed");
    let text = |field: &str| pod["status"][field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

/// Bound past the scheduler, as a DaemonSet of old or a person may.
fn pods_that_do_not_fit_are_rejected(cluster: &Cluster) {
    create(
        cluster,
        "large",
        json!({"nodeName": "n1", "containers": asking("10000")}),
    );
    let (reason, message) = failed(cluster, "large");
    assert_eq!(reason, "OutOfcpu");
    assert!(
        message.starts_with("Pod was rejected: Node didn't have enough resource: cpu, requested: 10000000, used: "),
        "{message}"
    );
    create(
        cluster,
        "elsewhere",
        json!({"nodeName": "n1", "nodeSelector": {"color": "blue"}}),
    );
    let why = "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    assert_eq!(
        failed(cluster, "elsewhere"),
        ("NodeAffinity".to_owned(), why.to_owned())
    );
    ["large", "elsewhere"].iter().for_each(|name| remove(cluster, name));
}

fn critical_pods_are_made_room_for(cluster: &Cluster) {
    let (_, node) = cluster.ask("GET", "/api/v1/nodes/n1", None);
    let cpus: u64 = node["status"]["allocatable"]["cpu"].as_str().unwrap().parse().unwrap();
    let most = format!("{}m", cpus * 1000 - 100);
    create(cluster, "ordinary", json!({"containers": asking(&most)}));
    cluster.wait_for("ordinary", "Ready", |pod| condition(pod, "Ready") == "True");
    create(
        cluster,
        "critical",
        json!({"nodeName": "n1", "containers": asking("200m"), "priorityClassName": "system-node-critical"}),
    );
    let said = "Preempted in order to admit critical pod".to_owned();
    assert_eq!(failed(cluster, "ordinary"), ("Preempting".to_owned(), said));
    let ordinary = cluster.pod("ordinary").unwrap();
    assert_eq!(condition(&ordinary, "DisruptionTarget"), "True");
    cluster.wait_for("critical", "Ready", |pod| condition(pod, "Ready") == "True");
    ["ordinary", "critical"].iter().for_each(|name| remove(cluster, name));
}

fn pods_that_keep_too_much_are_evicted(cluster: &Cluster) {
    let fill = |path: &str| {
        let script = format!(
            "n=0; while [ $n -lt 20000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789; n=$((n+1)); done > {path}; exec sleep 1000"
        );
        json!(["sh", "-c", script])
    };
    create(
        cluster,
        "hoarder",
        json!({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}],
            "containers": [{"name": "a", "command": fill("/v/x"), "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
    );
    create(
        cluster,
        "writer",
        json!({"containers": [{"name": "a", "command": fill("/tmp/x"),
            "resources": {"limits": {"ephemeral-storage": "1Mi"}}}]}),
    );
    let said = "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ";
    assert_eq!(failed(cluster, "hoarder"), ("Evicted".to_owned(), said.to_owned()));
    let said = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ";
    assert_eq!(failed(cluster, "writer"), ("Evicted".to_owned(), said.to_owned()));
    cluster.wait_for_event("writer", "Evicted", said);
    ["hoarder", "writer"].iter().for_each(|name| remove(cluster, name));
}

fn containers_say_who_they_are_and_what_they_see(cluster: &Cluster) {
    create(
        cluster,
        "known",
        json!({"securityContext": {"supplementalGroups": [7]},
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "a", "command": ["sh", "-c", "exec sleep 1000"],
                "resources": {"requests": {"cpu": "10m"}},
                "securityContext": {"runAsUser": 5, "runAsGroup": 6},
                "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}]}]}),
    );
    let pod = cluster.wait_for("known", "Ready", |pod| condition(pod, "Ready") == "True");
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(
        status["user"]["linux"],
        json!({"uid": 5, "gid": 6, "supplementalGroups": [6, 7]})
    );
    let mounts = status["volumeMounts"].as_array().unwrap();
    assert!(
        mounts.contains(&json!({"name": "v", "mountPath": "/v", "readOnly": true})),
        "{mounts:?}"
    );
    assert_eq!(status["allocatedResources"], json!({"cpu": "10m"}));
    remove(cluster, "known");
}

/// The last thing that happens to a node: it takes no pods any more.
pub fn pods_end_with_the_machine(cluster: &Cluster) {
    create(cluster, "last", json!({}));
    cluster.wait_for("last", "Ready", |pod| condition(pod, "Ready") == "True");
    cluster.shut_down();
    let message = "Pod was terminated in response to imminent node shutdown.";
    assert_eq!(failed(cluster, "last"), ("Terminated".to_owned(), message.to_owned()));
    assert_eq!(condition(&cluster.pod("last").unwrap(), "DisruptionTarget"), "True");
    cluster.eventually("the node says that it goes down", || {
        let node = cluster.ask("GET", "/api/v1/nodes/n1", None).1;
        let conditions = node["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
        (ready["status"] == "False" && ready["message"] == "node is shutting down").then_some(())
    });
    create(cluster, "late", json!({"nodeName": "n1"}));
    let message = "Pod was rejected: Pod was rejected as the node is shutting down.";
    assert_eq!(failed(cluster, "late"), ("NodeShutdown".to_owned(), message.to_owned()));
}
