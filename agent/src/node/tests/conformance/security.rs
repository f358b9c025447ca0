//! Who containers are and what they may. Upstream: security_context.go, sysctl.go, kubelet.go and privileged.go of
//! test/e2e/common/node, security_context.go of test/e2e/node.

use super::super::cluster::Cluster;
use super::{Case, case, create, images, remove, script};
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let mut cases = users();
    cases.extend(roots_and_rights());
    cases.extend(groups());
    cases.extend(filters());
    cases
}

fn secured(text: &str, context: Value) -> Value {
    json!({"containers": [script(text, json!({"securityContext": context}))]})
}

fn users() -> Vec<Case> {
    let both = json!({"runAsUser": 1001, "runAsGroup": 2002});
    let of_pod = json!({"securityContext": both, "containers": [script("echo $(id -u) $(id -g)", json!({}))]});
    let over_pod = json!({"securityContext": {"runAsUser": 1000}, "containers":
        [script("id -u", json!({"securityContext": {"runAsUser": 1001}}))]});
    let of_image = json!({"containers": [script("id -u", json!({"image": images::NON_ROOT,
        "securityContext": {"runAsNonRoot": true}}))]});
    vec![
        case("user-65534", secured("id -u", json!({"runAsUser": 65534})), "65534\n"),
        case("user-0", secured("id -u", json!({"runAsUser": 0})), "0\n"),
        case("user-and-group", secured("echo $(id -u) $(id -g)", both), "1001 2002\n"),
        case("user-and-group-of-pod", of_pod, "1001 2002\n"),
        case("user-over-pod", over_pod, "1001\n"),
        case(
            "explicit-nonroot",
            secured("id -u", json!({"runAsNonRoot": true, "runAsUser": 1000})),
            "1000\n",
        ),
        case("implicit-nonroot", of_image, "1234\n"),
    ]
}

fn roots_and_rights() -> Vec<Case> {
    let link = "busybox ip link add dummy0 type dummy 2>&1 | busybox grep -o 'Operation not permitted' || echo allowed";
    let aliases = json!({"hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}],
        "containers": [script("busybox grep 123.45.67.89 /etc/hosts", json!({}))]});
    let sysctl = json!({"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
        "containers": [script("busybox sysctl kernel.shm_rmid_forced", json!({}))]});
    let escalates = |name: &str, allow: Value| {
        let mut context = json!({"runAsUser": 1000});
        if !allow.is_null() {
            context["allowPrivilegeEscalation"] = allow.clone();
        }
        let user = if allow == json!(false) { "1000\n" } else { "0\n" };
        case(name, secured("escalate -u", context), user)
    };
    vec![
        escalates("escalation-unset", Value::Null),
        escalates("escalation-false", json!(false)),
        escalates("escalation-true", json!(true)),
        case(
            "unprivileged",
            secured(link, json!({"privileged": false})),
            "Operation not permitted\n",
        ),
        case("privileged", secured(link, json!({"privileged": true})), "allowed\n"),
        case(
            "writable-root",
            secured("echo x > /file && cat /file", json!({"readOnlyRootFilesystem": false})),
            "x\n",
        ),
        case(
            "read-only-root",
            secured(
                "(echo x > /file) 2>&1 | busybox grep -o 'Read-only file system'",
                json!({"readOnlyRootFilesystem": true}),
            ),
            "Read-only file system\n",
        ),
        case("sysctl", sysctl, "kernel.shm_rmid_forced = 1\n"),
        case("host-aliases", aliases, "123.45.67.89\tfoo\tbar\n"),
        case(
            "logs",
            json!({"containers": [script("echo 'Hello World'; sleep 1", json!({}))]}),
            "Hello World\n",
        ),
    ]
}

fn groups() -> Vec<Case> {
    let rows = [
        ("unset", Value::Null),
        ("merge", json!("Merge")),
        ("strict", json!("Strict")),
    ];
    let mut cases = Vec::new();
    for (name, policy) in rows {
        let mut context = json!({"runAsUser": 1000, "supplementalGroups": [60000]});
        let said = if policy == "Strict" {
            "1000,60000"
        } else {
            "1000,50000,60000"
        };
        if !policy.is_null() {
            context["supplementalGroupsPolicy"] = policy;
        }
        // Names would be the image's.
        let text = "echo uid=$(id -u) gid=$(id -g) groups=$(id -G | busybox tr ' ' ,)";
        let spec = json!({"securityContext": context, "containers": [script(text, json!({}))]});
        cases.push(case(
            format!("groups-{name}"),
            spec,
            format!("uid=1000 gid=1000 groups={said}\n"),
        ));
    }
    let more =
        json!({"securityContext": {"supplementalGroups": [1234, 5678]}, "containers": [script("id -G", json!({}))]});
    cases.push(case("groups-of-pod", more, "0 1234 5678\n"));
    cases
}

fn filters() -> Vec<Case> {
    let text = "busybox grep ^Seccomp: /proc/self/status";
    let profile = |kind: &str| json!({"seccompProfile": {"type": kind}});
    let of_pod = |kind: &str| json!({"securityContext": profile(kind), "containers": [script(text, json!({}))]});
    vec![
        case(
            "seccomp-unconfined",
            secured(text, profile("Unconfined")),
            "Seccomp:\t0\n",
        ),
        case("seccomp-unconfined-pod", of_pod("Unconfined"), "Seccomp:\t0\n"),
        case("seccomp-default-pod", of_pod("RuntimeDefault"), "Seccomp:\t2\n"),
    ]
}

/// Containers that the node does not make, and a pod that ends because it may not write.
pub fn refused_by_the_node(cluster: &Cluster) {
    let root = json!({"containers": [script("id -u", json!({"image": images::NON_ROOT,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 0}}))]});
    create(cluster, "explicit-root", root);
    create(
        cluster,
        "implicit-root",
        secured("id -u", json!({"runAsNonRoot": true})),
    );
    let unsafe_one = json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "10000000000"}]},
        "containers": [script("exit 0", json!({}))]});
    create(cluster, "sysctl-unsafe", unsafe_one);
    create(
        cluster,
        "read-only-fails",
        secured("busybox touch checkfile", json!({"readOnlyRootFilesystem": true})),
    );
    cluster.wait_for_event(
        "explicit-root",
        "Failed",
        "container's runAsUser breaks non-root policy",
    );
    cluster.wait_for_event(
        "implicit-root",
        "Failed",
        "container has runAsNonRoot and image will run as root",
    );
    cluster.wait_for("sysctl-unsafe", "refused", |pod| {
        (&pod["status"]["phase"], &pod["status"]["reason"]) == (&json!("Failed"), &json!("SysctlForbidden"))
    });
    cluster.wait_for("read-only-fails", "Failed", |pod| pod["status"]["phase"] == "Failed");
    remove(
        cluster,
        &["explicit-root", "implicit-root", "sysctl-unsafe", "read-only-fails"],
    );
}
