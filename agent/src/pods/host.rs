//! What all pods of this node share: its sandboxes, images, network, API and paths.

use super::admit::is_static;
use super::directory::Directory;
use super::events::Events;
use super::hostname::{self, Names};
use super::images::Images;
use super::ledger::Ledger;
use super::objects::Objects;
use super::plan::dns::ClusterDns;
use super::plan::{Claim, Lookups, Machine, References};
use super::static_pods::Mirrors;
use super::tokens::Tokens;
use super::users::{self, Ranges};
use crate::csi::Drivers;
use crate::devices::Devices;
use crate::node::{Paths, Readiness};
use client::{Api, Cache, Key, Object, Transport};
use k8s_openapi::api::core::v1::{
    ConfigMap, Node, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, Secret, Service,
};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::storage::v1::CSIDriver;
use net::pods::{HostPort, PodNetwork};
use sandbox::Sandboxes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The handler by which runtime classes may name this node's own way to run pods.
const RUNTIME: &str = "pintle";
/// How long a container's start waits for the services after the agent began; then it is tried again like any other start.
const SERVICES_DEADLINE: Duration = Duration::from_secs(5);

/// Shared by all workers.
pub struct Host {
    /// What plans say about this machine.
    pub machine: Machine,
    /// Where things are.
    pub paths: Paths,
    /// Pods as the kernel has them.
    pub sandboxes: Sandboxes,
    /// Images.
    pub images: Images,
    /// The pods' network.
    pub network: Arc<PodNetwork>,
    /// The API server.
    pub transport: Arc<dyn Transport>,
    /// What people are told.
    pub events: Events,
    /// Where the cluster's names are asked for.
    pub dns: ClusterDns,
    /// Who its pods are.
    pub tokens: Tokens,
    /// Who runs what, for the node's face.
    pub directory: Arc<Directory>,
    /// Whose users are whose.
    pub users: Ranges,
    /// The cluster's services, by which containers' variables are named.
    pub services: Cache<Service>,
    /// ConfigMaps that pods refer to.
    pub config_maps: Objects<ConfigMap>,
    /// Secrets that pods refer to.
    pub secrets: Objects<Secret>,
    /// Which pods have a place.
    pub ledger: Arc<Ledger>,
    /// Storage drivers, and what they have mounted.
    pub drivers: Drivers,
    /// What the cluster says about storage drivers.
    pub csi_drivers: Cache<CSIDriver>,
    /// What device plugins have brought, and who has it.
    pub devices: Devices,
    /// Whether pods are welcome.
    pub readiness: Arc<watch::Sender<Readiness>>,
    /// The pods of the machine config.
    pub static_pods: watch::Receiver<Vec<config::StaticPod>>,
    /// What the API shows of them.
    pub mirrors: Mirrors,
    /// This node as the API had it lately.
    pub node: Arc<watch::Sender<Option<Arc<Node>>>>,
}

