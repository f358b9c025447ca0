//! Volumes of NFS servers: what a pod wants of one, where it is mounted, and the programs that mount it and let go of it
//! (upstream: pkg/volume/nfs).
//!
//! A server that hangs holds whoever touches its files. So the agent itself never does: each step that could wait for a server is
//! a process of its own, with a deadline.

mod child;
mod mount;
mod options;
mod process;
mod release;

pub use child::{WORD, run};
pub use mount::{answers, mount};
pub use release::{release, unblock};

use crate::pods::plan::{Lookups, Volume, What};
use crate::pods::volumes::claim;
use crate::pods::volumes::mounted;
use k8s_openapi::api::core::v1::{NFSVolumeSource, Pod, Volume as Spec};
use std::fs;
use std::path::{Path, PathBuf};

/// One volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the pod.
    pub volume: String,
    /// Its name in paths and sentences: the persistent volume's, else the one in the pod.
    pub name: String,
    /// A name or an address.
    pub server: String,
    /// What the server calls it.
    pub path: String,
    /// Whether containers may only read it.
    pub readonly: bool,
    /// The persistent volume's mount options, as mount(8) takes them.
    pub options: Vec<String>,
}

/// What is wanted of a server; none if the volume is no server's. An error is upstream's sentence.
pub fn wanted(pod: &Pod, volume: &Spec, lookups: &Lookups) -> Result<Option<Wanted>, String> {
    if let Some(source) = &volume.nfs {
        let readonly = source.read_only == Some(true);
        return Ok(Some(of(volume, &volume.name, source, readonly, &[])));
    }
    let Some((name, readonly)) = claim::name(pod, volume) else {
        return Ok(None);
    };
    let (claim, spec) = claim::bound(pod, volume, &name, lookups)?;
    let Some(source) = &spec.nfs else { return Ok(None) };
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err("an NFS volume has files and cannot be a block device".to_owned());
    }
    let pv = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    let readonly = readonly || source.read_only == Some(true);
    let options = spec.mount_options.as_deref().unwrap_or_default();
    Ok(Some(of(volume, pv.unwrap_or_default(), source, readonly, options)))
}

fn of(volume: &Spec, name: &str, source: &NFSVolumeSource, readonly: bool, options: &[String]) -> Wanted {
    Wanted {
        volume: volume.name.clone(),
        name: name.to_owned(),
        server: source.server.clone(),
        path: source.path.clone(),
        readonly,
        options: options.to_vec(),
    }
}

/// The mounted volume, if it is; that touches nothing of the server's.
pub fn found(wanted: &Wanted, pod_dir: &Path) -> Option<Volume> {
    let target = wanted.target(pod_dir);
    is_mounted(&target).then(|| wanted.shown(target))
}

/// Whether something of a server's is, or may be, mounted for the pod with this folder.
pub fn holds(pod_dir: &Path) -> bool {
    !targets(pod_dir).is_empty()
}

/// Where volumes are mounted, or are about to be.
fn targets(pod_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(pod_dir)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Who cannot read the table of mounts knows of none; making or removing the folder says the truth then.
fn is_mounted(target: &Path) -> bool {
    mounted::is_mounted(target).unwrap_or(false)
}

fn folder(pod_dir: &Path) -> PathBuf {
    pod_dir.join("volumes/kubernetes.io~nfs")
}

// === impl Wanted ===

impl Wanted {
    /// Upstream's place.
    fn target(&self, pod_dir: &Path) -> PathBuf {
        folder(pod_dir).join(&self.name)
    }

    fn shown(&self, target: PathBuf) -> Volume {
        Volume {
            what: What::Path(target),
            readonly: self.readonly,
        }
    }

    /// As mount(8) names it; an IPv6 address has brackets.
    fn source(&self) -> String {
        let server = self.server.trim_matches(['[', ']']);
        match server.contains(':') {
            true => format!("[{server}]:{}", self.path),
            false => format!("{server}:{}", self.path),
        }
    }
}

#[cfg(test)]
mod tests;
