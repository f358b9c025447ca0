//! Field management by examples: sets, what a write comes to own, what an apply does, conflicts.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use api::fields::{
    ApplyError, Element, Set, View, Write, apply, collect, compare, from_fields, merge, remove, same_but_for_times,
    to_fields, track,
};
use api::schema::Root;
use serde_json::{Value, json};
use std::sync::LazyLock;

static STATUS: LazyLock<Set> = LazyLock::new(|| Set::of_names(&[&["status"]]));
static SPEC: LazyLock<Set> = LazyLock::new(|| Set::of_names(&[&["spec"]]));

fn view(kind: &str) -> View<'static> {
    View::of(Root::built_in(&format!("io.k8s.api.core.v1.{kind}")))
}

/// A write to the object itself, or to its status if `manager` ends in `/status`.
fn write<'a>(kind: &'a str, manager: &'a str, now: &'a str) -> Write<'a> {
    let (manager, subresource) = manager.split_once('/').unwrap_or((manager, ""));
    Write {
        view: view(kind),
        manager,
        api_version: "v1",
        kind,
        subresource,
        now,
        resets: if subresource.is_empty() { &STATUS } else { &SPEC },
    }
}

fn map(data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "n" }, "data": data })
}

fn pod(spec: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "namespace": "n" }, "spec": spec })
}

/// The entries in one line each: manager, operation, subresource, fields.
fn owners(object: &Value) -> Vec<String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .map(|e| {
            let text = |key: &str| e[key].as_str().unwrap_or_default();
            let subresource = e
                .get("subresource")
                .map(|s| format!(" {}", s.as_str().unwrap()))
                .unwrap_or_default();
            format!(
                "{} {}{subresource} {}",
                text("manager"),
                text("operation"),
                e["fieldsV1"]
            )
        })
        .collect()
}

const T1: &str = "2026-01-01T00:00:01Z";
const T2: &str = "2026-01-01T00:00:02Z";

fn created(kind: &str, manager: &str, object: Value) -> Value {
    let mut object = object;
    track(&write(kind, manager, T1), None, &mut object);
    object["metadata"]["uid"] = json!("u");
    object
}

fn updated(kind: &str, manager: &str, live: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut new = live.clone();
    change(&mut new);
    track(&write(kind, manager, T2), Some(live), &mut new);
    new
}

fn applied(kind: &str, manager: &str, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, String> {
    let mut new = apply(&write(kind, manager, T2), live, config, force).map_err(|e| e.message())?;
    new["metadata"]["uid"] = json!("u");
    Ok(new)
}

#[test]
fn sets_are_written_and_read_in_upstreams_order() {
    for (text, canonical) in [
        (r#"{}"#, None),
        (r#"{"f:a":{}}"#, None),
        (r#"{"f:a":{".":{},"f:b":{}},"f:c":{}}"#, None),
        (
            r#"{"f:l":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"v:\"x\"":{},"i:1":{}}}"#,
            None,
        ),
        (r#"{"f:b":{},"f:a":{}}"#, Some(r#"{"f:a":{},"f:b":{}}"#)),
        (
            r#"{"f:l":{"v:2":{},"v:10":{},"v:\"a\"":{}}}"#,
            Some(r#"{"f:l":{"v:2":{},"v:10":{},"v:\"a\"":{}}}"#),
        ),
        (
            r#"{"f:l":{"k:{ \"b\": 1, \"a\": \"<\" }":{}}}"#,
            Some(r#"{"f:l":{"k:{\"a\":\"\\u003c\",\"b\":1}":{}}}"#),
        ),
        (r#"{"x:future":{},"f:a":{}}"#, Some(r#"{"f:a":{}}"#)),
    ] {
        let set = from_fields(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(to_fields(&set).to_string(), canonical.unwrap_or(text), "{text}");
    }
    for bad in [
        r#"{"f":{}}"#,
        r#"{"fa:":{}}"#,
        r#"{"f:a":1}"#,
        r#"{"k:x":{}}"#,
        r#"{"i:x":{}}"#,
        "[]",
    ] {
        assert!(from_fields(&serde_json::from_str(bad).unwrap()).is_err(), "{bad}");
    }
}

#[test]
fn sets_combine() {
    let set = |text: &str| from_fields(&serde_json::from_str(text).unwrap()).unwrap();
    let (a, b) = (
        set(r#"{"f:a":{".":{},"f:b":{"f:c":{}}},"f:d":{}}"#),
        set(r#"{"f:a":{"f:b":{}},"f:d":{},"f:e":{}}"#),
    );
    assert_eq!(
        a.union(&b),
        set(r#"{"f:a":{".":{},"f:b":{".":{},"f:c":{}}},"f:d":{},"f:e":{}}"#)
    );
    assert_eq!(a.intersection(&b), set(r#"{"f:d":{}}"#));
    assert_eq!(a.difference(&b), set(r#"{"f:a":{".":{},"f:b":{"f:c":{}}}}"#));
    assert_eq!(a.recursive_difference(&b), set(r#"{"f:a":{}}"#));
    assert_eq!(a.leaves(), set(r#"{"f:a":{"f:b":{"f:c":{}}},"f:d":{}}"#));
    let path: Vec<Element> = ["a", "b", "c"].iter().map(|n| Element::field(n)).collect();
    assert!(a.has(&path) && !a.has(&path[..2]) && a.has(&path[..1]) && !a.has(&[]));
    // A struct's field that has something below it becomes a member; a map's key does not.
    let labels = set(
        r#"{"f:metadata":{"f:labels":{"f:x":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{"f:image":{}}}}}"#,
    );
    assert_eq!(
        to_fields(&labels.with_named_fields(view("Pod"))).to_string(),
        r#"{"f:metadata":{".":{},"f:labels":{".":{},"f:x":{}}},"f:spec":{".":{},"f:containers":{".":{},"k:{\"name\":\"c\"}":{"f:image":{}}}}}"#
    );
}

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

#[test]
fn values_merge_and_lose_fields() {
    let (old, new) = (
        json!({ "data": { "a": "1", "b": "2" } }),
        json!({ "data": { "b": "3", "c": "4" } }),
    );
    let view = view("ConfigMap");
    assert_eq!(
        merge(view, &old, &new).unwrap(),
        json!({ "data": { "a": "1", "b": "3", "c": "4" } })
    );
    let changes = compare(view, &old, &new).unwrap();
    assert_eq!(
        [&changes.removed, &changes.modified, &changes.added].map(|s| to_fields(s).to_string()),
        [
            r#"{"f:data":{"f:a":{}}}"#,
            r#"{"f:data":{"f:b":{}}}"#,
            r#"{"f:data":{"f:c":{}}}"#
        ]
    );
    assert_eq!(remove(view, &old, &collect(view, &old).unwrap()), json!({ "data": {} }));
}
