//! What an apply changes, shares, gives up and is refused.

use crate::{T2, applied, created, map, owners, pod, updated, write};
use api::fields::{ApplyError, apply};
use serde_json::{Value, json};

#[test]
fn appliers_own_what_they_say_and_give_up_what_they_no_longer_say() {
    let first = applied("ConfigMap", "a", None, &map(json!({ "x": "1", "y": "1" })), false).unwrap();
    assert_eq!(owners(&first), [r#"a Apply {"f:data":{"f:x":{},"f:y":{}}}"#]);
    // A second applier of the same value shares it.
    let shared = applied(
        "ConfigMap",
        "b",
        Some(&first),
        &map(json!({ "x": "1", "z": "1" })),
        false,
    )
    .unwrap();
    assert_eq!(
        owners(&shared),
        [
            r#"a Apply {"f:data":{"f:x":{},"f:y":{}}}"#,
            r#"b Apply {"f:data":{"f:x":{},"f:z":{}}}"#
        ]
    );
    // What both said stays when one lets go; what only one said goes.
    let less = applied("ConfigMap", "a", Some(&shared), &map(json!({})), false).unwrap();
    assert_eq!(less["data"], json!({ "x": "1", "z": "1" }));
    let refused = applied("ConfigMap", "a", Some(&shared), &map(json!({ "x": "2" })), false).unwrap_err();
    assert_eq!(refused, "Apply failed with 1 conflict: conflict with \"b\": .data.x");
    let forced = applied("ConfigMap", "a", Some(&shared), &map(json!({ "x": "2" })), true).unwrap();
    assert_eq!(forced["data"], json!({ "x": "2", "z": "1" }));
    assert_eq!(
        owners(&forced),
        [r#"a Apply {"f:data":{"f:x":{}}}"#, r#"b Apply {"f:data":{"f:z":{}}}"#]
    );
}

#[test]
fn conflicts_read_as_upstream_says_them() {
    let live = created(
        "ConfigMap",
        "kubectl-client-side-apply",
        map(json!({ "x": "1", "y": "1" })),
    );
    let error = apply(
        &write("ConfigMap", "a", T2),
        Some(&live),
        &map(json!({ "x": "2", "y": "2" })),
        false,
    )
    .unwrap_err();
    assert_eq!(
        error.message(),
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using v1:\n- .data.x\n- .data.y"
    );
    let ApplyError::Conflicts(conflicts) = error else {
        panic!("a conflict")
    };
    assert_eq!(
        (&*conflicts[0].manager, &*conflicts[0].field),
        ("\"kubectl-client-side-apply\" using v1", ".data.x")
    );
    let of_pod = created(
        "Pod",
        "m",
        pod(json!({ "containers": [{ "name": "c", "image": "1" }] })),
    );
    let other = applied(
        "Pod",
        "a",
        Some(&of_pod),
        &pod(json!({ "containers": [{ "name": "c", "image": "2" }] })),
        false,
    );
    assert_eq!(
        other.unwrap_err(),
        "Apply failed with 1 conflict: conflict with \"m\" using v1: .spec.containers[name=\"c\"].image"
    );
    let of_status = updated("Pod", "kubelet/status", &of_pod, |o| {
        o["status"] = json!({ "phase": "Running" })
    });
    let other = apply(
        &write("Pod", "a/status", T2),
        Some(&of_status),
        &json!({ "apiVersion": "v1", "kind": "Pod", "status": { "phase": "x" } }),
        false,
    );
    assert_eq!(
        other.unwrap_err().message(),
        "Apply failed with 1 conflict: conflict with \"kubelet\" with subresource \"status\" using v1: .status.phase"
    );
}

#[test]
fn lists_are_applied_item_by_item() {
    let containers = |list: Value| pod(json!({ "containers": list }));
    let one = applied(
        "Pod",
        "a",
        None,
        &containers(json!([{ "name": "x", "image": "1" }, { "name": "y", "image": "1" }])),
        false,
    )
    .unwrap();
    let two = applied(
        "Pod",
        "b",
        Some(&one),
        &containers(json!([{ "name": "z", "image": "1" }, { "name": "x" }])),
        false,
    )
    .unwrap();
    assert_eq!(
        two["spec"]["containers"],
        json!([{ "name": "z", "image": "1" }, { "name": "x", "image": "1" }, { "name": "y", "image": "1" }])
    );
    let less = applied(
        "Pod",
        "a",
        Some(&two),
        &containers(json!([{ "name": "y", "image": "1" }])),
        false,
    )
    .unwrap();
    assert_eq!(
        less["spec"]["containers"],
        json!([{ "name": "z", "image": "1" }, { "name": "x" }, { "name": "y", "image": "1" }])
    );
    // The key's default counts: a port without a protocol is the TCP one.
    let ports = |list: Value| containers(json!([{ "name": "c", "ports": list }]));
    let tcp = applied(
        "Pod",
        "a",
        None,
        &ports(json!([{ "containerPort": 1, "protocol": "TCP" }, { "containerPort": 1, "protocol": "UDP" }])),
        false,
    )
    .unwrap();
    let named = applied(
        "Pod",
        "b",
        Some(&tcp),
        &ports(json!([{ "containerPort": 1, "name": "n" }])),
        false,
    )
    .unwrap();
    assert_eq!(
        named["spec"]["containers"][0]["ports"][0],
        json!({ "containerPort": 1, "protocol": "TCP", "name": "n" })
    );
}

#[test]
fn duplicates_in_the_object_are_kept_until_an_apply_names_them() {
    let env = |list: Value| pod(json!({ "containers": [{ "name": "c", "env": list }] }));
    let live = created(
        "Pod",
        "m",
        env(json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }, { "name": "B", "value": "1" }])),
    );
    assert!(owners(&live)[0].contains(
        r#""f:env":{".":{},"k:{\"name\":\"A\"}":{},"k:{\"name\":\"B\"}":{".":{},"f:name":{},"f:value":{}}}"#
    ));
    let other = applied(
        "Pod",
        "a",
        Some(&live),
        &env(json!([{ "name": "C", "value": "1" }])),
        false,
    )
    .unwrap();
    assert_eq!(other["spec"]["containers"][0]["env"].as_array().unwrap().len(), 4);
    let single = applied(
        "Pod",
        "a",
        Some(&live),
        &env(json!([{ "name": "A", "value": "3" }])),
        true,
    )
    .unwrap();
    assert_eq!(
        single["spec"]["containers"][0]["env"],
        json!([{ "name": "A", "value": "3" }, { "name": "B", "value": "1" }])
    );
    let twice = applied(
        "Pod",
        "a",
        Some(&live),
        &env(json!([{ "name": "A" }, { "name": "A" }])),
        true,
    )
    .unwrap_err();
    assert_eq!(
        twice,
        "failed to create typed patch object (n/a; /v1, Kind=Pod): .spec.containers[name=\"c\"].env: duplicate entries for key [name=\"A\"]"
    );
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let typed = "failed to create typed patch object (n/a; /v1, Kind=ConfigMap): ";
    let with = |key: &str, value: Value| {
        let mut config = map(json!({ "a": "1" }));
        config[key] = value;
        config
    };
    for (config, message) in [
        (
            with("foo", json!(1)),
            format!("{typed}.foo: field not declared in schema"),
        ),
        (
            with("data", json!({ "a": 1 })),
            format!("{typed}.data.a: expected string, got &value.valueUnstructured{{Value:1}}"),
        ),
        (
            with("immutable", json!("x")),
            format!("{typed}.immutable: expected boolean, got &{{x}}"),
        ),
        (
            with("kind", json!("Pod")),
            "invalid object type: /v1, Kind=Pod".to_owned(),
        ),
        (
            with("metadata", json!({ "name": "a", "managedFields": [] })),
            "metadata.managedFields must be nil".to_owned(),
        ),
    ] {
        assert_eq!(applied("ConfigMap", "a", None, &config, false).unwrap_err(), message);
    }
}

