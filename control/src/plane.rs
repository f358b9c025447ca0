//! The roles of a control plane, started together and stopped together.

use crate::bootstrap;
use anyhow::{Context, anyhow};
use client::Transport;
use config::{Cluster, MachineConfig, Secrets};
use controllers::{PodNetwork, Signer};
use identity::Authority;
use identity::tls::{self, Callers, Trust};
use server::{Audit, InProcess, Nodes, PROTOCOLS, Server, Tokens};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// The loops finish what they have begun within this; what they have not is found again by the next start.
const DRAIN: Duration = Duration::from_secs(5);

/// A control plane that is ready to run: everything that can be wrong with its files was found.
pub struct Plane {
    store: Store,
    nodes: Nodes,
    tokens: Tokens,
    signer: Signer,
    tls: Arc<rustls::ServerConfig>,
    services: Vec<config::IpNet>,
    pods: Vec<PodNetwork>,
    cluster_ca: String,
    audit: Option<Audit>,
}

// === impl Plane ===

impl Plane {
    /// Reads the certificates.
    pub fn new(config: &MachineConfig, secrets: &Secrets, store: Store) -> anyhow::Result<Self> {
        let control = secrets.control_plane.as_ref().ok_or_else(|| {
            anyhow!(
                "machine {}: its secrets have no table [control-plane], which a control plane needs",
                config.machine.name
            )
        })?;
        let callers = Callers::MayBeOf(&secrets.cluster_ca);
        let tls = tls::server(&control.server, callers, &PROTOCOLS).context("prepare the API server's certificate")?;
        let towards_nodes = tls::client(
            Trust::Authority(&secrets.cluster_ca),
            Some(&control.node_client),
            &["http/1.1"],
        )
        .context("prepare the identity towards nodes")?;
        let issuer = format!("https://kubernetes.default.svc.{}", config.cluster.dns_domain);
        let tokens = Tokens::new(&control.service_account_key, issuer).context("prepare service account tokens")?;
        let authority = Authority::from_pem(&secrets.cluster_ca, &control.cluster_ca_key)
            .context("prepare the signer of certificate requests")?;
        Ok(Self {
            store,
            nodes: Nodes::new(towards_nodes),
            tokens,
            signer: Signer(Arc::new(authority)),
            tls,
            services: config.cluster.service_cidrs.clone(),
            pods: pod_networks(&config.cluster),
            cluster_ca: secrets.cluster_ca.clone(),
            audit: None,
        })
    }

    /// The same with an audit log, if there is one.
    pub fn audited(self, audit: Option<Audit>) -> Self {
        Self { audit, ..self }
    }

    /// Serves on `listener` until SIGTERM or SIGINT; `advertised` (host:port) is where clients are told to go.
    pub async fn run(self, listener: TcpListener, advertised: &str) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let server = Server::audited(self.store, self.nodes, self.tokens, advertised, self.audit);
        server.repair().await;
        let serving = tokio::spawn(server::listen(server.clone(), listener, self.tls, stop.clone()));
        let settings = controllers::Settings {
            pod_networks: self.pods,
            service_cidrs: self.services,
            cluster_ca: self.cluster_ca,
            advertised: advertised.parse().ok(),
            signer: Some(self.signer),
            account_tokens: Some(account_tokens(server.clone())),
        };
        bootstrap::populate(&component(&server, "system:apiserver"), &settings).await?;
        let loops = TaskTracker::new();
        loops.spawn(scheduler::run(
            component(&server, "system:kube-scheduler"),
            stop.clone(),
        ));
        let transport = component(&server, "system:kube-controller-manager");
        loops.spawn(controllers::run(transport, settings, stop.clone()));
        loops.close();
        info!(%advertised, "control plane ready");
        terminated().await?;
        info!("control plane stops");
        stop.cancel();
        if tokio::time::timeout(DRAIN, loops.wait()).await.is_err() {
            warn!(loops = loops.len(), "control plane gives up on loops that do not end");
        }
        serving.await.context("stop the API server")
    }
}

/// Where other machines reach this API server: the cluster's endpoint, or else its first fixed address.
pub fn advertised(config: &MachineConfig, port: u16) -> String {
    let fixed = config
        .network
        .interfaces
        .iter()
        .flat_map(|interface| &interface.addresses);
    let inside = |address: &&config::IpNet| {
        config
            .cluster
            .node_cidr
            .is_none_or(|cidr| cidr.contains(&address.addr()))
    };
    match fixed.into_iter().find(inside).map(config::IpNet::addr) {
        Some(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        Some(IpAddr::V4(address)) => format!("{address}:{port}"),
        None => config
            .cluster
            .endpoint
            .trim_start_matches("https://")
            .trim_end_matches('/')
            .to_owned(),
    }
}

fn account_tokens(server: Arc<Server>) -> controllers::AccountTokens {
    controllers::AccountTokens(Arc::new(move |of| {
        server.lasting_token(of.namespace, of.account, of.uid, of.secret)
    }))
}

fn component(server: &Arc<Server>, name: &str) -> Arc<dyn Transport> {
    Arc::new(InProcess::new(server.clone(), name))
}

async fn terminated() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// The pod networks, and how they are cut.
fn pod_networks(cluster: &Cluster) -> Vec<PodNetwork> {
    let cut = |network: &config::IpNet| PodNetwork {
        network: *network,
        part: cluster.node_part(network),
    };
    cluster.pod_cidrs.iter().map(cut).collect()
}
