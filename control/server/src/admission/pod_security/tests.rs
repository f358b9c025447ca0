//! Pods against levels, and labels against the policies that they make.

use super::*;
use serde_json::json;

fn judged(level: Level, spec: Value) -> String {
    let level = LevelVersion { level, version: None };
    sentence(&evaluate(level, &json!({"metadata": {}, "spec": spec})))
}

fn container(context: Value) -> Value {
    json!({"containers": [{"name": "a", "securityContext": context}]})
}

#[test]
fn an_ordinary_pod_is_fine_at_baseline_and_told_what_restricted_wants() {
    let spec = json!({"containers": [{"name": "nginx"}]});
    assert_eq!(judged(Level::Baseline, spec.clone()), "");
    assert_eq!(
        judged(Level::Restricted, spec),
        "allowPrivilegeEscalation != false (container \"nginx\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"nginx\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"nginx\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"nginx\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
}

#[test]
fn a_careful_pod_is_fine_at_restricted() {
    let spec = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "a", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "t", "projected": {"sources": []}}],
    });
    assert_eq!(judged(Level::Restricted, spec), "");
}

#[test]
fn baseline_forbids_what_leads_to_the_node() {
    for (spec, expected) in [
        (
            json!({"hostNetwork": true, "hostPID": true}),
            "host namespaces (hostNetwork=true, hostPID=true)",
        ),
        (
            container(json!({"privileged": true})),
            "privileged (container \"a\" must not set securityContext.privileged=true)",
        ),
        (
            container(json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN", "BPF"]}})),
            "non-default capabilities (container \"a\" must not include \"BPF\", \"NET_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            json!({"volumes": [{"name": "a", "hostPath": {}}, {"name": "b", "hostPath": {}}]}),
            "hostPath volumes (volumes \"a\", \"b\")",
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"hostPort": 80}]}, {"name": "b", "ports": [{"hostPort": 443}]}]}),
            "hostPort (containers \"a\", \"b\" use hostPorts 443, 80)",
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"type": "x", "user": "u"}}}),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set)",
        ),
        (
            container(json!({"procMount": "Unmasked"})),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            container(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.x"}]}}),
            "forbidden sysctls (kernel.x)",
        ),
        (
            json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}]}),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"10.0.0.1\")",
        ),
    ] {
        assert_eq!(judged(Level::Baseline, spec), expected);
    }
}

#[test]
fn restricted_names_each_sort_once() {
    let spec = json!({"hostIPC": true, "securityContext": {"runAsUser": 0, "runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}},
        "volumes": [{"name": "h", "hostPath": {}}, {"name": "n", "nfs": {}}]});
    assert_eq!(
        judged(Level::Restricted, spec),
        "host namespaces (hostIPC=true), restricted volume types (volumes \"h\", \"n\" use restricted volume types \"hostPath\", \"nfs\"), \
         runAsUser=0 (pod must not set runAsUser=0)"
    );
}

#[test]
fn labels_make_a_policy() {
    let labels = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), json!(value)));
        Value::Object(pairs.collect())
    };
    for (pairs, enforce, warn, errors) in [
        (&[][..], "privileged:latest", "privileged:latest", 0),
        (&[("enforce", "baseline")], "baseline:latest", "baseline:latest", 0),
        (
            &[
                ("enforce", "baseline"),
                ("enforce-version", "v1.24"),
                ("warn", "restricted"),
            ],
            "baseline:v1.24",
            "restricted:latest",
            0,
        ),
        (
            &[("enforce", "strict"), ("warn", "x"), ("audit-version", "1.2")],
            "restricted:latest",
            "privileged:latest",
            3,
        ),
    ] {
        let (policy, wrong) = Policy::of(Some(&labels(pairs)));
        assert_eq!(
            (policy.enforce.to_string(), policy.warn.to_string(), wrong.len()),
            (enforce.to_owned(), warn.to_owned(), errors)
        );
    }
}

#[test]
fn older_versions_know_fewer_rules() {
    let pod =
        json!({"metadata": {}, "spec": {"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "x"}}}]}});
    let at = |version| {
        evaluate(
            LevelVersion {
                level: Level::Baseline,
                version: Some(version),
            },
            &pod,
        )
        .len()
    };
    assert_eq!((at(33), at(34)), (0, 1));
}
