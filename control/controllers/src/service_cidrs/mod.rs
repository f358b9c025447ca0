//! service-cidrs-controller: a network of Services stays until no address depends on it (KEP-1880).

use crate::context::{Context, cache};
use client::{Api, Cache, Error, Key, ListOptions, Object, Patch, Queue, work};
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;

const NAME: &str = "service-cidrs-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// Which IPAddress objects Services hold, as opposed to other allocators.
const OF_SERVICES: &str = "ipaddress.kubernetes.io/managed-by=ipallocator.k8s.io";

/// A Service's IPAddress object comes right after the Service. One that got its address just before the network's deletion
/// has the object within this (upstream's `deletionGracePeriod`).
const GRACE: Duration = Duration::from_secs(10);

/// How often a network that is to end looks for addresses that hold it. Few clusters ever have one.
const LOOK: Duration = Duration::from_secs(2);

pub(crate) async fn run(context: Context) {
    let cidrs: Cache<ServiceCIDR> = cache(Api::all(context.transport.clone()), &context.stop);
    if !cidrs.ready().await {
        return;
    }
    let queue = Queue::<Key>::new();
    let mut changes = cidrs.follow();
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = changes.recv() => {
                    queue.add(update.key());
                    // Another one may have taken over addresses of those that are to end.
                    cidrs.list().iter().filter(|cidr| is_ending(cidr)).for_each(|cidr| queue.add(Key::new("", cidr.name())));
                }
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, cidrs, queue) = (context.clone(), cidrs.clone(), queue.clone());
        move |key: Key| {
            let (context, cidrs, queue) = (context.clone(), cidrs.clone(), queue.clone());
            async move {
                let Some(cidr) = cidrs.get(&key) else { return Ok(()) };
                if !is_ending(&cidr) {
                    return hold(&context, &cidr).await;
                }
                let others: Vec<_> = cidrs.list().into_iter().filter(|other| !is_ending(other)).collect();
                let others: Vec<IpNet> = others.iter().flat_map(|other| prefixes(other)).collect();
                let addresses = addresses(&context).await?;
                if is_needed(&prefixes(&cidr), &others, &addresses) {
                    queue.add_after(key, LOOK);
                    return say_why(&context, &cidr).await;
                }
                match rest_of_grace(&cidr) {
                    Some(rest) => queue.add_after(key, rest),
                    None => release(&context, &cidr).await?,
                }
                Ok(())
            }
        }
    };
    tokio::join!(feed, work(NAME, &queue, 1, &context.stop, reconcile));
}

fn is_ending(cidr: &ServiceCIDR) -> bool {
    cidr.metadata.deletion_timestamp.is_some()
}

fn finalizers(cidr: &ServiceCIDR) -> &[String] {
    cidr.metadata.finalizers.as_deref().unwrap_or_default()
}

fn prefixes(cidr: &ServiceCIDR) -> Vec<IpNet> {
    let all = cidr.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    all.filter_map(|prefix| prefix.parse().ok()).collect()
}

/// Whether addresses would belong to no network without `own`.
fn is_needed(own: &[IpNet], others: &[IpNet], addresses: &[IpAddr]) -> bool {
    let in_any = |networks: &[IpNet], address| networks.iter().any(|network| network.contains(address));
    addresses
        .iter()
        .any(|address| in_any(own, address) && !in_any(others, address))
}

async fn addresses(context: &Context) -> Result<Vec<IpAddr>, Error> {
    let options = ListOptions {
        label_selector: OF_SERVICES.to_owned(),
        ..ListOptions::default()
    };
    let held = Api::<IPAddress>::all(context.transport.clone())
        .list_all(&options)
        .await?;
    Ok(held
        .items
        .iter()
        .filter_map(|address| address.name().parse().ok())
        .collect())
}

fn rest_of_grace(cidr: &ServiceCIDR) -> Option<Duration> {
    let since = cidr.metadata.deletion_timestamp.as_ref()?.0;
    let passed = Duration::try_from(jiff::Timestamp::now().duration_since(since)).unwrap_or_default();
    GRACE.checked_sub(passed).filter(|rest| !rest.is_zero())
}

async fn hold(context: &Context, cidr: &ServiceCIDR) -> Result<(), Error> {
    if finalizers(cidr).iter().any(|held| held == FINALIZER) {
        return Ok(());
    }
    let all: Vec<&str> = finalizers(cidr).iter().map(String::as_str).chain([FINALIZER]).collect();
    patch(context, cidr, &json!(all)).await
}

async fn release(context: &Context, cidr: &ServiceCIDR) -> Result<(), Error> {
    let left: Vec<&String> = finalizers(cidr).iter().filter(|held| *held != FINALIZER).collect();
    if left.len() == finalizers(cidr).len() {
        return Ok(());
    }
    patch(context, cidr, &json!(left)).await
}

async fn patch(context: &Context, cidr: &ServiceCIDR, finalizers: &Value) -> Result<(), Error> {
    let version = cidr.resource_version();
    let patch = json!({"metadata": {"uid": cidr.uid(), "resourceVersion": version, "finalizers": finalizers}});
    let api = Api::<ServiceCIDR>::all(context.transport.clone());
    written(api.patch(cidr.name(), &Patch::Merge(patch)).await)
}

async fn say_why(context: &Context, cidr: &ServiceCIDR) -> Result<(), Error> {
    let conditions = cidr.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    if ready.next().is_some_and(|ready| ready.status == "False") {
        return Ok(());
    }
    let message =
        "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = json!({
        "type": "Ready", "status": "False", "reason": "Terminating", "message": message, "lastTransitionTime": now,
    });
    let patch = json!({"metadata": {"uid": cidr.uid()}, "status": {"conditions": [condition]}});
    let api = Api::<ServiceCIDR>::all(context.transport.clone());
    written(api.patch_status(cidr.name(), &Patch::Strategic(patch)).await)
}

fn written(outcome: Result<ServiceCIDR, Error>) -> Result<(), Error> {
    match outcome {
        // A newer state is on its way to us.
        Err(error) if !(error.is_not_found() || error.is_conflict()) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_needed_by_addresses_of_no_other() {
        let networks = |all: &[&str]| -> Vec<IpNet> { all.iter().map(|network| network.parse().unwrap()).collect() };
        let addresses = |all: &[&str]| -> Vec<IpAddr> { all.iter().map(|address| address.parse().unwrap()).collect() };
        for (own, others, held, needed) in [
            (&["10.0.0.0/24"][..], &[][..], &[][..], false),
            (&["10.0.0.0/24"], &[], &["10.0.0.7"], true),
            (&["10.0.0.0/24"], &[], &["10.0.1.7", "fd00::7"], false),
            (&["10.0.0.0/24"], &["10.0.0.0/16"], &["10.0.0.7"], false),
            (&["10.0.0.0/24"], &["10.0.0.0/28"], &["10.0.0.7", "10.0.0.77"], true),
            (&["10.0.0.0/24", "fd00::/112"], &["10.0.0.0/16"], &["fd00::7"], true),
        ] {
            let found = is_needed(&networks(own), &networks(others), &addresses(held));
            assert_eq!(found, needed, "{own:?} {others:?} {held:?}");
        }
    }
}
