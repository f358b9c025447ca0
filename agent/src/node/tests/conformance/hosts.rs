//! What pods are called and which names they know. Upstream: kubelet_etc_hosts.go of test/e2e/common/node, pod_hostnamefqdn.go of
//! test/e2e/node.

use super::super::cluster::Cluster;
use super::{Case, case, create, ready, remove, script, with};
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let row = |name: &str, more: Value, host: &str, full: &str| {
        let text = "echo $(busybox hostname)';'$(busybox hostname -f)';'";
        let spec = with(json!({"containers": [script(text, json!({}))]}), more);
        case(name, spec, format!("{host};{full};\n"))
    };
    let full = |name: &str| format!("{name}.t.default.svc.cluster.local");
    vec![
        row("fqdn-none", json!({}), "fqdn-none", "fqdn-none"),
        row(
            "fqdn-asked",
            json!({"setHostnameAsFQDN": true}),
            "fqdn-asked",
            "fqdn-asked",
        ),
        row(
            "fqdn-short",
            json!({"subdomain": "t"}),
            "fqdn-short",
            &full("fqdn-short"),
        ),
        row(
            "fqdn-full",
            json!({"subdomain": "t", "setHostnameAsFQDN": true}),
            &full("fqdn-full"),
            &full("fqdn-full"),
        ),
    ]
}

pub fn all(cluster: &Cluster) {
    hosts_files(cluster);
    names_that_are_too_long(cluster);
}

/// The kernel has 64 characters for a name.
fn names_that_are_too_long(cluster: &Cluster) {
    let subdomain = "a-subdomain-that-is-long-enough-to-be-too-long";
    let spec = json!({"subdomain": subdomain, "setHostnameAsFQDN": true, "containers": [super::forever()]});
    create(cluster, "fqdn-long", spec);
    cluster.wait_for_event(
        "fqdn-long",
        "FailedCreatePodSandBox",
        "is too long (64 characters is the max, ",
    );
    assert_eq!(cluster.pod("fqdn-long").unwrap()["status"]["phase"], "Pending");
    remove(cluster, &["fqdn-long"]);
}

fn hosts_files(cluster: &Cluster) {
    let named = |name: &str, mounts: Value| script("exec sleep 1000", json!({"name": name, "volumeMounts": mounts}));
    let original = json!({"name": "hosts", "mountPath": "/etc/hosts-original"});
    let volumes = json!([{"name": "hosts", "hostPath": {"path": "/etc/hosts", "type": "FileOrCreate"}}]);
    let both = json!([original, {"name": "hosts", "mountPath": "/etc/hosts"}]);
    let spec = |host: bool, second: Value| {
        json!({"hostNetwork": host, "volumes": volumes,
            "containers": [named("one", json!([original])), named("two", second)]})
    };
    create(cluster, "hosts-own", spec(false, both));
    create(cluster, "hosts-machine", spec(true, json!([original])));
    let is_managed = |pod: &str, container: &str| {
        let read = |file: &str| cluster.exec(pod, container, &["cat", file], "").0;
        let hosts = read("/etc/hosts");
        hosts.starts_with("# Kubernetes-managed hosts file.") && hosts != read("/etc/hosts-original")
    };
    for (pod, container, managed) in [
        ("hosts-own", "one", true),
        ("hosts-own", "two", false),
        ("hosts-machine", "one", false),
        ("hosts-machine", "two", false),
    ] {
        ready(cluster, pod);
        assert_eq!(is_managed(pod, container), managed, "{pod}/{container}");
    }
    remove(cluster, &["hosts-own", "hosts-machine"]);
}
