//! A storage driver of the tests' own: its volumes are memory, and it remembers what it was asked.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use proto::csi::v1 as api;
use proto::csi::v1::node_server::{Node, NodeServer};
use proto::pluginregistration::v1 as registration;
use proto::pluginregistration::v1::registration_server::{Registration, RegistrationServer};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// A volume whose publishing never ends.
pub const HANGS: &str = "hangs";

/// What it was asked, and what it was told of its registration.
#[derive(Clone, Default)]
pub struct Heard {
    lines: Arc<Mutex<Vec<String>>>,
}

/// A driver that runs.
pub struct Driver {
    pub name: String,
    pub heard: Heard,
    folder: PathBuf,
    registry: PathBuf,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Service {
    name: String,
    endpoint: PathBuf,
    heard: Heard,
}

// === impl Heard ===

impl Heard {
    fn say(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    pub fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Lines that begin like this.
    pub fn of(&self, start: &str) -> Vec<String> {
        let mut lines = self.all();
        lines.retain(|line| line.starts_with(start));
        lines
    }
}

// === impl Driver ===

impl Driver {
    /// Runs and offers itself; `folder` is the node's folder of plugins, `registry` where plugins register.
    pub fn start(name: &str, folder: &Path, registry: &Path) -> Self {
        let mut driver = Self {
            name: name.to_owned(),
            heard: Heard::default(),
            folder: folder.join(name),
            registry: registry.to_owned(),
            runtime: None,
        };
        driver.begin();
        driver
    }

    /// Runs again.
    pub fn begin(&mut self) {
        fs::create_dir_all(&self.folder).unwrap();
        fs::create_dir_all(&self.registry).unwrap();
        let endpoint = self.folder.join("csi.sock");
        let service = Service {
            name: self.name.clone(),
            endpoint: endpoint.clone(),
            heard: self.heard.clone(),
        };
        let runtime = Runtime::new().unwrap();
        let listen = |path: &Path| {
            let _ = fs::remove_file(path);
            UnixListenerStream::new(UnixListener::bind(path).unwrap())
        };
        let _inside = runtime.enter();
        let driver = tonic::transport::Server::builder().add_service(NodeServer::new(service.clone()));
        runtime.spawn(driver.serve_with_incoming(listen(&endpoint)));
        let registrar = tonic::transport::Server::builder().add_service(RegistrationServer::new(service));
        runtime.spawn(registrar.serve_with_incoming(listen(&self.registration())));
        drop(_inside);
        self.runtime = Some(runtime);
    }

    /// Ends at once; its sockets stay, as those of a process that was killed do.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Ends, and takes its offer back.
    pub fn leave(&mut self) {
        self.kill();
        fs::remove_file(self.registration()).unwrap();
    }

