//! Mounting a volume, and asking whether its server still answers.

use super::Wanted;
use super::child::Order;
use super::options;
use super::process::{Undone, carry_out};
use crate::csi::Failure;
use crate::pods::plan::Volume;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;
use tokio::net::lookup_host;

/// All versions together; half of what `mount.nfs` takes before it gives up (man 5 nfs, `retry`), since the pod tries again by itself.
const MOUNT_DEADLINE: Duration = Duration::from_secs(60);
/// Two resolvers that do not answer have had their say by then (man 5 resolv.conf).
const NAME_DEADLINE: Duration = Duration::from_secs(25);
/// For one question to a server that had a volume mounted before.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// Mounts it, unless it is mounted already.
pub async fn mount(wanted: &Wanted, pod_dir: &Path) -> Result<Volume, Failure> {
    let failed = |why: String| Failure {
        reason: "FailedMount",
        message: format!("MountVolume.SetUp failed for volume {:?} : {why}", wanted.name),
    };
    let target = wanted.target(pod_dir);
    if super::is_mounted(&target) {
        return Ok(wanted.shown(target));
    }
    let source = wanted.source();
    let not_mounted = |why: String| failed(format!("mount failed: {source}: {why}"));
    let address = resolve(&wanted.server).await.map_err(not_mounted)?;
    make(&target).map_err(|error| failed(format!("make {}: {error}", target.display())))?;
    let order = Order::Mount {
        source: source.clone(),
        target: target.clone(),
        attempts: options::attempts(&wanted.options, address, wanted.readonly),
    };
    let undone = match carry_out(&order, MOUNT_DEADLINE).await {
        Ok(()) => {
            tracing::info!(volume = %wanted.name, source, target = %target.display(), "NFS volume is mounted");
            return Ok(wanted.shown(target));
        }
        Err(undone) => undone,
    };
    // Nothing is mounted in most cases, and then nothing is to be remembered.
    if matches!(undone, Undone::Failed(_)) {
        let _ = fs::remove_dir(&target);
    }
    Err(not_mounted(undone.to_string()))
}

/// Asks the servers of all mounted volumes of a pod; an error is one sentence.
pub async fn answers(pod_dir: &Path) -> Result<(), String> {
    for target in super::targets(pod_dir)
        .into_iter()
        .filter(|target| super::is_mounted(target))
    {
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let asked = carry_out(&Order::Ask(target), ANSWER_DEADLINE).await;
        asked.map_err(|undone| format!("NFS volume {name:?} cannot be used: {undone}"))?;
    }
    Ok(())
}

async fn resolve(server: &str) -> Result<IpAddr, String> {
    let server = server.trim_matches(['[', ']']);
    if let Ok(address) = server.parse() {
        return Ok(address);
    }
    let unknown = |why: String| format!("failed to resolve server {server}: {why}");
    let found = tokio::time::timeout(NAME_DEADLINE, lookup_host((server, 0))).await;
    let found = found.map_err(|_| unknown("no name server answers".to_owned()))?;
    let mut found = found.map_err(|error| unknown(error.to_string()))?;
    let first = found.next().ok_or_else(|| unknown("it has no address".to_owned()))?;
    Ok(first.ip())
}

fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)
}
