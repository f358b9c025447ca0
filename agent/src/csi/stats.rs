//! How full volumes are, as their drivers say.

use super::Drivers;
use super::wanted::Wanted;
use proto::csi::v1 as api;
use proto::csi::v1::volume_usage::Unit;
use std::time::SystemTime;

/// How much there is of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub available: u64,
    pub total: u64,
    pub used: u64,
}

/// Of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// When the driver said so.
    pub at: SystemTime,
    /// Bytes; drivers need not know.
    pub bytes: Option<Amount>,
    /// Inodes; drivers need not know.
    pub inodes: Option<Amount>,
    /// Of which claim, by name.
    pub claim: Option<String>,
}

impl Drivers {
    /// What was said about a pod's volume lately.
    pub fn stats(&self, pod_uid: &str, volume: &str) -> Option<Stats> {
        let key = (pod_uid.to_owned(), volume.to_owned());
        self.lock().stats.get(&key).cloned()
    }

    /// Asks about a volume that is mounted; whoever does not answer has said nothing.
    pub async fn count(&self, pod_uid: &str, wanted: &Wanted) {
        let record = &wanted.record;
        let Ok(client) = self.client(&record.driver) else {
            return;
        };
        let can = client.capabilities().await.unwrap_or_default();
        if !can.counts {
            return;
        }
        let places = &self.shared.places;
        let staging = (can.stages && !record.ephemeral).then(|| places.staging(record).display().to_string());
        let request = api::NodeGetVolumeStatsRequest {
            volume_id: record.handle.clone(),
            volume_path: places.target(pod_uid, record).display().to_string(),
            staging_target_path: staging.unwrap_or_default(),
        };
        match client.stats(request).await {
            Ok(said) => {
                let claim = wanted.claim.as_ref().and_then(|(claim, _)| claim.metadata.name.clone());
                let key = (pod_uid.to_owned(), record.volume.clone());
                // The pod may have gone meanwhile.
                if record.is_known(places, pod_uid) {
                    self.lock().stats.insert(key, read(&said, claim));
                }
            }
            Err(refused) => tracing::debug!(volume = %record.name, %refused, "the volume was not counted"),
        }
    }
}

fn read(said: &api::NodeGetVolumeStatsResponse, claim: Option<String>) -> Stats {
    let whole = |amount: i64| u64::try_from(amount).unwrap_or(0);
    let of = |unit: Unit| {
        let found = said.usage.iter().find(|usage| usage.unit() == unit)?;
        Some(Amount {
            available: whole(found.available),
            total: whole(found.total),
            used: whole(found.used),
        })
    };
    Stats {
        at: SystemTime::now(),
        bytes: of(Unit::Bytes),
        inodes: of(Unit::Inodes),
        claim,
    }
}
