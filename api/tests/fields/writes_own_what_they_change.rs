//! What creates and updates come to own, and what their managers lose.

use crate::{T1, T2, applied, created, map, owners, pod, updated, write};
use api::fields::{same_but_for_times, track};
use serde_json::{Value, json};

#[test]
fn a_create_owns_what_it_sets_as_upstream_shows_it() {
    let made = created("ConfigMap", "kubectl-create", map(json!({ "a": "1" })));
    assert_eq!(owners(&made), [r#"kubectl-create Update {"f:data":{".":{},"f:a":{}}}"#]);
    assert_eq!(made["metadata"]["managedFields"][0]["time"], T1);
    assert_eq!(made["metadata"]["managedFields"][0]["apiVersion"], "v1");
    let mut run = pod(json!({
        "containers": [{ "name": "web", "image": "nginx", "imagePullPolicy": "Always", "resources": {}, "ports": [{ "containerPort": 80, "protocol": "TCP" }] }],
        "dnsPolicy": "ClusterFirst", "securityContext": {}, "tolerations": [{ "key": "a" }], "nodeSelector": { "a": "b" },
        "volumes": [{ "name": "v", "emptyDir": {} }],
    }));
    run["metadata"]["labels"] = json!({ "run": "web" });
    run["status"] = json!({ "phase": "Running" });
    let fields = concat!(
        r#"{"f:metadata":{"f:labels":{".":{},"f:run":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"#,
        r#""f:imagePullPolicy":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"#,
        r#""f:containerPort":{},"f:protocol":{}}},"f:resources":{}}},"f:dnsPolicy":{},"f:nodeSelector":{},"f:securityContext":{},"#,
        r#""f:tolerations":{},"f:volumes":{".":{},"k:{\"name\":\"v\"}":{".":{},"f:emptyDir":{},"f:name":{}}}}}"#
    );
    assert_eq!(
        owners(&created("Pod", "kubectl-run", run)),
        [format!("kubectl-run Update {fields}")]
    );
    assert!(owners(&created("ConfigMap", "nothing", map(Value::Null))).len() == 1);
    let empty = created(
        "ConfigMap",
        "nothing",
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } }),
    );
    assert!(empty["metadata"].get("managedFields").is_none());
}

#[test]
fn an_update_takes_what_it_changes_and_forgets_what_is_gone() {
    let live = created("ConfigMap", "one", map(json!({ "a": "1", "b": "2" })));
    let taken = updated("ConfigMap", "two", &live, |o| o["data"]["a"] = json!("9"));
    assert_eq!(
        owners(&taken),
        [
            r#"one Update {"f:data":{".":{},"f:b":{}}}"#,
            r#"two Update {"f:data":{"f:a":{}}}"#
        ]
    );
    let gone = updated("ConfigMap", "two", &taken, |o| o["data"] = json!({ "a": "9" }));
    assert_eq!(
        owners(&gone),
        [r#"one Update {"f:data":{}}"#, r#"two Update {"f:data":{"f:a":{}}}"#]
    );
    let again = updated("ConfigMap", "one", &live, |o| o["data"]["c"] = json!("3"));
    assert_eq!(
        owners(&again),
        [r#"one Update {"f:data":{".":{},"f:a":{},"f:b":{},"f:c":{}}}"#]
    );
    assert_eq!(again["metadata"]["managedFields"][0]["time"], T2);
    let same = updated("ConfigMap", "two", &live, |_| {});
    assert_eq!(same["metadata"]["managedFields"], live["metadata"]["managedFields"]);
}

#[test]
fn a_status_has_its_own_entry_and_spec_is_not_owned_through_it() {
    let live = created(
        "Pod",
        "one",
        pod(json!({ "containers": [{ "name": "c", "image": "i" }] })),
    );
    let status = updated("Pod", "kubelet/status", &live, |o| {
        o["spec"]["nodeName"] = json!("x");
        o["status"] = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }], "podIPs": [{ "ip": "10.0.0.1" }] });
    });
    assert_eq!(
        owners(&status)[1],
        r#"kubelet Update status {"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Ready\"}":{".":{},"f:status":{},"f:type":{}}},"f:phase":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}}}}"#
    );
}

#[test]
fn clients_may_reset_or_send_managed_fields() {
    let live = created("ConfigMap", "one", map(json!({ "a": "1" })));
    for reset in [json!([]), json!([{}])] {
        let new = updated("ConfigMap", "two", &live, |o| o["metadata"]["managedFields"] = reset);
        assert!(new["metadata"].get("managedFields").is_none());
        // Nobody tracks an object that exists and has none.
        let later = updated("ConfigMap", "two", &new, |o| o["data"]["b"] = json!("2"));
        assert!(later["metadata"].get("managedFields").is_none());
    }
    for invalid in [json!([{ "operation": "What" }]), json!("x"), Value::Null] {
        let new = updated("ConfigMap", "two", &live, |o| o["metadata"]["managedFields"] = invalid);
        assert_eq!(new["metadata"]["managedFields"], live["metadata"]["managedFields"]);
    }
    let sent = updated("ConfigMap", "two", &live, |o| {
        o["metadata"]["managedFields"][0]["manager"] = json!("renamed")
    });
    assert_eq!(owners(&sent), [r#"renamed Update {"f:data":{".":{},"f:a":{}}}"#]);
}

#[test]
fn too_many_updaters_become_ancient_changes() {
    let mut live = created("ConfigMap", "m00", map(json!({ "k00": "1" })));
    for n in 1..14 {
        let manager = format!("m{n:02}");
        let now = format!("2026-01-01T00:01:{n:02}Z");
        let mut new = live.clone();
        new["data"][format!("k{n:02}")] = json!("1");
        track(&write("ConfigMap", &manager, &now), Some(&live), &mut new);
        live = new;
    }
    let owners = owners(&live);
    assert_eq!(owners.len(), 10);
    assert_eq!(
        owners[0],
        r#"ancient-changes Update {"f:data":{".":{},"f:k00":{},"f:k01":{},"f:k02":{},"f:k03":{},"f:k04":{}}}"#
    );
    assert_eq!(live["metadata"]["managedFields"][0]["time"], "2026-01-01T00:01:04Z");
}

#[test]
fn only_times_do_not_make_a_change() {
    let live = applied("ConfigMap", "a", None, &map(json!({ "x": "1" })), false).unwrap();
    let mut again = live.clone();
    again["metadata"]["managedFields"][0]["time"] = json!("2030-01-01T00:00:00Z");
    assert!(same_but_for_times(&live, &mut again));
    assert_eq!(again, live);
    again["metadata"]["managedFields"][0]["time"] = json!("2030-01-01T00:00:00Z");
    again["data"]["x"] = json!("2");
    assert!(!same_but_for_times(&live, &mut again));
}
