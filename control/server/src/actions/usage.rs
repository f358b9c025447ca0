//! `metrics.k8s.io`: what nodes and pods use, out of the nodes' own metrics, measured when somebody asks.

mod measure;
mod text;

pub(crate) use measure::Measures;

use crate::call::Call;
use crate::encode;
use crate::filter::Filter;
use crate::render;
use api::status::{self, Status};
use api::{Verb, metadata, read};
use client::Body;
use http::Response;
use measure::Measured;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Answers a get or a list of nodes' or pods' usage.
pub(super) async fn answer(call: &Call, of_pods: bool) -> Result<Response<Body>, Status> {
    let filter = Filter::of(&call.query, &call.rules)?;
    let objects = if of_pods { pods(call).await } else { nodes(call).await };
    let objects = objects.into_iter().filter(|object| filter.matches(object));
    if call.verb == Verb::List {
        return render::made_list(call, &objects.collect::<Vec<_>>());
    }
    let mut objects = objects;
    match objects.next() {
        Some(object) => render::made(call, &object),
        None => Err(status::not_found(&call.rules, &call.name)),
    }
}

/// Stored objects of a core kind: the one that the call names, or all in its namespace.
fn stored(call: &Call, plural: &str) -> Vec<Value> {
    let catalog = call.server.catalog();
    let Some(rules) = catalog.find("", "v1", plural) else {
        return Vec::new();
    };
    let store = &call.server.store;
    if !call.name.is_empty() {
        let entry = store.get(&rules.key_of(&call.namespace, &call.name));
        return entry.iter().map(encode::object).collect();
    }
    let namespace = (!call.namespace.is_empty()).then_some(call.namespace.as_str());
    let found = store.range(&rules.key_prefix(namespace), None, 0);
    found.entries.iter().map(encode::object).collect()
}

async fn nodes(call: &Call) -> Vec<Value> {
    let nodes = stored(call, "nodes");
    let names = nodes.iter().map(|node| metadata::name(node).to_owned()).collect();
    let measured = call.server.measures.of(&call.server, names).await;
    let objects = nodes.iter().filter_map(|node| {
        let measured = measured.get(metadata::name(node))?;
        let mut object = head(call, node, measured);
        object["usage"] = measured.node.to_value();
        Some(object)
    });
    objects.collect()
}

async fn pods(call: &Call) -> Vec<Value> {
    let mut pods = stored(call, "pods");
    pods.retain(|pod| read::text(pod, "/status/phase") == "Running");
    let names: BTreeSet<String> = pods
        .iter()
        .map(|pod| read::text(pod, "/spec/nodeName").to_owned())
        .collect();
    let measured: BTreeMap<String, Arc<Measured>> = call.server.measures.of(&call.server, names).await;
    let objects = pods.iter().filter_map(|pod| {
        let measured = measured.get(read::text(pod, "/spec/nodeName"))?;
        let key = (metadata::namespace(pod).to_owned(), metadata::name(pod).to_owned());
        let containers = measured.pods.get(&key)?;
        let containers: Vec<Value> = containers
            .iter()
            .map(|(name, amounts)| json!({"name": name, "usage": amounts.to_value()}))
            .collect();
        let mut object = head(call, pod, measured);
        object["containers"] = containers.into();
        Some(object)
    });
    objects.collect()
}

/// Names, labels and when it was measured.
fn head(call: &Call, of: &Value, measured: &Measured) -> Value {
    let at = crate::call::timestamp(measured.at);
    let mut meta = json!({"name": metadata::name(of), "creationTimestamp": at});
    for field in ["namespace", "labels"] {
        if let Some(value) = of["metadata"].get(field) {
            meta[field] = value.clone();
        }
    }
    json!({
        "kind": call.rules.kind, "apiVersion": call.rules.api_version(), "metadata": meta,
        "timestamp": at, "window": format!("{:.3}s", measured.window.as_secs_f64()),
    })
}
