//! This machine as a Kubernetes node: its Node object, its Lease, its face on :10250, and the pods bound to it.

mod context;
pub mod face;
mod facts;
mod lease;
mod pod_cidrs;
pub mod readiness;
mod registration;

pub use context::{NodeContext, Paths};
pub use readiness::{Pressures, Readiness};

use crate::pods::cpus::{self, Cpus};
use crate::pods::events::Events;
use crate::pods::eviction::Evictor;
use crate::pods::host::Host;
use crate::pods::image_check;
use crate::pods::objects::{Lines, Objects, Told};
use crate::pods::plan::Machine;
use crate::pods::plan::dns::ClusterDns;
use crate::pods::static_pods::Mirrors;
use crate::pods::tokens::Tokens;
use crate::pods::topology::Topology;
use crate::pods::users::Ranges;
use client::{Api, Cache, Http, Identity, ListOptions, Recorder, Transport};
use facts::Facts;
use net::pods::PodNetwork;
use sandbox::{Sandboxes, Settings};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

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
    let obstacle = |why: Option<&str>| {
        let why = why.map(str::to_owned);
        context.readiness.send_modify(|readiness| readiness.obstacle = why);
    };
    obstacle(Some("the node has no pod CIDR yet"));
    tokio::spawn(register(context.clone(), transport.clone()));
    let network = network(&context, &transport).await;
    obstacle(None);
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
    tokio::spawn(crate::pods::groups::run(host.clone()));
    let evictor = Evictor {
        context: context.clone(),
        events: host.events.clone(),
    };
    tokio::spawn(evictor.run());
    tokio::spawn(tell_of_shutdown(context.clone(), host.events.clone()));
    tokio::spawn(crate::cri::serve(host.clone()));
    tokio::spawn(context.devices.clone().serve());
    let name = context.config.machine.name.clone();
    tokio::spawn(context.drivers.clone().serve(transport.clone(), name));
    loop {
        crate::pods::run(host.clone()).await;
        tracing::error!("the watch of this node's pods ended, beginning anew");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Says once that the machine goes down.
async fn tell_of_shutdown(context: NodeContext, events: Events) {
    let mut readiness = context.readiness.subscribe();
    if readiness.wait_for(|readiness| readiness.shutting_down).await.is_ok() {
        let message = "Shutdown manager detected shutdown event".to_owned();
        events.about_node("Normal", "NodeShutdown", message);
    }
}

/// The Node, then its heartbeat and its status, for ever.
async fn register(context: NodeContext, transport: Arc<dyn Transport>) {
    let facts = Facts::gather(&context).await;
    let node = registration::register(&context, &transport, &facts).await;
    tracing::info!(node = %context.config.machine.name, "node is registered");
    (context.marks)("node-registered");
    let _beating = lease::start(context.clone(), node.metadata.uid.unwrap_or_default());
    let marks = context.marks.clone();
    registration::report(context, transport, move || marks("node-ready")).await
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
        match PodNetwork::open(&context.paths.boot, &cidrs, &context.config.cluster.pod_cidrs).await {
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
                cpu_milli: signed(facts.allocatable_cpu()),
                memory: signed(facts.allocatable_memory()),
                memory_capacity: signed(facts.memory),
                ephemeral_storage: signed(facts.allocatable_disk()),
                huge_pages: facts
                    .huge_pages
                    .iter()
                    .filter(|(_, bytes)| **bytes > 0)
                    .map(|(size, bytes)| (size.clone(), signed(*bytes)))
                    .collect(),
                swap: match context.config.node.swap {
                    config::Swap::None => 0,
                    config::Swap::Limited => signed(facts.swap),
                },
                pods: context.config.node.max_pods.into(),
                cpus: match context.config.node.cpu_policy {
                    config::CpuPolicy::None => Cpus::default(),
                    config::CpuPolicy::Static => {
                        let reserved = context.config.node.reserved_cpu_millis.div_ceil(1000);
                        Cpus::of_machine(reserved as usize)
                    }
                },
                topology: Topology::new(
                    context.config.node.topology_policy,
                    context.config.node.topology_scope,
                    cpus::nodes_of_machine(),
                ),
                pod_pids: Some(context.config.node.pod_pids).filter(|pids| *pids > 0),
                ips: facts.ips,
            };
        }
        tracing::warn!("this machine has no address in the cluster's node network yet");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
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
    image_check::start(context.images.clone(), &paths.boot);
    let name = &context.config.machine.name;
    let ledger = context.ledger.clone();
    let (own, fallback) = (context.clone(), transport.clone());
    let lines = Lines::new(move || connect(&own).unwrap_or_else(|_| fallback.clone()));
    let lines = Arc::new(lines);
    let told: Told = Arc::new(move |pod_uid: &str| ledger.refresh(pod_uid));
    Ok(Host {
        config_maps: Objects::new(lines.clone(), "configmap", told.clone()),
        secrets: Objects::new(lines, "secret", told),
        machine: machine.clone(),
        sandboxes: Sandboxes::open(settings)?,
        images: context.images.clone(),
        network: network.clone(),
        transport: transport.clone(),
        // Upstream's component, by which people and programs find what the node says.
        events: Events::start(Recorder::new(transport.clone(), "kubelet", name), name),
        dns: ClusterDns {
            servers: context.config.cluster.dns(),
            domain: context.config.cluster.dns_domain.clone(),
        },
        tokens: Tokens::default(),
        directory: context.directory.clone(),
        users: Ranges::open(&paths.kubelet),
        services: Cache::start(
            Api::all(transport.clone()),
            ListOptions::default(),
            CancellationToken::new(),
        ),
        ledger: context.ledger.clone(),
        drivers: context.drivers.clone(),
        csi_drivers: Cache::start(
            Api::all(transport.clone()),
            ListOptions::default(),
            CancellationToken::new(),
        ),
        devices: context.devices.clone(),
        readiness: context.readiness.clone(),
        static_pods: context.static_pods.subscribe(),
        mirrors: Mirrors::default(),
        node: context.node.clone(),
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
