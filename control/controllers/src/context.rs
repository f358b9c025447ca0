//! What every controller is given: the transport, the settings and the caches that several of them read.

use crate::certificates::Signer;
use crate::every_kind::EveryKind;
use crate::pod::{BY_NODE, Pod};
use crate::service_account_tokens::AccountTokens;
use client::{Api, Cache, ListOptions, Object, Recorder, Transport};
use ipnet::IpNet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where nodes keep their heartbeats.
const NODE_LEASES: &str = "kube-node-lease";

/// A network of pods that is cut into nodes' parts.
#[derive(Clone, Copy, Debug)]
pub struct PodNetwork {
    /// The whole.
    pub network: IpNet,
    /// Prefix length of a part.
    pub part: u8,
}

/// What the machine config decides.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The cluster's pod networks, at most one an address family; nodes get parts of each, in this order.
    pub pod_networks: Vec<PodNetwork>,
    /// The cluster's service networks; the Service `kubernetes` has the first address of the first one.
    pub service_cidrs: Vec<IpNet>,
    /// The certificate of the CA that proves the API server to pods, as PEM.
    pub cluster_ca: String,
    /// Where clients reach the API server; none if that is no address.
    pub advertised: Option<SocketAddr>,
    /// Signs certificate requests; none leaves them to somebody else.
    pub signer: Option<Signer>,
    /// Signs the tokens that Secrets hold; none leaves them to somebody else.
    pub account_tokens: Option<AccountTokens>,
}

/// Shared by all controllers; cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) stop: CancellationToken,
    pub(crate) namespaces: Cache<Namespace>,
    pub(crate) nodes: Cache<Node>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) leases: Cache<Lease>,
    pub(crate) kinds: EveryKind,
    pub(crate) events: Recorder,
}

impl Context {
    pub(crate) fn start(transport: Arc<dyn Transport>, settings: Settings, stop: CancellationToken) -> Context {
        let pods = cache(Api::<Pod>::at(transport.clone(), &Pod::resource(), None), &stop);
        pods.index(BY_NODE, |pod| pod.node().map(str::to_owned).into_iter().collect());
        Context {
            namespaces: cache(Api::all(transport.clone()), &stop),
            nodes: cache(Api::all(transport.clone()), &stop),
            pods,
            leases: cache(Api::namespaced(transport.clone(), NODE_LEASES), &stop),
            kinds: EveryKind::start(transport.clone(), stop.clone()),
            events: Recorder::new(transport.clone(), "controllers", ""),
            settings: Arc::new(settings),
            transport,
            stop,
        }
    }
}

/// A cache of all that `api` gives.
pub(crate) fn cache<K: Object>(api: Api<K>, stop: &CancellationToken) -> Cache<K> {
    Cache::start(api, ListOptions::default(), stop.clone())
}
