//! What a cluster has from its first moment: four namespaces, the default roles, two priority classes, and the Service through
//! which pods find the API server.

mod objects;

use anyhow::Context;
use api::kinds::priority_class;
use client::{Api, Dynamic, Resource, Transport};
use controllers::Settings;
use futures_util::future;
use serde_json::{Value, json};
use std::sync::Arc;

/// Upstream's system namespaces (pkg/controlplane/controller/systemnamespaces) and `default`.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing; the controllers keep the Service from then on. After the namespaces all of it at once: the first
/// start of a cluster waits for it, and a few commits are sooner on disk than two hundred.
pub async fn populate(transport: &Arc<dyn Transport>, settings: &Settings) -> anyhow::Result<()> {
    future::try_join_all(NAMESPACES.iter().map(|name| namespace(transport, name))).await?;
    let policy = async {
        let made = server::reconcile_policy(transport).await;
        made.context("make the default roles and bindings")
    };
    let classes = future::try_join_all(
        priority_class::SYSTEM
            .iter()
            .map(|(name, value, description)| priority_class(transport, name, json!(value), description)),
    );
    let service = async {
        let made = controllers::publish(transport, settings).await;
        made.context("make the Service kubernetes")
    };
    future::try_join4(policy, classes, objects::populate(transport), service)
        .await
        .map(drop)
}

async fn namespace(transport: &Arc<dyn Transport>, name: &str) -> anyhow::Result<()> {
    ensure(transport, "", "namespaces", json!({ "metadata": { "name": name } }))
        .await
        .with_context(|| format!("make the namespace {name}"))
}

async fn priority_class(
    transport: &Arc<dyn Transport>,
    name: &str,
    value: Value,
    description: &str,
) -> anyhow::Result<()> {
    let class = json!({ "metadata": { "name": name }, "value": value, "description": description });
    ensure(transport, "scheduling.k8s.io", "priorityclasses", class)
        .await
        .with_context(|| format!("make the PriorityClass {name}"))
}

async fn ensure(transport: &Arc<dyn Transport>, group: &str, plural: &str, object: Value) -> Result<(), client::Error> {
    let resource = Resource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        plural: plural.to_owned(),
    };
    let api = Api::<Dynamic>::dynamic(transport.clone(), &resource, None);
    match api.create(&Dynamic(object)).await {
        Err(refused) if refused.is_already_exists() => Ok(()),
        outcome => outcome.map(drop),
    }
}
