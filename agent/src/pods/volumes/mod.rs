//! A pod's volumes as folders of the machine: made before its containers, kept up to date, taken away after them.

mod atomic;
pub mod claim;
mod empty_dir;
pub mod env_file;
mod host_path;
pub mod mounted;
mod ownership;
mod payload;
pub mod raw_disk;
pub mod sub_path;

pub use mounted::take_away;

use super::plan::{Lookups, Machine, References, Volume, Volumes, What};
use super::tokens::TokenReference;
use crate::nfs;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume as Spec};
use ownership::Ownership;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Why a volume is not there; the sentence follows upstream's `MountVolume.SetUp failed for volume "…" : `.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Something that it is made of is missing.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
    Refused {
        /// Volume.
        volume: String,
        /// What is missing, or not supported.
        why: String,
    },
    /// The file system.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {what} {path}: {cause}")]
    Io {
        /// Volume.
        volume: String,
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
}

/// What volumes are made from.
pub struct Source<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its addresses.
    pub ips: &'a [IpAddr],
    /// The machine that it is on.
    pub machine: &'a Machine,
    /// ConfigMaps and Secrets.
    pub lookups: &'a Lookups,
}

/// ConfigMaps, Secrets, tokens and claims that the pod's volumes show.
pub fn references(pod: &Pod) -> References {
    let mut references = References::default();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        references
            .config_maps
            .extend(volume.config_map.iter().map(|source| source.name.clone()));
        references
            .secrets
            .extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
        references.claims.extend(claim::name(pod, volume).map(|(name, _)| name));
        for source in volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten())
        {
            references
                .config_maps
                .extend(source.config_map.iter().map(|source| source.name.clone()));
            references
                .secrets
                .extend(source.secret.iter().map(|source| source.name.clone()));
            references.tokens.extend(TokenReference::of(source));
        }
    }
    references
}

/// Makes or brings up to date every volume below `dir`, the pod's folder; may be called again while containers run.
pub fn prepare(source: &Source<'_>, dir: &Path) -> Result<Volumes, VolumeError> {
    let volumes = source.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .map(|volume| Ok((volume.name.clone(), one(source, volume, dir)?)))
        .collect()
}

fn one(source: &Source<'_>, volume: &Spec, dir: &Path) -> Result<Volume, VolumeError> {
    let refused = |why: String| VolumeError::Refused {
        volume: volume.name.clone(),
        why,
    };
    if let Some(host) = &volume.host_path {
        let found = host_path::have(host).map_err(|error| refused(error.to_string()));
        return found.map(Volume::writable);
    }
    if let Some(empty) = &volume.empty_dir {
        return empty_dir(source, volume, empty, dir).map(Volume::writable);
    }
    if volume.image.is_some() {
        let layers = source.lookups.images.get(&volume.name).cloned();
        let layers = layers.ok_or_else(|| refused("its image is not here".to_owned()))?;
        return Ok(Volume {
            what: What::Image(layers),
            readonly: true,
        });
    }
    if let Some(found) = source.lookups.driven.get(&volume.name) {
        return Ok(found.clone());
    }
    if let Some(wanted) = nfs::wanted(source.pod, volume, source.lookups).map_err(refused)? {
        return nfs::found(&wanted, dir).ok_or_else(|| refused("it is not mounted".to_owned()));
    }
    if let Some(wanted) = raw_disk::wanted(source.pod, volume, source.lookups).map_err(refused)? {
        return wanted.found(dir).ok_or_else(|| refused("it is not mounted".to_owned()));
    }
    if let Some((name, readonly)) = claim::name(source.pod, volume) {
        let (_, spec) = claim::bound(source.pod, volume, &name, source.lookups).map_err(refused)?;
        let found = claim::own(spec, readonly, ownership_of(source.pod)).unwrap_or_else(|| Err(unsupported()));
        return found.map_err(refused);
    }
    let kind = payload::kind(volume).ok_or_else(|| refused(unsupported()))?;
    let path = place(dir, kind, volume);
    let files = payload::files(source, volume).map_err(|refusal| refused(refusal.0))?;
    let in_memory = volume.config_map.is_none() && volume.downward_api.is_none();
    let made = if in_memory {
        mounted::tmpfs(&path, 0)
    } else {
        fs::create_dir_all(&path)
    };
    made.map_err(|cause| failed(volume, "make", &path, cause))?;
    atomic::write(&path, &files, fs_group(source.pod)).map_err(|cause| failed(volume, "fill", &path, cause))?;
    Ok(Volume::readonly(path))
}

/// Upstream's folder of a volume in the pod's folder.
fn place(dir: &Path, kind: &str, volume: &Spec) -> PathBuf {
    let kind = format!("kubernetes.io~{kind}");
    dir.join("volumes").join(kind).join(&volume.name)
}

fn unsupported() -> String {
    "this node supports emptyDir, configMap, secret, projected, downwardAPI, hostPath, image, nfs and csi volumes, and claims of local, hostPath, nfs and csi volumes"
        .to_owned()
}

fn empty_dir(
    source: &Source<'_>,
    volume: &Spec,
    empty: &EmptyDirVolumeSource,
    dir: &Path,
) -> Result<PathBuf, VolumeError> {
    let path = place(dir, "empty-dir", volume);
    let refused = |why: String| VolumeError::Refused {
        volume: volume.name.clone(),
        why,
    };
    let spec = source
        .pod
        .spec
        .as_ref()
        .ok_or_else(|| refused("the pod has no spec".to_owned()))?;
    let medium = empty_dir::medium(empty, spec, source.machine).map_err(refused)?;
    // Where upstream's kubelet keeps the same mark.
    let mark = dir
        .join("plugins/kubernetes.io~empty-dir")
        .join(&volume.name)
        .join("ready");
    empty_dir::make(&path, &mark, medium, ownership_of(source.pod))
        .map_err(|cause| failed(volume, "make", &path, cause))?;
    Ok(path)
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(context.fs_group?).ok()
}

/// Who is to own the pod's volumes, if anybody.
pub fn ownership_of(pod: &Pod) -> Option<Ownership> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    Some(Ownership {
        group: fs_group(pod)?,
        trusts_root: context.fs_group_change_policy.as_deref() == Some("OnRootMismatch"),
    })
}

fn failed(volume: &Spec, what: &'static str, path: &Path, cause: io::Error) -> VolumeError {
    VolumeError::Io {
        volume: volume.name.clone(),
        what,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests;
