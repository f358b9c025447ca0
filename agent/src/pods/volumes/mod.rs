//! A pod's volumes as folders of the machine: made before its containers, kept up to date, taken away after them.

mod atomic;
mod payload;
pub mod sub_path;

use super::plan::{Lookups, Machine, References};
use super::tokens::TokenReference;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource, Pod, Volume};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
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

/// ConfigMaps, Secrets and tokens that the pod's volumes show.
pub fn references(pod: &Pod) -> References {
    let mut references = References::default();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        references
            .config_maps
            .extend(volume.config_map.iter().map(|source| source.name.clone()));
        references
            .secrets
            .extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
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
pub fn prepare(source: &Source<'_>, dir: &Path) -> Result<BTreeMap<String, PathBuf>, VolumeError> {
    let volumes = source.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .map(|volume| Ok((volume.name.clone(), one(source, volume, dir)?)))
        .collect()
}

fn one(source: &Source<'_>, volume: &Volume, dir: &Path) -> Result<PathBuf, VolumeError> {
    let place = |kind: &str| {
        dir.join("volumes")
            .join(format!("kubernetes.io~{kind}"))
            .join(&volume.name)
    };
    if let Some(host) = &volume.host_path {
        return host_path(&volume.name, host);
    }
    let fs_group = fs_group(source.pod);
    if let Some(empty) = &volume.empty_dir {
        let path = place("empty-dir");
        empty_dir(&path, empty, fs_group).map_err(|cause| failed(volume, "make", &path, cause))?;
        return Ok(path);
    }
    let kind = payload::kind(volume).ok_or_else(|| VolumeError::Refused {
        volume: volume.name.clone(),
        why: "this node supports emptyDir, configMap, secret, projected, downwardAPI and hostPath volumes".to_owned(),
    })?;
    let path = place(kind);
    let files = payload::files(source, volume).map_err(|refusal| VolumeError::Refused {
        volume: volume.name.clone(),
        why: refusal.0,
    })?;
    let in_memory = volume.config_map.is_none() && volume.downward_api.is_none();
    let made = if in_memory {
        tmpfs(&path, 0)
    } else {
        fs::create_dir_all(&path)
    };
    made.map_err(|cause| failed(volume, "make", &path, cause))?;
    atomic::write(&path, &files, fs_group).map_err(|cause| failed(volume, "fill", &path, cause))?;
    Ok(path)
}

/// Unmounts and removes every volume below `dir`; what is not there is gone already.
pub fn take_away(dir: &Path) -> io::Result<()> {
    let volumes = dir.join("volumes");
    for mounted in mounts_below(&volumes)? {
        umount2(&mounted, MntFlags::MNT_DETACH)?;
    }
    match fs::remove_dir_all(&volumes) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Deepest first.
fn mounts_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(unescape(point)));
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(folder)).collect();
    below.reverse();
    Ok(below)
}

/// mountinfo writes spaces as `\040`, man 5 proc_pid_mountinfo.
fn unescape(point: &str) -> String {
    point
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

/// World-writable as upstream makes them; with a group for the whole pod it owns them and what is made in them.
fn empty_dir(path: &Path, source: &EmptyDirVolumeSource, group: Option<u32>) -> io::Result<()> {
    if source.medium.as_deref() == Some("Memory") {
        let size = source
            .size_limit
            .as_ref()
            .and_then(super::quantity::whole)
            .and_then(|size| u64::try_from(size).ok());
        tmpfs(path, size.unwrap_or(0))?;
    } else {
        fs::create_dir_all(path)?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// A tmpfs on `path`, of at most `size` bytes (0: half of RAM); the one that is there already stays.
fn tmpfs(path: &Path, size: u64) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if mounts_below(path)?.iter().any(|point| point == path) {
        return Ok(());
    }
    let options = if size == 0 {
        "mode=0755".to_owned()
    } else {
        format!("mode=0755,size={size}")
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )?)
}

/// Checks or makes what the pod wants to see of the machine (upstream: pkg/volume/hostpath).
fn host_path(volume: &str, source: &HostPathVolumeSource) -> Result<PathBuf, VolumeError> {
    let path = PathBuf::from(&source.path);
    let io = |what, cause| VolumeError::Io {
        volume: volume.to_owned(),
        what,
        path: path.clone(),
        cause,
    };
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        "DirectoryOrCreate" => fs::create_dir_all(&path).map_err(|cause| io("make", cause))?,
        "FileOrCreate" => drop(
            fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .map_err(|cause| io("make", cause))?,
        ),
        _ => {}
    }
    if kind.is_empty() {
        return Ok(path);
    }
    use std::os::unix::fs::FileTypeExt;
    let found = fs::metadata(&path).map_err(|cause| io("look at", cause))?.file_type();
    let fits = match kind {
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        "Socket" => found.is_socket(),
        "CharDevice" => found.is_char_device(),
        "BlockDevice" => found.is_block_device(),
        _ => true,
    };
    let why = || format!("hostPath type check failed: {} is not a {kind}", path.display());
    if fits {
        Ok(path)
    } else {
        Err(VolumeError::Refused {
            volume: volume.to_owned(),
            why: why(),
        })
    }
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(context.fs_group?).ok()
}

fn failed(volume: &Volume, what: &'static str, path: &Path, cause: io::Error) -> VolumeError {
    VolumeError::Io {
        volume: volume.name.clone(),
        what,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests;
