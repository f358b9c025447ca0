//! Volumes that somebody claimed: from the pod's claim to the persistent volume to what the machine has of it.

use super::host_path;
use super::ownership::Ownership;
use crate::pods::plan::{Claim, Lookups, Volume, What};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeSpec, Pod, Volume as Spec};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// The claim that a volume of a pod names, and whether it is to be read-only; an ephemeral volume's is made for it
/// (upstream: ephemeral.VolumeClaimName).
pub fn name(pod: &Pod, volume: &Spec) -> Option<(String, bool)> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some((claim.claim_name.clone(), claim.read_only == Some(true)));
    }
    volume.ephemeral.as_ref()?;
    let pod = pod.metadata.name.as_deref().unwrap_or_default();
    Some((format!("{pod}-{}", volume.name), false))
}

/// A claim and the persistent volume behind it; an error is upstream's sentence.
pub fn bound<'a>(
    pod: &Pod,
    volume: &Spec,
    claim: &str,
    lookups: &'a Lookups,
) -> Result<(&'a PersistentVolumeClaim, &'a PersistentVolumeSpec), String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let failed = |why: String| format!("error processing PVC {namespace}/{claim}: {why}");
    let Some(Claim {
        claim: found,
        volume: pv,
    }) = lookups.claims.get(claim).and_then(Option::as_ref)
    else {
        let why = format!("failed to fetch PVC from API server: persistentvolumeclaims {claim:?} not found");
        return Err(failed(why));
    };
    let of_pod = || {
        let mut owners = found.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.controller == Some(true) && Some(&owner.uid) == pod.metadata.uid.as_ref())
    };
    if volume.ephemeral.is_some() && !of_pod() {
        return Err(failed(format!(
            "PVC {namespace}/{claim} was not created for pod {namespace}/{} (pod is not owner)",
            pod.metadata.name.as_deref().unwrap_or_default()
        )));
    }
    if found.metadata.deletion_timestamp.is_some() {
        return Err(failed("PVC is being deleted".to_owned()));
    }
    let phase = found.status.as_ref().and_then(|status| status.phase.as_deref());
    let spec = pv.as_ref().and_then(|pv| pv.spec.as_ref());
    match (phase, spec) {
        (Some("Bound"), Some(spec)) => Ok((found, spec)),
        (Some("Bound"), None) => Err(failed("failed to fetch PV from API server: it is not there".to_owned())),
        (_, _) => Err(failed("PVC is not bound".to_owned())),
    }
}

/// Has a persistent volume of the machine's own ready; None for kinds that come from elsewhere.
pub fn own(
    spec: &PersistentVolumeSpec,
    readonly: bool,
    ownership: Option<Ownership>,
) -> Option<Result<Volume, String>> {
    if let Some(source) = &spec.host_path {
        let found = host_path::have(source).map_err(|error| error.to_string());
        return Some(found.map(|path| Volume {
            what: What::Path(path),
            readonly,
        }));
    }
    let local = spec.local.as_ref()?;
    let path = PathBuf::from(&local.path);
    let is_block = spec.volume_mode.as_deref() == Some("Block");
    let what = if is_block {
        device(&path)
    } else {
        folder(&path, ownership)
    };
    Some(what.map(|what| Volume { what, readonly }))
}

fn device(path: &Path) -> Result<What, String> {
    match fs::metadata(path) {
        Ok(found) if found.file_type().is_block_device() => Ok(What::Device(path.to_owned())),
        Ok(_) => Err(format!("path {path:?} is not a block device")),
        Err(_) => Err(format!("path {path:?} does not exist")),
    }
}

fn folder(path: &Path, ownership: Option<Ownership>) -> Result<What, String> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err(format!("path {path:?} is neither a folder nor a block device"));
        }
        Err(_) => return Err(format!("path {path:?} does not exist")),
    }
    if let Some(ownership) = ownership {
        ownership
            .apply(path)
            .map_err(|cause| format!("give {path:?} to the pod's group: {cause}"))?;
    }
    Ok(What::Path(path.to_owned()))
}
