//! CRI v1 on a Unix socket: `crictl`, `critest` and an upstream kubelet drive this node's sandboxes by it, with the same calls to
//! `sandbox`, `oci` and `net` that the pods' workers make. What it makes is no pod of the API, and no worker touches it.

mod containers;
mod describe;
mod exec;
mod images;
mod metrics;
mod plan;
mod record;
mod runtime;
mod sandboxes;
mod stats;
mod status;
mod streams;

use crate::machine::refuse;
use crate::node::{Paths, chain};
use crate::pods::host::Host;
use proto::cri::pintle::cri::v1::{Container, Sandbox};
use proto::cri::runtime::v1::ContainerEventResponse;
use proto::cri::runtime::v1::image_service_server::ImageServiceServer;
use proto::cri::runtime::v1::runtime_service_server::RuntimeServiceServer;
use record::{Found, Shelf};
use sandbox::{Sandboxes, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use streams::Streams;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Status;

/// Before trying again what this machine itself refused.
const PAUSE: Duration = Duration::from_secs(5);
/// Events that a listener may lag behind; one that lags more is told that it has missed some.
const EVENTS: usize = 1024;

/// All that its calls need.
pub struct Cri {
    host: Arc<Host>,
    /// With a folder of their own, so that the pods' workers do not find them.
    running: Sandboxes,
    sandboxes: Shelf<Sandbox>,
    containers: Shelf<Container>,
    /// Sandboxes whose supervisor was started and has not been cleared away, by ID.
    live: Mutex<BTreeMap<String, sandbox::Pod>>,
    streams: Arc<Streams>,
    /// Held while what a supervisor said is noted and told: nobody hears of an end before its beginning.
    noting: Mutex<()>,
    events: broadcast::Sender<ContainerEventResponse>,
}

/// The same, as both services have it.
struct Calls(Arc<Cri>);

/// Who has addresses of the pods' network on behalf of CRI.
pub fn address_owners(paths: &Paths) -> Vec<String> {
    let sandboxes = record::read::<Sandbox>(&paths.cri.join("sandboxes"));
    sandboxes.keys().map(|id| sandboxes::address_owner(id)).collect()
}

/// UIDs of the pods that CRI was told of; their logs are its callers' to remove.
pub fn pod_uids(paths: &Paths) -> BTreeSet<String> {
    let sandboxes = record::read::<Sandbox>(&paths.cri.join("sandboxes"));
    let uids = sandboxes
        .into_values()
        .filter_map(|sandbox| Some(sandbox.config?.metadata?.uid));
    uids.collect()
}

/// Serves for ever; what fails is logged and tried again.
pub async fn serve(host: Arc<Host>) {
    let socket = host.paths.cri_socket.clone();
    let cri = loop {
        match Cri::open(host.clone()).await {
            Ok(cri) => break cri,
            Err(error) => tracing::error!(error = %chain(&*error), "CRI cannot be served, trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    loop {
        match listen(&socket) {
            Ok(listener) => {
                tracing::info!(socket = %socket.display(), "CRI is served");
                let server = tonic::transport::Server::builder()
                    .add_service(RuntimeServiceServer::new(Calls(cri.clone())))
                    .add_service(ImageServiceServer::new(Calls(cri.clone())));
                if let Err(error) = server.serve_with_incoming(UnixListenerStream::new(listener)).await {
                    tracing::error!(error = %chain(&error), "CRI is served no more, beginning anew");
                }
            }
            Err(error) => tracing::error!(socket = %socket.display(), %error, "CRI cannot listen, trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// For root alone: whoever speaks here may do anything on the machine.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let new = socket.with_extension("new");
    let _ = fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
    fs::rename(&new, socket)?;
    Ok(listener)
}

// === impl Calls ===

impl Calls {
    /// Does it to its end, even if the caller goes away meanwhile: a half of it would be nobody's.
    async fn to_its_end<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Cri>) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>> + Send + 'static,
    {
        let done = tokio::spawn(work(self.0.clone())).await;
        done.unwrap_or_else(|error| Err(refuse::failed(error)))
    }
}

impl Deref for Calls {
    type Target = Cri;

    fn deref(&self) -> &Cri {
        &self.0
    }
}

// === impl Cri ===

impl Cri {
    /// Finds what outlived an agent and notes what did not.
    async fn open(host: Arc<Host>) -> Result<Arc<Self>, Box<dyn std::error::Error + Send + Sync>> {
        let paths = &host.paths;
        let settings = Settings {
            root: paths.cri_run.clone(),
            pod_init: paths.pod_init.clone(),
            ..Settings::default()
        };
        let cri = Arc::new(Self {
            running: Sandboxes::open(settings)?,
            sandboxes: Shelf::open(&paths.cri.join("sandboxes"))?,
            containers: Shelf::open(&paths.cri.join("containers"))?,
            live: Mutex::default(),
            streams: Streams::start().await?,
            noting: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
            host,
        });
        for container in cri.containers.all() {
            cri.hold_image(&container);
        }
        for (plan, pod) in cri.running.adopt_all().await? {
            match cri.sandboxes.find(&plan.id) {
                Found::One(record) if record.id == plan.id => cri.watch(&plan.id, pod),
                // Its maker was killed before it could say so to anybody.
                Found::One(_) | Found::None | Found::Many => {
                    if let Err(error) = pod.destroy().await {
                        tracing::warn!(sandbox = %plan.id, %error, "a sandbox that nobody knows stays");
                    }
                }
            }
        }
        let live: BTreeSet<String> = cri.live().keys().cloned().collect();
        for sandbox in cri.sandboxes.all() {
            if !live.contains(&sandbox.id) {
                cri.lost(&sandbox.id);
            }
        }
        Ok(cri)
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<String, sandbox::Pod>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sandbox by its ID or the beginning of it.
    fn sandbox(&self, id: &str) -> Result<Sandbox, Status> {
        one(self.sandboxes.find(id), "pod sandbox", id)
    }

    /// A container by its ID or the beginning of it.
    fn container(&self, id: &str) -> Result<Container, Status> {
        one(self.containers.find(id), "container", id)
    }

    /// A sandbox that runs.
    fn running(&self, id: &str) -> Result<sandbox::Pod, Status> {
        let stopped = self.sandboxes.find(id);
        let is_stopped = matches!(stopped, Found::One(record) if record.stopped);
        let live = self.live().get(id).cloned().filter(|_| !is_stopped);
        live.ok_or_else(|| refuse::not_now(format!("pod sandbox {id:?} is not running")))
    }

    /// A container that runs, and where.
    fn running_container(&self, id: &str) -> Result<(Container, sandbox::Pod), Status> {
        let container = self.container(id)?;
        match status::state(&container) {
            status::State::Running => {
                let pod = self.running(&container.sandbox_id)?;
                Ok((container, pod))
            }
            other => Err(refuse::not_now(format!(
                "container {:?} is in state {}, not running",
                container.id,
                other.as_str_name()
            ))),
        }
    }
}

fn one<R>(found: Found<R>, what: &str, id: &str) -> Result<R, Status> {
    match found {
        Found::One(record) => Ok(record),
        Found::None => Err(Status::not_found(format!("no {what} {id:?}"))),
        Found::Many => Err(refuse::invalid(format!("more than one {what} begins with {id:?}"))),
    }
}

/// One that is there, or nothing: for calls that are content with its absence.
fn if_there<R>(found: Result<R, Status>) -> Result<Option<R>, Status> {
    match found {
        Ok(record) => Ok(Some(record)),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// 128 bits that nobody has had before.
fn new_id() -> Result<String, Status> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(refuse::failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn now() -> i64 {
    nanoseconds(SystemTime::now())
}
