//! Devices that plugins bring: they register on a socket, list what they have, and are asked before a container gets some of it
//! (upstream: pkg/kubelet/cm/devicemanager).

mod allocate;
mod checkpoint;
mod plugin;

pub use allocate::Reusable;
pub use checkpoint::Artifacts;

use crate::node::readiness::Readiness;
use crate::pods::topology::Nodes;
use checkpoint::{Checkpoint, Given};
use plugin::Client;
use proto::deviceplugin::v1beta1 as api;
use proto::deviceplugin::v1beta1::registration_server::{Registration, RegistrationServer};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// The version of the interface that is spoken.
const VERSION: &str = "v1beta1";
/// Where plugins register, in their folder.
const SOCKET: &str = "kubelet.sock";
/// How long a plugin's devices count for the node's capacity after it has gone (devicemanager `endpointStopGracePeriod`).
const GRACE: Duration = Duration::from_secs(5 * 60);
/// Before trying again what this machine itself refused.
const PAUSE: Duration = Duration::from_secs(5);

/// All devices of this node. Cheap to clone.
#[derive(Clone)]
pub struct Devices {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
    /// Woken when the node has another number of devices.
    node: Arc<watch::Sender<Readiness>>,
}

#[derive(Default)]
struct State {
    /// By the name of what they bring.
    plugins: BTreeMap<String, Plugin>,
    given: Given,
    /// Counts registrations, so that a plugin that was replaced says nothing any more.
    registrations: u64,
}

/// One device of a plugin's.
struct Device {
    /// Whether it works.
    is_healthy: bool,
    /// Near which NUMA nodes it is; none where that is not known.
    near: Nodes,
}

/// One plugin, or what is remembered of it.
struct Plugin {
    registration: u64,
    options: api::DevicePluginOptions,
    client: Option<Client>,
    /// By ID.
    devices: BTreeMap<String, Device>,
    gone_since: Option<Instant>,
}

// === impl Devices ===