#[test]
fn kubectl_takes_over_what_client_side_apply_left() {
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let mut before = map(json!({ "x": "1", "y": "1" }));
    before["metadata"]["annotations"] = json!({ LAST: map(json!({ "x": "1", "y": "1" })).to_string() });
    let live = created("ConfigMap", "kubectl-client-side-apply", before);
    let config = map(json!({ "x": "2", "y": "1" }));
    assert!(applied("ConfigMap", "somebody", Some(&live), &config, false).is_err());
    let upgraded = applied("ConfigMap", "kubectl", Some(&live), &config, false).unwrap();
    assert_eq!(upgraded["data"]["x"], "2");
    let last: Value = serde_json::from_str(upgraded["metadata"]["annotations"][LAST].as_str().unwrap()).unwrap();
    assert_eq!(last, config);
    // What somebody else changed since is not kubectl's to take.
    let changed = updated("ConfigMap", "editor", &live, |o| o["data"]["x"] = json!("9"));
    let refused = applied("ConfigMap", "kubectl", Some(&changed), &config, false).unwrap_err();
    assert_eq!(
        refused,
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.x"
    );
}

#[test]
fn an_untracked_object_was_somebodys_before_the_first_apply() {
    let mut live = map(json!({ "x": "1" }));
    live["metadata"]["uid"] = json!("u");
    let refused = applied("ConfigMap", "a", Some(&live), &map(json!({ "x": "2" })), false).unwrap_err();
    assert_eq!(
        refused,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.x"
    );
    let shared = applied("ConfigMap", "a", Some(&live), &map(json!({ "x": "1" })), false).unwrap();
    assert_eq!(
        owners(&shared),
        [
            r#"a Apply {"f:data":{"f:x":{}}}"#,
            r#"before-first-apply Update {"f:data":{".":{},"f:x":{}}}"#
        ]
    );
}
