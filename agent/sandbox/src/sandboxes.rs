//! All pods of this node: starting them, and finding them again.

use crate::{Pod, PodPlan};
use std::path::PathBuf;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A folder a pod, on a tmpfs: `/run/pintle/pods`.
    pub root: PathBuf,
    /// The cgroup v2 tree: `/sys/fs/cgroup`. Where it is none, pods run without limits, which is logged once.
    pub cgroups: PathBuf,
    /// The supervisor's program: `/usr/bin/pod-init`.
    pub pod_init: PathBuf,
}

/// All pods of this node.
#[derive(Clone, Debug)]
pub struct Sandboxes {
    #[expect(dead_code, reason = "filled in by the next commit")]
    settings: Settings,
}

/// Why the pods' folder could not be used.
#[derive(Debug, thiserror::Error)]
#[error("make the pods' folder {path}: {cause}")]
pub struct OpenError {
    /// The folder.
    pub path: PathBuf,
    /// Why.
    pub cause: std::io::Error,
}

/// Why a pod did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One with that id runs or left something behind.
    #[error("pod {pod} exists already in {path}")]
    Exists {
        /// Pod.
        pod: String,
        /// Its folder.
        path: PathBuf,
    },
}

/// Why running pods could not be looked for.
#[derive(Debug, thiserror::Error)]
#[error("look for running pods in {path}: {cause}")]
pub struct AdoptError {
    /// The folder.
    pub path: PathBuf,
    /// Why.
    pub cause: std::io::Error,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Settings {
            root: "/run/pintle/pods".into(),
            cgroups: "/sys/fs/cgroup".into(),
            pod_init: "/usr/bin/pod-init".into(),
        }
    }
}

// === impl Sandboxes ===

impl Sandboxes {
    /// Makes the folder when it is missing.
    pub fn open(settings: Settings) -> Result<Sandboxes, OpenError> {
        Ok(Sandboxes { settings })
    }

    /// Starts a pod without containers.
    pub async fn start(&self, plan: &PodPlan) -> Result<Pod, StartError> {
        let _ = plan;
        unimplemented!()
    }

    /// Finds the pods that outlived an agent; what is left of dead ones is removed.
    pub async fn adopt_all(&self) -> Result<Vec<(PodPlan, Pod)>, AdoptError> {
        unimplemented!()
    }
}
