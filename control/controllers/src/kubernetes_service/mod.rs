//! kubernetes-service-controller: the Service through which pods find the API server, and where it leads
//! (upstream: pkg/controlplane/controller/kubernetesservice).

use crate::context::{Context, Settings};
use client::{Api, Cache, Dynamic, Error, ListOptions, Object, Queue, Resource, Transport, work};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Endpoints, Service};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
/// How often it is looked at even if nobody seems to have touched it.
const ROUND: Duration = Duration::from_secs(10);

pub(crate) async fn run(context: Context) {
    let services = cache::<Service>(&context);
    let endpoints = cache::<Endpoints>(&context);
    let queue = Queue::<()>::new();
    let (mut services, mut endpoints) = (services.follow(), endpoints.follow());
    let feed = async {
        loop {
            tokio::select! {
                Some(_) = services.recv() => {}
                Some(_) = endpoints.recv() => {}
                () = tokio::time::sleep(ROUND) => {}
                () = context.stop.cancelled() => return,
            }
            queue.add(());
        }
    };
    let reconcile = {
        let context = context.clone();
        move |()| {
            let context = context.clone();
            async move { publish(&context.transport, &context.settings).await }
        }
    };
    tokio::join!(
        feed,
        work("kubernetes-service-controller", &queue, 1, &context.stop, reconcile)
    );
}

fn cache<K: Object + k8s_openapi::Resource>(context: &Context) -> Cache<K> {
    let options = ListOptions {
        field_selector: format!("metadata.name={NAME}"),
        ..ListOptions::default()
    };
    Cache::start(
        Api::namespaced(context.transport.clone(), NAMESPACE),
        options,
        context.stop.clone(),
    )
}

/// Makes the Services' network and the Service where they are missing,
/// and its Endpoints and EndpointSlice lead to where the API server is now.
pub async fn publish(transport: &Arc<dyn Transport>, settings: &Settings) -> Result<(), Error> {
    if !settings.service_cidrs.is_empty() {
        let networks = api_of(transport, "networking.k8s.io", "servicecidrs", None);
        ensure(&networks, network(&settings.service_cidrs), None).await?;
    }
    if let Some(address) = settings.service_cidrs.iter().find_map(|cidr| cidr.hosts().next()) {
        let port = settings.advertised.map_or(6443, |advertised| advertised.port());
        ensure(
            &api(transport, "", "services"),
            service(&address.to_string(), port),
            None,
        )
        .await?;
    }
    // A name instead of an address has no Endpoints: they hold addresses only. A loopback address is no pod's way to us,
    // and upstream refuses it in Endpoints.
    let Some(advertised) = settings.advertised.filter(|advertised| !advertised.ip().is_loopback()) else {
        return Ok(());
    };
    let ports = json!([{"name": "https", "port": advertised.port(), "protocol": "TCP"}]);
    let ip = advertised.ip();
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": NAME, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": ip}], "ports": ports}],
    });
    ensure(&api(transport, "", "endpoints"), endpoints, Some("subsets")).await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": if ip.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        "ports": ports,
    });
    ensure(
        &api(transport, "discovery.k8s.io", "endpointslices"),
        slice,
        Some("endpoints"),
    )
    .await
}

fn api(transport: &Arc<dyn Transport>, group: &str, plural: &str) -> Api<Dynamic> {
    api_of(transport, group, plural, Some(NAMESPACE))
}

fn api_of(transport: &Arc<dyn Transport>, group: &str, plural: &str, namespace: Option<&str>) -> Api<Dynamic> {
    let resource = Resource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        plural: plural.to_owned(),
    };
    Api::dynamic(transport.clone(), &resource, namespace)
}

/// Makes the object, or makes `member` of the present one what it is to be.
async fn ensure(api: &Api<Dynamic>, wanted: Value, member: Option<&str>) -> Result<(), Error> {
    let present = match api.get(NAME).await {
        Err(error) if error.is_not_found() => return made(api.create(&Dynamic(wanted)).await),
        present => present?,
    };
    let Some(member) = member else { return Ok(()) };
    if is_part(&wanted[member], &present.0[member]) && is_part(&wanted["ports"], &present.0["ports"]) {
        return Ok(());
    }
    let mut right = wanted;
    right["metadata"]["resourceVersion"] = present.resource_version().into();
    made(api.replace(NAME, &Dynamic(right)).await)
}

/// A namespace that is not there yet, a kind that is not served and a race are no failures: the next round sees.
fn made(outcome: Result<Dynamic, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.is_already_exists() || error.is_conflict() || error.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Whether all that is wanted is there; what the server added does not matter, another length of a list does.
fn is_part(wanted: &Value, present: &Value) -> bool {
    match (wanted, present) {
        (Value::Null, _) => true,
        (Value::Object(wanted), Value::Object(present)) => wanted
            .iter()
            .all(|(key, value)| present.get(key).is_some_and(|found| is_part(value, found))),
        (Value::Array(wanted), Value::Array(present)) => {
            wanted.len() == present.len()
                && wanted
                    .iter()
                    .zip(present)
                    .all(|(wanted, present)| is_part(wanted, present))
        }
        (wanted, present) => wanted == present,
    }
}

/// The first ServiceCIDR: what the machine config says (upstream: pkg/controlplane/controller/defaultservicecidr).
fn network(prefixes: &[IpNet]) -> Value {
    let prefixes: Vec<String> = prefixes.iter().map(|prefix| prefix.trunc().to_string()).collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": NAME}, "spec": {"cidrs": prefixes},
    })
}

fn service(address: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_adds_is_no_difference() {
        let wanted = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]);
        let mut present =
            json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": true}, "zone": "a"}]);
        assert!(is_part(&wanted, &present));
        present[0]["addresses"] = json!(["10.0.0.1", "10.0.0.2"]);
        assert!(!is_part(&wanted, &present));
    }
}
