//! `subPath`: a part of a volume, which a container that ran before may have filled with hostile links.
//!
//! Only the words come from here: pod-init resolves the path again when it mounts, and mounts what it resolved.

use k8s_openapi::api::core::v1::Container;
use linux::beneath::Folder;
use sandbox::{ContainerPlan, Source};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Makes what is missing of a container's sub paths; refuses in upstream's words what leads out of its volume.
pub fn prepare(container: &Container, plan: &ContainerPlan) -> Result<(), String> {
    for mount in &plan.mounts {
        let Source::Inside { folder, path } = &mount.source else {
            continue;
        };
        if let Err(error) = have(folder, path) {
            let name = container.volume_mounts.iter().flatten();
            let name = name.filter(|wanted| Path::new("/").join(&wanted.mount_path) == mount.target);
            let name = name.map(|wanted| wanted.name.as_str()).next().unwrap_or_default();
            tracing::warn!(volume = name, container = %container.name, path = %path.display(), cause = %error, "subPath refused");
            return Err(format!(
                "failed to prepare subPath for volumeMount {name:?} of container {:?}",
                container.name
            ));
        }
    }
    Ok(())
}

fn have(folder: &Path, path: &Path) -> Result<(), String> {
    let mode = std::fs::metadata(folder).map_err(|cause| cause.to_string())?.mode() & 0o7777;
    let volume = Folder::open(folder).map_err(|error| error.to_string())?;
    volume
        .have_beneath(path, mode)
        .map(drop)
        .map_err(|error| error.to_string())
}
