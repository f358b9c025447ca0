//! What the node's face tells whom: metrics and statistics through the API server and directly, and `kubectl top`.

use super::cluster::Cluster;
use serde_json::{Value, json};

pub fn all(cluster: &Cluster) {
    numbers_come_through_the_api_server(cluster);
    tokens_open_what_their_users_may(cluster);
    usage_is_an_api(cluster);
    kubectl_tops(cluster);
}

fn numbers_come_through_the_api_server(cluster: &Cluster) {
    let ask = |path: &str| {
        let (code, reply) = cluster.ask("GET", &format!("/api/v1/nodes/n1/proxy/{path}"), None);
        assert_eq!(code, 200, "{path}: {reply}");
        reply
    };
    for (path, wanted) in [
        ("metrics", "\nkubelet_running_pods "),
        ("metrics", "kubelet_node_name{node=\"n1\"} 1\n"),
        (
            "metrics/cadvisor",
            "container_memory_working_set_bytes{container=\"a\",id=\"/kubepods/besteffort/pod",
        ),
        (
            "metrics/cadvisor",
            "interface=\"eth0\",name=\"\",namespace=\"default\",pod=\"web\"}",
        ),
        (
            "metrics/resource",
            "container_cpu_usage_seconds_total{container=\"b\",namespace=\"default\",pod=\"web\"} ",
        ),
        ("metrics/resource", "resource_scrape_error 0\n"),
        ("metrics/probes", "# TYPE prober_probe_total counter\n"),
        ("logs/", "<a href=\"pods/\">pods/</a>"),
        ("healthz", "ok"),
    ] {
        let text = ask(path);
        let text = text.as_str().unwrap_or_default();
        assert!(text.contains(wanted), "{path} lacks {wanted:?}:\n{text}");
    }
    let config = ask("configz")["kubeletconfig"].clone();
    assert_eq!(config["containerLogMaxFiles"], 5);
    assert_eq!(config["memoryManagerPolicy"], "None");
    let running = ask("runningpods/");
    let mut running = running["items"].as_array().unwrap().iter();
    assert!(running.any(|pod| pod["metadata"]["name"] == "web"));
    let summary = cluster.eventually("a summary has rates", || {
        let summary = ask("stats/summary");
        web(&summary)["cpu"]["usageNanoCores"].is_u64().then_some(summary)
    });
    assert_eq!(summary["node"]["nodeName"], "n1");
    let containers = web(&summary)["containers"].as_array().unwrap();
    let container = containers.iter().find(|container| container["name"] == "a").unwrap();
    assert!(
        container["memory"]["workingSetBytes"].as_u64() > Some(0),
        "{container:#}"
    );
    assert!(container["logs"]["usedBytes"].as_u64() > Some(0), "{container:#}");
    let short = ask("stats/summary?only_cpu_and_memory=true");
    assert!(
        web(&short)["volume"].is_null() && short["node"]["fs"].is_null(),
        "{short:#}"
    );
}

/// The pod `web` of a summary.
fn web(summary: &Value) -> &Value {
    let mut pods = summary["pods"].as_array().unwrap().iter();
    pods.find(|pod| pod["podRef"]["name"] == "web").expect("web runs")
}

fn tokens_open_what_their_users_may(cluster: &Cluster) {
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (code, reply) = cluster.ask("POST", path, Some(json!({"spec": {}})));
    assert_eq!(code, 201, "{reply:#}");
    let token = reply["status"]["token"].as_str().unwrap().to_owned();
    assert_eq!(cluster.ask_node("/metrics", None).0, 401);
    assert_eq!(cluster.ask_node("/metrics", Some("forged")).0, 401);
    let (code, said) = cluster.ask_node("/pods", Some(&token));
    let words =
        "Forbidden (user=system:serviceaccount:default:default, verb=get, resource=nodes, subresource(s)=[pods proxy])";
    assert_eq!((code, said.as_str()), (403, words));
    let rule = json!({"apiGroups": [""], "resources": ["nodes/metrics", "nodes/healthz"], "verbs": ["get"]});
    let role = json!({"metadata": {"name": "reads-metrics"}, "rules": [rule]});
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    assert_eq!(cluster.ask("POST", roles, Some(role)).0, 201);
    let binding = json!({"metadata": {"name": "reads-metrics"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reads-metrics"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(cluster.ask("POST", bindings, Some(binding)).0, 201);
    assert_eq!(cluster.ask_node("/metrics/resource", Some(&token)).0, 200);
    assert_eq!(cluster.ask_node("/healthz", Some(&token)).0, 200);
    assert_eq!(cluster.ask_node("/stats/summary", Some(&token)).0, 403);
}

fn usage_is_an_api(cluster: &Cluster) {
    let api = "/apis/metrics.k8s.io/v1beta1";
    let (code, nodes) = cluster.ask("GET", &format!("{api}/nodes"), None);
    assert_eq!((code, &nodes["kind"]), (200, &json!("NodeMetricsList")), "{nodes:#}");
    let node = &nodes["items"][0];
    assert_eq!(
        (
            &node["metadata"]["name"],
            &node["metadata"]["labels"]["kubernetes.io/os"]
        ),
        (&json!("n1"), &json!("linux"))
    );
    assert!(node["usage"]["memory"].as_str().unwrap().ends_with("Ki"), "{node:#}");
    let (_, pod) = cluster.ask("GET", &format!("{api}/namespaces/default/pods/web"), None);
    let names: Vec<&Value> = pod["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["a", "b"], "{pod:#}");
    let (code, none) = cluster.ask("GET", &format!("{api}/namespaces/default/pods/no-such"), None);
    assert_eq!(
        (code, &none["message"]),
        (404, &json!("pods.metrics.k8s.io \"no-such\" not found"))
    );
    let (_, none) = cluster.ask("GET", &format!("{api}/pods?labelSelector=app%3Dno-such"), None);
    assert_eq!(none["items"], json!([]));
    assert_eq!(cluster.ask("DELETE", &format!("{api}/nodes/n1"), None).0, 405);
}

fn kubectl_tops(cluster: &Cluster) {
    let Some(_) = cluster.kubectl() else {
        eprintln!("SKIPPED: `kubectl top` needs kubectl");
        return;
    };
    let top = |words: &[&str]| {
        let output = cluster.kubectl().unwrap().arg("top").args(words).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        eprintln!("kubectl top {}:\n{said}", words.join(" "));
        said
    };
    assert!(top(&["nodes"]).lines().nth(1).unwrap().starts_with("n1 "));
    let web = |said: &str| said.lines().filter(|line| line.starts_with("web ")).count();
    assert_eq!(web(&top(&["pods"])), 1);
    assert_eq!(web(&top(&["pods", "--containers", "--no-headers"])), 2);
}
