//! A container's volume mounts and volume devices.

use super::Refusal;
use super::env::Environment;
use super::expand::expand;
use k8s_openapi::api::core::v1::{Container, VolumeMount};
use sandbox::{Access, Forbids, Mount, Propagation, Source};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// A volume as the machine has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What stands for it.
    pub what: What,
    /// Whether no container may write to it, whatever its mount says.
    pub readonly: bool,
}

/// What stands for a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file or folder of the machine.
    Path(PathBuf),
    /// An image's unpacked layers, topmost first.
    Image(Vec<PathBuf>),
    /// A device file of the machine.
    Device(PathBuf),
}

/// Volumes by name.
pub type Volumes = BTreeMap<String, Volume>;

impl Volume {
    /// A folder that containers may write to.
    pub fn writable(path: PathBuf) -> Self {
        Self {
            what: What::Path(path),
            readonly: false,
        }
    }

    /// A folder that they may only read.
    pub fn readonly(path: PathBuf) -> Self {
        Self {
            what: What::Path(path),
            readonly: true,
        }
    }
}

/// The mounts of a container's volumes, parents before children, and its devices.
pub fn mounts(container: &Container, volumes: &Volumes, env: &Environment) -> Result<Vec<Mount>, Refusal> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = named(volumes, &mount.name, &mount.mount_path)?;
        mounts.push(Mount {
            source: source(volume, mount, env)?,
            target: PathBuf::from("/").join(&mount.mount_path),
            access: access(volume, mount),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::FromMachine,
                Some("Bidirectional") => Propagation::Both,
                Some(_) | None => Propagation::Private,
            },
            forbids: Forbids::default(),
        });
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    for device in container.volume_devices.iter().flatten() {
        let volume = named(volumes, &device.name, &device.device_path)?;
        let What::Device(path) = &volume.what else {
            let why = format!(
                "volume {} has volumeMode Filesystem, but is specified in volumeDevices",
                device.name
            );
            return Err(Refusal(why));
        };
        mounts.push(Mount {
            source: Source::Device(path.clone()),
            target: PathBuf::from("/").join(&device.device_path),
            access: Access::Writable,
            propagation: Propagation::Private,
            forbids: Forbids::default(),
        });
    }
    Ok(mounts)
}

fn named<'a>(volumes: &'a Volumes, name: &str, place: &str) -> Result<&'a Volume, Refusal> {
    let found = volumes.get(name);
    found.ok_or_else(|| Refusal(format!("volume {name:?} of mount {place} is not there")))
}

fn source(volume: &Volume, mount: &VolumeMount, env: &Environment) -> Result<Source, Refusal> {
    let path = sub_path(mount, env)?;
    Ok(match (&volume.what, path) {
        (What::Path(folder), None) => Source::Bind(folder.clone()),
        (What::Path(folder), Some(path)) => Source::Inside {
            folder: folder.clone(),
            path,
        },
        (What::Image(lower), path) => Source::Layers {
            lower: lower.clone(),
            path: path.unwrap_or_default(),
        },
        (What::Device(_), _) => {
            return Err(Refusal(format!(
                "volume {} has volumeMode Block, but is specified in volumeMounts",
                mount.name
            )));
        }
    })
}

/// Without `recursiveReadOnly` what is mounted below a read-only volume stays writable, as upstream documents it (KEP-3857).
fn access(volume: &Volume, mount: &VolumeMount) -> Access {
    let readonly = volume.readonly || mount.read_only == Some(true);
    match (readonly, mount.recursive_read_only.as_deref()) {
        (false, _) => Access::Writable,
        (true, Some("Enabled" | "IfPossible")) => Access::ReadonlyRecursive,
        (true, Some(_) | None) => Access::Readonly,
    }
}

/// Upstream: the kubelet's makeMounts and ExpandContainerVolumeMounts; a variable that is empty counts as missing.
fn sub_path(mount: &VolumeMount, env: &Environment) -> Result<Option<PathBuf>, Refusal> {
    let path = match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expression), _) if !expression.is_empty() => {
            let missing = RefCell::new(BTreeSet::new());
            let expanded = expand(expression, |name| {
                let value = env.get(name).map(String::as_str).filter(|value| !value.is_empty());
                if value.is_none() {
                    missing.borrow_mut().insert(name.to_owned());
                }
                value
            });
            let missing: Vec<String> = missing.into_inner().into_iter().collect();
            if !missing.is_empty() {
                return Err(Refusal(format!("missing value for {}", missing.join(", "))));
            }
            expanded
        }
        (_, Some(path)) if !path.is_empty() => path.clone(),
        (_, _) => return Ok(None),
    };
    if path.starts_with('/') {
        return Err(Refusal(format!("error SubPath `{path}` must not be an absolute path")));
    }
    if Path::new(&path)
        .components()
        .any(|part| matches!(part, Component::ParentDir))
    {
        return Err(Refusal(format!(
            "unable to provision SubPath `{path}`: must not contain '..'"
        )));
    }
    Ok(Some(PathBuf::from(path)))
}
