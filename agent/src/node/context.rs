//! What the node part of the agent is started with.

use super::readiness::Readiness;
use crate::csi::{self, Drivers};
use crate::devices::Devices;
use crate::pods::directory::Directory;
use crate::pods::images::{self, Images};
use crate::pods::ledger::Ledger;
use config::{MachineConfig, Secrets, StaticPod};
use k8s_openapi::api::core::v1::Node;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Puts a named point in time into the boot timeline; may be called from any task.
pub type Marks = Arc<dyn Fn(&str) + Send + Sync>;

/// Upstream's port of the kubelet.
pub const FACE_PORT: u16 = 10250;

/// All that the node part needs to know; decided by whoever found the machine config.
#[derive(Clone)]
pub struct NodeContext {
    /// The machine config, checked.
    pub config: Arc<MachineConfig>,
    /// This machine's identities.
    pub secrets: Arc<Secrets>,
    /// Where it keeps things.
    pub paths: Paths,
    /// The boot timeline.
    pub marks: Marks,
    /// The images on this machine.
    pub images: Images,
    /// Which pods it has right now; what uses images.
    pub directory: Arc<Directory>,
    /// Which pods have a place on it.
    pub ledger: Arc<Ledger>,
    /// What device plugins have brought.
    pub devices: Devices,
    /// Storage drivers, and what they have mounted.
    pub drivers: Drivers,
    /// Whether pods are welcome.
    pub readiness: Arc<watch::Sender<Readiness>>,
    /// Its Node as the API had it lately.
    pub node: Arc<watch::Sender<Option<Arc<Node>>>>,
    /// The pods that the machine config has, and each change of them.
    pub static_pods: Arc<watch::Sender<Vec<StaticPod>>>,
    /// Where the node's face listens; upstream's port of the kubelet, [`FACE_PORT`], on every Pintle machine.
    pub face_port: u16,
}

impl NodeContext {
    /// A node with no pods yet; its images are where `paths` says.
    pub fn new(config: MachineConfig, secrets: Secrets, paths: Paths, marks: Marks) -> Self {
        let directory = Arc::new(Directory::default());
        let registries = images::registries(&config, &secrets);
        let readiness = Arc::new(watch::Sender::new(Readiness::default()));
        let node = Arc::new(watch::Sender::new(None));
        let places = csi::Places {
            pods: paths.kubelet.clone(),
            plugins: paths.plugins.clone(),
            registry: paths.plugins_registry.clone(),
        };
        Self {
            drivers: Drivers::new(places, readiness.clone(), node.clone()),
            devices: Devices::new(&paths.device_plugins, readiness.clone()),
            static_pods: Arc::new(watch::Sender::new(config.node.static_pods.clone())),
            images: Images::new(&paths.oci, registries, directory.clone()),
            config: Arc::new(config),
            secrets: Arc::new(secrets),
            paths,
            marks,
            directory,
            ledger: Arc::default(),
            readiness,
            node,
            face_port: FACE_PORT,
        }
    }
}

/// Where the node part keeps things: absolute folders and files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Container images and their unpacked layers.
    pub oci: PathBuf,
    /// Upper layers of containers.
    pub pods: PathBuf,
    /// The ranges that the node's pods have addresses of.
    pub net: PathBuf,
    /// Container logs, `<namespace>_<name>_<uid>/<container>/<attempt>.log`.
    pub logs: PathBuf,
    /// Pod folders: volumes, managed files, termination messages (the kubelet's `--root-dir`, plus `pods`).
    pub kubelet: PathBuf,
    /// Sockets of device plugins, and who has which devices.
    pub device_plugins: PathBuf,
    /// What storage drivers mount once for all pods, and their own sockets.
    pub plugins: PathBuf,
    /// Sockets on which storage drivers register.
    pub plugins_registry: PathBuf,
    /// System call filters that somebody has put on this node.
    pub seccomp: PathBuf,
    /// Files of vendors of devices, each folder's over those of the one before.
    pub cdi: [PathBuf; 2],
    /// What one agent leaves to the next, and no boot to the next one.
    pub boot: PathBuf,
    /// State folders of running pods, the sandbox's.
    pub run: PathBuf,
    /// Records and upper layers of what was asked for by CRI.
    pub cri: PathBuf,
    /// State folders of what runs of that, the sandbox's.
    pub cri_run: PathBuf,
    /// Where CRI is spoken.
    pub cri_socket: PathBuf,
    /// The machine's name servers, given to pods with `dnsPolicy: Default`.
    pub resolv_conf: PathBuf,
    /// The program that supervises a pod.
    pub pod_init: PathBuf,
}

impl Paths {
    /// The paths of a Pintle machine.
    pub fn machine() -> Self {
        Self::below(Path::new("/"))
    }

    /// The same tree below another folder: for tests, and for more than one node on one machine.
    pub fn below(root: &Path) -> Self {
        Self {
            oci: root.join("var/lib/pintle/oci"),
            pods: root.join("var/lib/pintle/pods"),
            net: root.join("var/lib/pintle/net"),
            logs: root.join("var/log/pods"),
            kubelet: root.join("var/lib/kubelet/pods"),
            device_plugins: root.join("var/lib/kubelet/device-plugins"),
            plugins: root.join("var/lib/kubelet/plugins"),
            plugins_registry: root.join("var/lib/kubelet/plugins_registry"),
            seccomp: root.join("var/lib/kubelet/seccomp"),
            cdi: [root.join("etc/cdi"), root.join("var/run/cdi")],
            boot: root.join("run/pintle"),
            run: root.join("run/pintle/pods"),
            cri: root.join("var/lib/pintle/cri"),
            cri_run: root.join("run/pintle/cri"),
            cri_socket: root.join("run/pintle/cri.sock"),
            resolv_conf: root.join("run/pintle/resolv.conf"),
            pod_init: root.join("usr/bin/pod-init"),
        }
    }
}
