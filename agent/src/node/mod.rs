//! This machine as a Kubernetes node: its Node object, its Lease, its face on :10250, and the pods bound to it.

mod context;
mod face;
mod facts;
mod lease;
mod pod_cidrs;
mod registration;

pub use context::{NodeContext, Paths};

use crate::pods::events::Events;
use crate::pods::host::Host;
use crate::pods::plan::Machine;
use crate::pods::tokens::Tokens;
use client::{Http, Identity, Recorder, Transport};
use facts::Facts;
use net::pods::PodNetwork;
use registration::Readiness;
use sandbox::{Sandboxes, Settings};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long to wait before trying again what this machine itself refused: a folder, a socket.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs the node until the process ends: registers it, keeps it alive and makes its pods real.
///
/// Never gives up: whatever fails outside of this machine is tried again with a growing pause, and pods that run go on.
/// Marks `node-ready` when the API server has taken the node's first Ready condition.
pub async fn run(context: NodeContext) -> ! {
    tracing::info!(node = %context.config.machine.name, "node starts");
    let transport = again("reach the API server", || connect(&context)).await;
    tokio::spawn(face::serve(context.clone(), transport.clone()));
    let (readiness, is_ready) = watch::channel(Readiness {
        obstacle: Some("the node has no pod CIDR yet".to_owned()),
    });
    tokio::spawn(register(context.clone(), transport.clone(), is_ready));
    let network = network(&context, &transport).await;
    readiness.send_replace(Readiness { obstacle: None });
    let machine = machine(&context).await;
    let host = again("open this node's folders", || {
        open(&context, &machine, &transport, &network)
    })
    .await;
    let host = Arc::new(host);
    tokio::spawn(crate::pods::image_gc::run(
        context.images.clone(),
        context.directory.clone(),
        context.paths.oci.clone(),
    ));
    loop {
        crate::pods::run(host.clone()).await;
        tracing::error!("the watch of this node's pods ended, beginning anew");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The Node, then its heartbeat and its status, for ever.
async fn register(context: NodeContext, transport: Arc<dyn Transport>, is_ready: watch::Receiver<Readiness>) {
    let facts = Facts::gather(&context).await;
    let node = registration::register(&context, &transport, &facts).await;
    tracing::info!(node = %context.config.machine.name, "node is registered");
    (context.marks)("node-registered");
    let _beating = lease::start(context.clone(), node.metadata.uid.unwrap_or_default());
    let marks = context.marks.clone();
    registration::report(context, transport, is_ready, move || marks("node-ready")).await
}

/// A connection to the API server, made when it is first used, by whichever runtime uses it.
fn connect(context: &NodeContext) -> Result<Arc<dyn Transport>, client::ConnectError> {
    let node = &context.secrets.node;
    let identity = Identity {
        certificate: node.certificate.clone().into_bytes(),
        key: node.key.clone().into_bytes(),
    };
    let ca = context.secrets.cluster_ca.as_bytes();
    Ok(Arc::new(Http::new(
        &context.config.cluster.endpoint,
        ca,
        Some(&identity),
    )?))
}

/// The pods' network, as soon as the node's pod CIDRs are known; those of before an agent's restart count at once.
async fn network(context: &NodeContext, transport: &Arc<dyn Transport>) -> Arc<PodNetwork> {
    let cidrs = pod_cidrs::known_or_given(context, transport).await;
    loop {
        match PodNetwork::open(&context.paths.net, &cidrs, &context.config.cluster.pod_cidrs).await {
            Ok(network) => return Arc::new(network),
            Err(error) => tracing::error!(error = %chain(&error), "pod network cannot be made, trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What plans say about this machine, once it has an address.
async fn machine(context: &NodeContext) -> Machine {
    loop {
        let facts = Facts::gather(context).await;
        if !facts.ips.is_empty() {
            return Machine {
                node: context.config.machine.name.clone(),
                cpu_milli: i64::try_from(facts.cpus).unwrap_or(1) * 1000,
                memory: i64::try_from(facts.allocatable_memory()).unwrap_or(i64::MAX),
                memory_capacity: i64::try_from(facts.memory).unwrap_or(i64::MAX),
                ephemeral_storage: i64::try_from(facts.allocatable_disk()).unwrap_or(i64::MAX),
                ips: facts.ips,
            };
        }
        tracing::warn!("this machine has no address in the cluster's node network yet");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn open(
    context: &NodeContext,
    machine: &Machine,
    transport: &Arc<dyn Transport>,
    network: &Arc<PodNetwork>,
) -> Result<Host, Box<dyn std::error::Error + Send + Sync>> {
    let paths = context.paths.clone();
    for folder in [&paths.pods, &paths.logs, &paths.kubelet] {
        std::fs::create_dir_all(folder)?;
    }
    let settings = Settings {
        root: paths.run.clone(),
        pod_init: paths.pod_init.clone(),
        ..Settings::default()
    };
    context.images.store()?;
    let name = &context.config.machine.name;
    Ok(Host {
        machine: machine.clone(),
        sandboxes: Sandboxes::open(settings)?,
        images: context.images.clone(),
        network: network.clone(),
        transport: transport.clone(),
        // Upstream's component, by which people and programs find what the node says.
        events: Events::start(Recorder::new(transport.clone(), "kubelet", name)),
        dns_domain: context.config.cluster.dns_domain.clone(),
        tokens: Tokens::default(),
        directory: context.directory.clone(),
        paths,
    })
}

/// Tries until it works.
async fn again<T, E: std::fmt::Display>(what: &str, attempt: impl Fn() -> Result<T, E>) -> T {
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) => tracing::error!(%error, "cannot {what}, trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// An error with all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

#[cfg(test)]
mod tests;
