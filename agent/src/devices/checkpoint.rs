//! Who has which devices, on disk beside the plugins' sockets: a plugin hands a device out once, so an agent that was restarted
//! must know.

use crate::cdi;
use proto::deviceplugin::v1beta1 as api;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Upstream's name for its own.
const FILE: &str = "kubelet_internal_checkpoint";

/// Shares by the pod's UID, the container and the resource.
pub type Given = BTreeMap<String, BTreeMap<String, BTreeMap<String, Share>>>;

/// What one container has of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub ids: Vec<String>,
    pub artifacts: Artifacts,
}

/// What a container gets with its devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Files and folders: of the machine, in the container, whether they may only be read.
    pub mounts: Vec<(PathBuf, PathBuf, bool)>,
    /// Device files: of the machine, in the container.
    pub devices: Vec<(PathBuf, PathBuf)>,
    /// Names of devices that files of vendors describe (`cdi`).
    #[serde(default)]
    pub cdi: Vec<String>,
}

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Resources that plugins have brought.
    pub resources: BTreeSet<String>,
    pub given: Given,
}

// === impl Checkpoint ===

impl Checkpoint {
    /// What is there; nothing where there is none or it cannot be read.
    pub fn read(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let Ok(text) = fs::read(&file) else {
            return Self::default();
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::error!(file = %file.display(), %error, "nobody knows any more who has which devices");
            Self::default()
        })
    }

    /// Replaces it.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let (file, new) = (folder.join(FILE), folder.join(".new_checkpoint"));
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(&new, &file)
    }
}

// === impl Artifacts ===

impl TryFrom<api::ContainerAllocateResponse> for Artifacts {
    type Error = cdi::NotInjected;

    fn try_from(response: api::ContainerAllocateResponse) -> Result<Self, cdi::NotInjected> {
        let named = response.cdi_devices.into_iter().map(|device| device.name);
        let cdi = named.chain(cdi::of_annotations(response.annotations.iter())?);
        let mounts = response.mounts.into_iter();
        let devices = response.devices.into_iter();
        Ok(Self {
            cdi: cdi.collect(),
            env: response.envs.into_iter().collect(),
            mounts: mounts
                .map(|mount| (mount.host_path.into(), mount.container_path.into(), mount.read_only))
                .collect(),
            devices: devices
                .map(|device| (device.host_path.into(), device.container_path.into()))
                .collect(),
        })
    }
}
