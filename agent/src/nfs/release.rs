//! Letting go of a pod's volumes, whether their servers answer or not.

use super::child::Order;
use super::process::{Helper, Undone, carry_out};
use client::Backoff;
use std::path::Path;
use std::time::Duration;

/// How long unwritten data may take before requests that wait are given up (upstream: pkg/volume/nfs, unMountTimeout).
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two times that all requests that wait are made to fail: each of them may be followed by the next.
const AGAIN: Duration = Duration::from_secs(2);
/// How often, before data that is not written is left to the kernel.
const TIMES: u32 = 10;
/// For what waits for no server.
const DEADLINE: Duration = Duration::from_secs(20);
/// Between attempts, the first and the longest pause (upstream's exponentialBackOff of volumes' operations).
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(122));

/// Returns when nothing of a server is mounted in the pod's folder any more; `told` hears what goes wrong meanwhile.
pub async fn release(pod_dir: &Path, told: impl Fn(String)) {
    let one = |target: std::path::PathBuf| {
        let told = &told;
        async move {
            let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
            while let Err(why) = let_go(&target).await {
                let name = target.file_name().unwrap_or_default().to_string_lossy();
                told(format!("UnmountVolume.TearDown failed for volume {name:?} : {why}"));
                tokio::time::sleep(backoff.fail()).await;
            }
        }
    };
    futures_util::future::join_all(super::targets(pod_dir).into_iter().map(one)).await;
}

async fn let_go(target: &Path) -> Result<(), String> {
    let helper = Helper::start(&Order::LetGo(target.to_owned()))?;
    let mut ended = std::pin::pin!(helper.end());
    if let Ok(ended) = tokio::time::timeout(PATIENCE, &mut ended).await {
        return ended;
    }
    tracing::warn!(target = %target.display(), "an NFS server does not answer; what was not written yet is given up");
    for _ in 0..TIMES {
        fail(target).await;
        if let Ok(ended) = tokio::time::timeout(AGAIN, &mut ended).await {
            return ended;
        }
    }
    let detached = carry_out(&Order::Detach(target.to_owned()), DEADLINE).await;
    match detached {
        // The kernel may hold the process, but nobody sees the mount any more.
        Err(Undone::Late(_)) if !super::is_mounted(target) && !target.exists() => Ok(()),
        done => done.map_err(|undone| undone.to_string()),
    }
}

/// After a while makes what waits for the pod's servers fail, again and again, for as long as it is let: a process that was killed
/// while it writes to a server that hangs ends only so.
pub async fn unblock(pod_dir: &Path) {
    tokio::time::sleep(PATIENCE).await;
    tracing::warn!(pod = %pod_dir.display(), "a killed process does not end; what waits for NFS servers is made to fail");
    loop {
        for target in super::targets(pod_dir) {
            fail(&target).await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn fail(target: &Path) {
    if let Err(undone) = carry_out(&Order::Fail(target.to_owned()), DEADLINE).await {
        tracing::debug!(target = %target.display(), %undone, "requests were not made to fail");
    }
}
