//! Having drivers let go of a pod's volumes, for as long as it takes.

use super::Drivers;
use super::plugin;
use super::record::{self, Record, gone};
use crate::pods::volumes::mounted::is_mounted;
use client::Backoff;
use proto::csi::v1 as api;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Between attempts, the first and the longest pause (upstream's exponentialBackOff of volumes' operations).
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(122));

impl Drivers {
    /// Returns when no driver has anything of the pod any more; `told` hears what goes wrong meanwhile.
    pub async fn release(&self, pod_uid: &str, told: impl Fn(String)) {
        let one = |record: Record| {
            let told = &told;
            async move {
                let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
                while let Err(why) = self.let_go(pod_uid, &record).await {
                    let name = &record.name;
                    told(format!("UnmountVolume.TearDown failed for volume {name:?} : {why}"));
                    tokio::time::sleep(backoff.fail()).await;
                }
            }
        };
        let all = record::of_pod(&self.shared.places, pod_uid);
        futures_util::future::join_all(all.into_iter().map(one)).await;
        self.forget(pod_uid);
    }

    async fn let_go(&self, pod_uid: &str, record: &Record) -> Result<(), String> {
        let _alone = self.alone(&record.unique()).await;
        let client = self
            .client(&record.driver)
            .map_err(|why| plugin(format_args!("mounter.SetUpAt failed to get CSI client: {why}")))?;
        let target = self.shared.places.target(pod_uid, record);
        let request = api::NodeUnpublishVolumeRequest {
            volume_id: record.handle.clone(),
            target_path: target.display().to_string(),
        };
        let failed = |why: String| plugin(format_args!("Unmounter.TearDownAt failed: {why}"));
        client
            .unpublish(request)
            .await
            .map_err(|refused| failed(refused.to_string()))?;
        self.clean(pod_uid, record)
            .map_err(|error| failed(format!("failed to clean mount dir [{}]: {error}", target.display())))?;
        let others = record::all(&self.shared.places).into_iter();
        let mut others = others.filter(|(uid, other)| !(uid == pod_uid && other.volume == record.volume));
        if !record.ephemeral && !others.any(|(_, other)| other.unique() == record.unique()) {
            self.unstage(&client, record).await?;
        }
        let removed = record.remove(&self.shared.places, pod_uid);
        removed.map_err(|error| format!("forget the volume: {error}"))?;
        tracing::info!(pod = pod_uid, volume = %record.name, driver = %record.driver, "volume is unmounted");
        Ok(())
    }

    async fn unstage(&self, client: &super::Client, record: &Record) -> Result<(), String> {
        let failed = |why: String| plugin(format_args!("attacher.UnmountDevice failed: {why}"));
        let can = client
            .capabilities()
            .await
            .map_err(|refused| failed(refused.to_string()))?;
        if !can.stages {
            return Ok(());
        }
        let staging = self.shared.places.staging(record);
        let request = api::NodeUnstageVolumeRequest {
            volume_id: record.handle.clone(),
            staging_target_path: staging.display().to_string(),
        };
        client
            .unstage(request)
            .await
            .map_err(|refused| failed(refused.to_string()))?;
        self.lock().staged.remove(&record.unique());
        let cleaned = remove_empty(&staging).and_then(|()| {
            let Some(note) = self.shared.places.staging_note(record) else {
                return Ok(());
            };
            gone(fs::remove_file(&note))?;
            note.parent().map_or(Ok(()), |folder| gone(fs::remove_dir(folder)))
        });
        cleaned.map_err(|error| failed(format!("failed to clean mount dir [{}]: {error}", staging.display())))
    }

    /// Removes what was made for the driver; never what is in a volume.
    fn clean(&self, pod_uid: &str, record: &Record) -> io::Result<()> {
        let places = &self.shared.places;
        let target = places.target(pod_uid, record);
        if record.block {
            gone(fs::remove_file(places.device_link(pod_uid, record)))?;
            if is_mounted(&target)? {
                return Err(io::Error::other("it is still mounted"));
            }
            gone(fs::remove_file(&target))?;
            // Other pods may have it.
            let is_last = target
                .parent()
                .is_none_or(|folder| gone(fs::remove_dir(folder)).is_ok());
            return match is_last {
                true => gone(fs::remove_file(places.note(pod_uid, record))),
                false => Ok(()),
            };
        }
        remove_empty(&target)?;
        gone(fs::remove_file(places.note(pod_uid, record)))?;
        target.parent().map_or(Ok(()), |folder| gone(fs::remove_dir(folder)))
    }
}

/// A mount point that is none any more.
fn remove_empty(folder: &Path) -> io::Result<()> {
    if is_mounted(folder)? {
        return Err(io::Error::other("it is still mounted"));
    }
    gone(fs::remove_dir(folder))
}