    fn registration(&self) -> PathBuf {
        self.registry.join(format!("{}-reg.sock", self.name))
    }
}

#[tonic::async_trait]
impl Registration for Service {
    async fn get_info(
        &self,
        _: Request<registration::InfoRequest>,
    ) -> Result<Response<registration::PluginInfo>, Status> {
        Ok(Response::new(registration::PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: self.name.clone(),
            endpoint: self.endpoint.display().to_string(),
            supported_versions: vec!["1.0.0".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<registration::RegistrationStatus>,
    ) -> Result<Response<registration::RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        self.heard
            .say(format!("registered {} {}", status.plugin_registered, status.error));
        Ok(Response::new(registration::RegistrationStatusResponse {}))
    }
}

#[tonic::async_trait]
impl Node for Service {
    async fn node_stage_volume(
        &self,
        request: Request<api::NodeStageVolumeRequest>,
    ) -> Result<Response<api::NodeStageVolumeResponse>, Status> {
        let asked = request.into_inner();
        let id = &asked.volume_id;
        let told = told(&asked.publish_context, &asked.secrets, &asked.volume_context);
        self.heard.say(format!(
            "stage {id} {} {told}",
            spoken(asked.volume_capability.as_ref())
        ));
        if id == "refused" {
            return Err(Status::internal("the disk is on fire"));
        }
        let path = Path::new(&asked.staging_target_path);
        if !is_mounted(path) && !is_block(asked.volume_capability.as_ref()) {
            memory(path, &asked.volume_context);
        }
        Ok(Response::new(api::NodeStageVolumeResponse {}))
    }

    async fn node_unstage_volume(
        &self,
        request: Request<api::NodeUnstageVolumeRequest>,
    ) -> Result<Response<api::NodeUnstageVolumeResponse>, Status> {
        let asked = request.into_inner();
        self.heard.say(format!("unstage {}", asked.volume_id));
        unmount(Path::new(&asked.staging_target_path));
        Ok(Response::new(api::NodeUnstageVolumeResponse {}))
    }

    async fn node_publish_volume(
        &self,
        request: Request<api::NodePublishVolumeRequest>,
    ) -> Result<Response<api::NodePublishVolumeResponse>, Status> {
        let asked = request.into_inner();
        let id = &asked.volume_id;
        let told = told(&asked.publish_context, &asked.secrets, &asked.volume_context);
        let capability = asked.volume_capability.as_ref();
        let readonly = if asked.readonly { " readonly" } else { "" };
        self.heard
            .say(format!("publish {id} {}{readonly} {told}", spoken(capability)));
        if id == HANGS {
            std::future::pending::<()>().await;
        }
        let target = Path::new(&asked.target_path);
        if is_mounted(target) {
            return Ok(Response::new(api::NodePublishVolumeResponse {}));
        }
        if is_block(capability) {
            fs::write(target, "").unwrap();
            bind(Path::new("/dev/zero"), target);
        } else if asked.staging_target_path.is_empty() {
            fs::create_dir(target).unwrap();
            memory(target, &asked.volume_context);
        } else {
            fs::create_dir(target).unwrap();
            bind(Path::new(&asked.staging_target_path), target);
        }
        Ok(Response::new(api::NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<api::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<api::NodeUnpublishVolumeResponse>, Status> {
        let asked = request.into_inner();
        self.heard.say(format!("unpublish {}", asked.volume_id));
        let target = Path::new(&asked.target_path);
        unmount(target);
        let _ = fs::remove_file(target);
        let _ = fs::remove_dir(target);
        Ok(Response::new(api::NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_volume_stats(
        &self,
        _: Request<api::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<api::NodeGetVolumeStatsResponse>, Status> {
        let usage = |unit: api::volume_usage::Unit, total, used| api::VolumeUsage {
            available: total - used,
            total,
            used,
            unit: unit.into(),
        };
        let usage = vec![
            usage(api::volume_usage::Unit::Bytes, 1000, 400),
            usage(api::volume_usage::Unit::Inodes, 100, 7),
        ];
        Ok(Response::new(api::NodeGetVolumeStatsResponse {
            usage,
            volume_condition: None,
        }))
    }

    async fn node_expand_volume(
        &self,
        request: Request<api::NodeExpandVolumeRequest>,
    ) -> Result<Response<api::NodeExpandVolumeResponse>, Status> {
        let asked = request.into_inner();
        let bytes = asked.capacity_range.map_or(0, |range| range.required_bytes);
        self.heard.say(format!("expand {} {bytes}", asked.volume_id));
        Ok(Response::new(api::NodeExpandVolumeResponse { capacity_bytes: bytes }))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<api::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<api::NodeGetCapabilitiesResponse>, Status> {
        use api::node_service_capability::{Rpc, Type, rpc};
        let all = [
            rpc::Type::StageUnstageVolume,
            rpc::Type::GetVolumeStats,
            rpc::Type::ExpandVolume,
        ];
        let capability = |kind: rpc::Type| api::NodeServiceCapability {
            r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })),
        };
        Ok(Response::new(api::NodeGetCapabilitiesResponse {
            capabilities: all.map(capability).to_vec(),
        }))
    }

    async fn node_get_info(
        &self,
        _: Request<api::NodeGetInfoRequest>,
    ) -> Result<Response<api::NodeGetInfoResponse>, Status> {
        let segments = HashMap::from([(format!("topology.{}/node", self.name), "n1".to_owned())]);
        Ok(Response::new(api::NodeGetInfoResponse {
            node_id: "node-of-the-driver".to_owned(),
            max_volumes_per_node: 5,
            accessible_topology: Some(api::Topology { segments }),
        }))
    }
}

/// Memory that holds a file with what the volume says.
fn memory(path: &Path, attributes: &HashMap<String, String>) {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    let word = attributes.get("word").cloned().unwrap_or_default();
    fs::write(path.join("word"), format!("{word}\n")).unwrap();
}

fn bind(from: &Path, to: &Path) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

fn unmount(path: &Path) {
    if is_mounted(path) {
        umount2(path, MntFlags::MNT_DETACH).unwrap();
    }
}

fn is_mounted(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let path = path.to_str().unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == Some(path))
}

fn is_block(capability: Option<&api::VolumeCapability>) -> bool {
    use api::volume_capability::AccessType;
    matches!(
        capability.and_then(|capability| capability.access_type.as_ref()),
        Some(AccessType::Block(_))
    )
}

fn spoken(capability: Option<&api::VolumeCapability>) -> String {
    use api::volume_capability::AccessType;
    let capability = capability.expect("the node says how it will use the volume");
    let mode = capability.access_mode.as_ref().unwrap().mode();
    match capability.access_type.as_ref().unwrap() {
        AccessType::Block(_) => format!("block {mode:?}"),
        AccessType::Mount(mount) => format!("{} [{}] {mode:?}", mount.fs_type, mount.mount_flags.join(",")),
    }
}

/// All words, in order.
fn told(
    context: &HashMap<String, String>,
    secrets: &HashMap<String, String>,
    attributes: &HashMap<String, String>,
) -> String {
    let mut words: Vec<String> = [("context", context), ("secret", secrets), ("attribute", attributes)]
        .into_iter()
        .flat_map(|(kind, words)| words.iter().map(move |(key, value)| format!("{kind}:{key}={value}")))
        .collect();
    words.sort();
    words.join(" ")
}