/// Why a sandbox has no network.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    /// Its supervisor is gone.
    #[error("open the network namespace of process {pid}")]
    Namespace {
        /// The supervisor.
        pid: u32,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// Addresses, links, routes.
    #[error(transparent)]
    Network(#[from] net::pods::PodNetworkError),
}

impl Host {
    /// Gives a sandbox addresses and ports of the machine, which are `owner`'s from then on, and connects its network namespace.
    pub async fn connect(
        &self,
        owner: &str,
        sandbox: &sandbox::Pod,
        ports: &[HostPort],
    ) -> Result<Vec<IpAddr>, NotConnected> {
        let pid = sandbox.pid();
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"));
        let namespace = namespace.map_err(|cause| NotConnected::Namespace { pid, cause })?;
        let addresses = self.network.give(owner).await?;
        self.network.attach(owner, namespace.as_fd(), &addresses).await?;
        self.network.open_ports(owner, &addresses, ports).await?;
        Ok(addresses)
    }

    /// What the pod is called; an error is a sentence.
    pub fn names(&self, pod: &Pod) -> Result<Names, String> {
        hostname::names(pod, &self.dns.domain, &self.machine.node)
    }

    /// The pod's folder: volumes and managed files.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.paths.kubelet.join(uid)
    }

    /// Where the upper layers of a pod's containers are.
    pub fn scratch_dir(&self, uid: &str) -> PathBuf {
        self.paths.pods.join(uid)
    }

    /// Where the pod's logs are.
    pub fn log_dir(&self, pod: &Pod) -> PathBuf {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let meta = &pod.metadata;
        self.paths.logs.join(format!(
            "{}_{}_{}",
            text(&meta.namespace),
            text(&meta.name),
            text(&meta.uid)
        ))
    }

    /// What a pod refers to, as the API server last said it; an error is one sentence. ConfigMaps and Secrets are followed from now
    /// on until [`Host::forget_objects`].
    pub async fn look_up(&self, pod: &Pod, references: &References) -> Result<Lookups, String> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let claims = self.claims(namespace, &references.claims).await;
        Ok(Lookups {
            config_maps: seen(&self.config_maps, uid, namespace, &references.config_maps).await?,
            secrets: seen(&self.secrets, uid, namespace, &references.secrets).await?,
            claims: claims.map_err(|error| crate::node::chain(&error))?,
            ..Lookups::default()
        })
    }

    /// Whether drivers or servers have, or may have, mounted something for a pod.
    pub fn serves_volumes(&self, pod_uid: &str) -> bool {
        self.drivers.serves(pod_uid) || crate::nfs::holds(&self.pod_dir(pod_uid))
    }

    /// Returns when none of them has anything of the pod any more; `told` hears what goes wrong meanwhile.
    pub async fn release_volumes(&self, pod_uid: &str, told: impl Fn(String)) {
        let dir = self.pod_dir(pod_uid);
        tokio::join!(self.drivers.release(pod_uid, &told), crate::nfs::release(&dir, &told));
    }

    /// A pod refers to nothing any more.
    pub fn forget_objects(&self, pod_uid: &str) {
        self.config_maps.forget(pod_uid);
        self.secrets.forget(pod_uid);
    }

    /// Whether the pod's runtime class, if it names one, means the only runtime that there is, and whether that one can do what
    /// the pod asks of it; an error is a sentence.
    pub async fn has_runtime(&self, spec: &PodSpec) -> Result<(), String> {
        if spec.host_users == Some(false) && !users::are_possible() {
            return Err("the pod sets hostUsers: false, and this node's kernel makes no user namespaces".to_owned());
        }
        let Some(name) = spec.runtime_class_name.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        match Api::<RuntimeClass>::all(self.transport.clone()).get(name).await {
            Ok(class) if class.handler.is_empty() || class.handler == RUNTIME => Ok(()),
            Ok(class) => Err(format!(
                "failed to get sandbox runtime: no runtime for {:?} is configured",
                class.handler
            )),
            Err(error) if error.is_not_found() => Err(format!("RuntimeClass {name:?} not found")),
            Err(error) => Err(crate::node::chain(&error)),
        }
    }

    /// The services that a pod's containers are told of: the API server's own, and those of its namespace unless it wants no
    /// links; an error is a sentence (upstream's). A static pod does not wait for the API, and learns of what is known.
    pub async fn services_of(&self, pod: &Pod, spec: &PodSpec) -> Result<Vec<Arc<Service>>, String> {
        let ready = tokio::time::timeout(SERVICES_DEADLINE, self.services.ready());
        if !is_static(pod) && ready.await != Ok(true) {
            return Err("services have not yet been read at least once, cannot construct envvars".to_owned());
        }
        let mut services: Vec<_> = self
            .services
            .get(&Key::new("default", "kubernetes"))
            .into_iter()
            .collect();
        if spec.enable_service_links != Some(false) {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            services.extend(self.services.list_in(namespace));
        }
        Ok(services)
    }

    async fn claims(
        &self,
        namespace: &str,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Option<Claim>>, client::Error> {
        let api = Api::<PersistentVolumeClaim>::namespaced(self.transport.clone(), namespace);
        let mut found = BTreeMap::new();
        for (name, claim) in read(api, names).await? {
            let Some(claim) = claim else {
                found.insert(name, None);
                continue;
            };
            let bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
            let wanted: BTreeSet<String> = bound.filter(|name| !name.is_empty()).into_iter().collect();
            let volumes = read(Api::<PersistentVolume>::all(self.transport.clone()), &wanted).await?;
            let volume = volumes.into_values().flatten().next();
            found.insert(name, Some(Claim { claim, volume }));
        }
        Ok(found)
    }

    /// The same for one pod, with its tokens.
    pub async fn look_up_for(&self, pod: &Pod, references: &References) -> Result<Lookups, String> {
        let tokens = self.tokens.of(&self.transport, pod, &references.tokens).await;
        Ok(Lookups {
            tokens: tokens.map_err(|error| crate::node::chain(&error))?,
            ..self.look_up(pod, references).await?
        })
    }
}

async fn seen<K: Object + k8s_openapi::Resource + Clone>(
    objects: &Objects<K>,
    pod_uid: &str,
    namespace: &str,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, Option<K>>, String> {
    let mut found = BTreeMap::new();
    for name in names {
        let object = objects.get(pod_uid, namespace, name).await?;
        found.insert(name.clone(), object.map(Arc::unwrap_or_clone));
    }
    Ok(found)
}

async fn read<K: Object>(api: Api<K>, names: &BTreeSet<String>) -> Result<BTreeMap<String, Option<K>>, client::Error> {
    let mut found = BTreeMap::new();
    for name in names {
        let object = match api.get(name).await {
            Ok(object) => Some(object),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        found.insert(name.clone(), object);
    }
    Ok(found)
}
