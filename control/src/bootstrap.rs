//! What every cluster has from its first moment: four namespaces, and the Service through which pods find the API server.

use anyhow::Context;
use client::{Api, Dynamic, Error, Resource, Transport};
use config::IpNet;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Upstream's system namespaces (pkg/controlplane/controller/systemnamespaces) and `default`.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing and leaves alone what is there; only the Endpoints follow where the server is now.
pub async fn populate(transport: &Arc<dyn Transport>, advertised: &str, services: &[IpNet]) -> anyhow::Result<()> {
    for name in NAMESPACES {
        let namespace = json!({ "metadata": { "name": name } });
        ensure(&api(transport, "namespaces", None), namespace)
            .await
            .with_context(|| format!("make the namespace {name}"))?;
    }
    server::reconcile_policy(transport)
        .await
        .context("make the default roles and bindings")?;
    let addresses = services
        .iter()
        .filter_map(first_address)
        .map(|address| address.to_string())
        .collect::<Vec<_>>();
    ensure(&api(transport, "services", Some("default")), service(&addresses))
        .await
        .context("make the Service kubernetes")?;
    // A name instead of an address has no Endpoints: they hold addresses only.
    if let Ok(address) = advertised.parse::<SocketAddr>() {
        let endpoints = api(transport, "endpoints", Some("default"));
        replace(&endpoints, endpoints_object(address))
            .await
            .context("make the Endpoints kubernetes")?;
    }
    Ok(())
}

fn api(transport: &Arc<dyn Transport>, plural: &str, namespace: Option<&str>) -> Api<Dynamic> {
    let resource = Resource {
        group: String::new(),
        version: "v1".to_owned(),
        plural: plural.to_owned(),
    };
    Api::dynamic(transport.clone(), &resource, namespace)
}

async fn ensure(api: &Api<Dynamic>, object: Value) -> Result<(), Error> {
    match api.create(&Dynamic(object)).await {
        Err(refused) if refused.is_already_exists() => Ok(()),
        outcome => outcome.map(drop),
    }
}

async fn replace(api: &Api<Dynamic>, object: Value) -> Result<(), Error> {
    match api.create(&Dynamic(object.clone())).await {
        Err(refused) if refused.is_already_exists() => api.replace("kubernetes", &Dynamic(object)).await.map(drop),
        outcome => outcome.map(drop),
    }
}

fn service(addresses: &[String]) -> Value {
    json!({
        "metadata": { "name": "kubernetes", "labels": { "component": "apiserver", "provider": "kubernetes" } },
        "spec": {
            "type": "ClusterIP", "clusterIP": addresses.first(), "clusterIPs": addresses.iter().take(1).collect::<Vec<_>>(),
            "ports": [{ "name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443 }],
        },
    })
}

fn endpoints_object(address: SocketAddr) -> Value {
    json!({
        "metadata": { "name": "kubernetes", "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } },
        "subsets": [{
            "addresses": [{ "ip": address.ip() }],
            "ports": [{ "name": "https", "port": address.port(), "protocol": "TCP" }],
        }],
    })
}

/// The address of the `kubernetes` Service: the first of the prefix after the network's own.
fn first_address(cidr: &IpNet) -> Option<IpAddr> {
    cidr.hosts().next()
}