impl Devices {
    /// Plugins in `folder`; what was given to whom is known again. `node` is woken by changes.
    pub fn new(folder: &Path, node: Arc<watch::Sender<Readiness>>) -> Self {
        let checkpoint = Checkpoint::read(folder);
        let known = checkpoint
            .resources
            .into_iter()
            .map(|resource| (resource, Plugin::remembered()));
        let state = State {
            plugins: known.collect(),
            given: checkpoint.given,
            registrations: 0,
        };
        let shared = Shared {
            folder: folder.to_owned(),
            state: Mutex::new(state),
            node,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Lets plugins register, for ever.
    pub async fn serve(self) {
        loop {
            match self.listen() {
                Ok(listener) => {
                    let server = tonic::transport::Server::builder().add_service(RegistrationServer::new(self.clone()));
                    if let Err(error) = server.serve_with_incoming(UnixListenerStream::new(listener)).await {
                        tracing::error!(%error, "device plugins cannot register any more, beginning anew");
                    }
                }
                Err(error) => tracing::error!(%error, "device plugins cannot register yet, trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sockets of before go, as upstream has it: plugins see that and register again.
    fn listen(&self) -> io::Result<UnixListener> {
        let folder = &self.shared.folder;
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)?.flatten() {
            let is_socket = entry
                .file_type()
                .is_ok_and(|kind| std::os::unix::fs::FileTypeExt::is_socket(&kind));
            if is_socket {
                fs::remove_file(entry.path())?;
            }
        }
        UnixListener::bind(folder.join(SOCKET))
    }

    /// For each resource how many there are, and how many of them work; none any more is a number, too.
    pub fn amounts(&self) -> Vec<(String, usize, usize)> {
        let state = self.lock();
        let amount = |(resource, plugin): (&String, &Plugin)| {
            let is_over = plugin.gone_since.is_some_and(|since| since.elapsed() >= GRACE);
            let all = if is_over { 0 } else { plugin.devices.len() };
            let healthy = plugin.devices.values().filter(|device| device.is_healthy).count();
            (resource.clone(), all, if is_over { 0 } else { healthy })
        };
        state.plugins.iter().map(amount).collect()
    }

    /// What a container gets with its devices, besides those.
    pub fn artifacts(&self, pod_uid: &str, container: &str) -> Vec<Artifacts> {
        let state = self.lock();
        let given = state.given.get(pod_uid).and_then(|pod| pod.get(container));
        given
            .into_iter()
            .flatten()
            .map(|(_, share)| share.artifacts.clone())
            .collect()
    }

    /// Takes a pod's devices back.
    pub fn take_back(&self, pod_uid: &str) {
        let mut state = self.lock();
        if state.given.remove(pod_uid).is_some() {
            self.save(&state);
        }
    }

    /// Takes all devices back that belong to none of these pods.
    pub fn keep_only(&self, pod_uids: &std::collections::BTreeSet<String>) {
        let mut state = self.lock();
        let before = state.given.len();
        state.given.retain(|uid, _| pod_uids.contains(uid));
        if state.given.len() < before {
            self.save(&state);
        }
    }

    fn register(&self, request: api::RegisterRequest) -> Result<(), Status> {
        let refused = |why: String| Err(Status::invalid_argument(why));
        let api::RegisterRequest {
            version,
            endpoint,
            resource_name,
            options,
        } = request;
        if version != VERSION {
            return refused(format!(
                "requested API version {version:?} is not supported by kubelet. Supported version is {VERSION:?}"
            ));
        }
        if !is_extended(&resource_name) {
            return refused(format!("the ResourceName {resource_name:?} is invalid"));
        }
        if endpoint.is_empty() || endpoint.contains('/') {
            return refused(format!("endpoint {endpoint:?} is no name of a socket beside {SOCKET}"));
        }
        let client = plugin::client(&self.shared.folder.join(&endpoint));
        let mut state = self.lock();
        state.registrations += 1;
        let registration = state.registrations;
        let plugin = Plugin {
            registration,
            options: options.unwrap_or_default(),
            client: Some(client.clone()),
            devices: BTreeMap::new(),
            gone_since: None,
        };
        state.plugins.insert(resource_name.clone(), plugin);
        self.save(&state);
        drop(state);
        tracing::info!(resource = %resource_name, endpoint, "device plugin registered");
        let devices = self.clone();
        tokio::spawn(async move { devices.follow(&resource_name, registration, client).await });
        Ok(())
    }

    /// Takes what a plugin lists until it has gone.
    async fn follow(&self, resource: &str, registration: u64, mut client: Client) {
        let why = match client.list_and_watch(api::Empty {}).await {
            Ok(stream) => {
                let mut lists = stream.into_inner();
                loop {
                    match lists.message().await {
                        Ok(Some(list)) => self.update(resource, registration, &list.devices),
                        Ok(None) => break "it closed its list".to_owned(),
                        Err(status) => break status.message().to_owned(),
                    }
                }
            }
            Err(status) => status.message().to_owned(),
        };
        tracing::warn!(resource, why, "device plugin has gone");
        self.change(resource, registration, |plugin| {
            plugin.devices.values_mut().for_each(|device| device.is_healthy = false);
            plugin.gone_since = Some(Instant::now());
            plugin.client = None;
        });
    }

    fn update(&self, resource: &str, registration: u64, listed: &[api::Device]) {
        let listed = listed.iter().map(|device| {
            let nodes = device.topology.iter().flat_map(|topology| &topology.nodes);
            let known = Device {
                is_healthy: device.health == "Healthy",
                near: nodes.filter_map(|node| u32::try_from(node.id).ok()).collect(),
            };
            (device.id.clone(), known)
        });
        self.change(resource, registration, |plugin| plugin.devices = listed.collect());
    }

    fn change(&self, resource: &str, registration: u64, change: impl FnOnce(&mut Plugin)) {
        let mut state = self.lock();
        let plugin = state.plugins.get_mut(resource);
        if let Some(plugin) = plugin.filter(|plugin| plugin.registration == registration) {
            change(plugin);
            // The same readiness again: the node's status is looked at anew.
            self.shared.node.send_modify(|_| {});
        }
    }

    fn save(&self, state: &State) {
        let checkpoint = Checkpoint {
            resources: state.plugins.keys().cloned().collect(),
            given: state.given.clone(),
        };
        if let Err(error) = checkpoint.write(&self.shared.folder) {
            tracing::error!(%error, "who has which devices cannot be written; it is lost with this agent");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl Registration for Devices {
    async fn register(&self, request: Request<api::RegisterRequest>) -> Result<Response<api::Empty>, Status> {
        Devices::register(self, request.into_inner())?;
        Ok(Response::new(api::Empty {}))
    }
}

// === impl Plugin ===

impl Plugin {
    /// Of before this agent; until it registers again it has nothing.
    fn remembered() -> Self {
        Self {
            registration: 0,
            options: api::DevicePluginOptions::default(),
            client: None,
            devices: BTreeMap::new(),
            gone_since: Some(Instant::now()),
        }
    }
}

/// Whether a name is one of somebody's own resources (upstream: apis/core/v1/helper `IsExtendedResourceName`).
fn is_extended(name: &str) -> bool {
    let Some((domain, rest)) = name.split_once('/') else {
        return false;
    };
    let is_native = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    let fits = |part: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !part.is_empty() && part.len() <= 253 && part.bytes().all(inside)
    };
    !is_native && !name.starts_with("requests.") && fits(domain) && fits(rest)
}
