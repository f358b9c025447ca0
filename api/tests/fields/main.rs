//! Field management by examples: sets of fields, what a write comes to own, what an apply does.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod applies_own_what_they_say;
mod sets_combine;
mod writes_own_what_they_change;

use api::fields::{Set, View, Write, apply, track};
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
