//! Patches of all four types, of objects of every kind. What is left can be read in every form.

use crate::api_server::{self, JSON, escaped};
use crate::beginnings::{self, OBJECTS};
use crate::{Target, choice, chosen};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

/// Which object, which type of patch, which options, and the patch.
pub const TARGET: Target = Target {
    name: "patches",
    seeds,
    run,
};

const TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const OPTIONS: [&str; 5] = [
    "?fieldManager=m",
    "?fieldManager=m&force=true",
    "?fieldManager=m&dryRun=All",
    "?fieldManager=m&fieldValidation=Strict",
    "/status?fieldManager=m",
];
const STATUS: usize = 4;

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut seed = |nth: usize, kind: usize, options: usize, patch: &Value| {
        seeds.push(chosen(&[nth, kind, options], patch.to_string().as_bytes()));
    };
    for (nth, (_, object)) in OBJECTS.iter().enumerate() {
        seed(nth, 3, 1, object);
    }
    for (nth, change) in beginnings::changes() {
        let options = if change.get("status").is_some() { STATUS } else { 0 };
        seed(nth, 1, options, &change);
        seed(nth, 2, options, &change);
    }
    let find = |kind: &str| OBJECTS.iter().rposition(|(_, object)| object["kind"] == kind).unwrap();
    for (kind, patch) in merges() {
        seed(find(kind), 1, 0, &patch);
        seed(find(kind), 2, 0, &patch);
    }
    for patch in operations() {
        seed(find("ConfigMap"), 0, 0, &patch);
    }
    seeds
}

/// What merge patches and strategic ones have in them.
fn merges() -> Vec<(&'static str, Value)> {
    let managed = json!([{"manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {".": {}, "f:k": {}}, "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {}, "v:\"x\"": {}, "i:0": {}}}}}]);
    vec![
        (
            "ConfigMap",
            json!({"metadata": {"labels": {"a": "b"}, "annotations": null, "finalizers": ["x/y"]}, "data": {"k": null, "l": "m"}}),
        ),
        (
            "Deployment",
            json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "c", "image": "i:2", "ports": [{"containerPort": 81}]}]}}}}),
        ),
        (
            "Service",
            json!({"spec": {"$retainKeys": ["type"], "ports": [{"$patch": "replace"}, {"port": 81}], "$setElementOrder/ports": [{"port": 81}]},
                "metadata": {"$deleteFromPrimitiveList/finalizers": ["x/y"], "$patch": "merge"}}),
        ),
        ("ConfigMap", json!({"metadata": {"managedFields": managed}})),
    ]
}

fn operations() -> [Value; 4] {
    [
        json!([{"op": "test", "path": "/metadata/name", "value": "a"}, {"op": "add", "path": "/data/x~1y", "value": "1"},
            {"op": "remove", "path": "/data/k"}, {"op": "copy", "from": "/data", "path": "/metadata/annotations"}]),
        json!([{"op": "move", "from": "/data", "path": "/metadata/labels"}]),
        json!([{"op": "add", "path": "/metadata/finalizers", "value": ["x/y"]}, {"op": "add", "path": "/metadata/finalizers/-", "value": "x/z"}]),
        json!([{"op": "replace", "path": "", "value": {}}]),
    ]
}

fn run(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut next = |of: usize| {
        let (chosen, after) = choice(rest, of)?;
        rest = after;
        Some(chosen)
    };
    let (Some(nth), Some(kind), Some(options)) = (next(OBJECTS.len()), next(TYPES.len()), next(OPTIONS.len())) else {
        return false;
    };
    let (place, object) = &OBJECTS[nth];
    let name = object["metadata"]["name"].as_str().expect("these have names");
    // Force belongs to applying alone.
    let options = match (options, kind) {
        (1, 0..=2) => OPTIONS[0],
        (options, _) => OPTIONS[options],
    };
    api_server::with(|api| {
        let is_definition = name == "things.example.com";
        let path = format!("{}/{}", place.collection, escaped(name.as_bytes()));
        if !is_definition && api.get(&path).is_none() {
            api.make(&place.collection, object);
        }
        let body = Bytes::copy_from_slice(rest);
        let patched = api.send(Method::PATCH, &format!("{path}{options}"), TYPES[kind], JSON, body);
        let is_done = patched.expect("this is a request").code == 200;
        if is_done {
            api.is_readable(place);
            if !options.contains("dryRun") {
                api.forget(place, name);
            }
        }
        is_done
    })
}
