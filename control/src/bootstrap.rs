//! What a cluster has from its first moment: four namespaces, the default roles, two priority classes, and the Service through
//! which pods find the API server.

mod objects;

use anyhow::Context;
use api::kinds::priority_class;
use client::{Api, Dynamic, Resource, Transport};
use controllers::Settings;
use serde_json::{Value, json};
use std::sync::Arc;

/// Upstream's system namespaces (pkg/controlplane/controller/systemnamespaces) and `default`.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing; the controllers keep the Service from then on.
pub async fn populate(transport: &Arc<dyn Transport>, settings: &Settings) -> anyhow::Result<()> {
    for name in NAMESPACES {
        let namespace = json!({ "metadata": { "name": name } });
        ensure(transport, "", "namespaces", namespace)
            .await
            .with_context(|| format!("make the namespace {name}"))?;
    }
    server::reconcile_policy(transport)
        .await
        .context("make the default roles and bindings")?;
    for (name, value, description) in priority_class::SYSTEM {
        let class = json!({ "metadata": { "name": name }, "value": value, "description": description });
        ensure(transport, "scheduling.k8s.io", "priorityclasses", class)
            .await
            .with_context(|| format!("make the PriorityClass {name}"))?;
    }
    objects::populate(transport).await?;
    controllers::publish(transport, settings)
        .await
        .context("make the Service kubernetes")
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
