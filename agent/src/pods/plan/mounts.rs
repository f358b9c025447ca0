//! A container's volume mounts.

use super::Refusal;
use super::expand::expand;
use k8s_openapi::api::core::v1::{Container, VolumeMount};
use sandbox::{Mount, Source};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Volume name to the folder or file of the machine that it is.
pub type Volumes = BTreeMap<String, PathBuf>;

/// The mounts of a container's volumes, parents before children.
pub fn mounts(container: &Container, volumes: &Volumes, env: &super::env::Environment) -> Result<Vec<Mount>, Refusal> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(folder) = volumes.get(&mount.name) else {
            return Err(Refusal(format!(
                "volume {:?} of mount {} is not there",
                mount.name, mount.mount_path
            )));
        };
        let source = match sub_path(mount, env)? {
            Some(path) => Source::Inside {
                folder: folder.clone(),
                path,
            },
            None => Source::Bind(folder.clone()),
        };
        let target = PathBuf::from("/").join(&mount.mount_path);
        mounts.push(Mount {
            source,
            target,
            readonly: mount.read_only.unwrap_or(false),
        });
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(mounts)
}

fn sub_path(mount: &VolumeMount, env: &super::env::Environment) -> Result<Option<PathBuf>, Refusal> {
    let path = match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expression), _) if !expression.is_empty() => {
            let expanded = expand(expression, |name| env.get(name).map(String::as_str));
            if expanded.contains("$(") {
                return Err(Refusal(format!(
                    "subPathExpr {expression:?} uses a variable that is not set"
                )));
            }
            expanded
        }
        (_, Some(path)) if !path.is_empty() => path.clone(),
        (_, _) => return Ok(None),
    };
    let stays_inside = Path::new(&path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match stays_inside {
        true => Ok(Some(PathBuf::from(path))),
        false => Err(Refusal(format!(
            "subPath {path:?} must be relative and must not contain '..'"
        ))),
    }
}
