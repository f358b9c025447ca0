//! Waiting until a volume is attached to this machine, which is others' work: the attach-detach controller and the driver's attacher.

use super::wanted::Wanted;
use super::{Drivers, Failure};
use crate::pods::host::Host;
use client::Api;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a pod waits before it says so (upstream's podAttachAndMountTimeout).
const PATIENCE: Duration = Duration::from_secs(123);
/// Between two looks, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

impl Drivers {
    /// Waits until it is attached; returns what the attacher has to say to the driver.
    pub(super) async fn attached(
        &self,
        host: &Host,
        pod_uid: &str,
        wanted: &Wanted,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let unique = wanted.record.unique();
        self.use_attached(pod_uid, &unique);
        let waiting = async {
            // Nobody detaches what the node has said that it uses.
            self.said_in_use(&unique).await;
            let api = Api::<VolumeAttachment>::all(host.transport.clone());
            let name = wanted.record.attachment(&host.machine.node);
            let mut pause = PAUSES.0;
            loop {
                if let Some(context) = look(&api, &name).await? {
                    return Ok(context);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found.map_err(|why: String| wanted.failure("WaitForAttach", why)),
            Err(_) => {
                let volume = &wanted.record.volume;
                let message = format!(
                    "Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[{volume}], failed to process volumes=[]: context deadline exceeded"
                );
                Err(Failure {
                    reason: "FailedMount",
                    message,
                })
            }
        }
    }

    async fn said_in_use(&self, unique: &str) {
        let mut node = self.shared.node.subscribe();
        let is_said = |node: &Option<std::sync::Arc<k8s_openapi::api::core::v1::Node>>| {
            let status = node.as_ref().and_then(|node| node.status.as_ref());
            let in_use = status.and_then(|status| status.volumes_in_use.as_ref());
            in_use.into_iter().flatten().any(|name| name == unique)
        };
        // Its sender lives as long as the node.
        let _ = node.wait_for(is_said).await;
    }
}

/// What the attacher says once it is attached; an error if it never will be like this.
async fn look(api: &Api<VolumeAttachment>, name: &str) -> Result<Option<BTreeMap<String, String>>, String> {
    // One that is not there yet looks forbidden to a node; and an API server that is away comes back.
    let Ok(found) = api.get(name).await else {
        return Ok(None);
    };
    if found.metadata.deletion_timestamp.is_some() {
        return Err("volume attachment is being deleted".to_owned());
    }
    let status = found.status.unwrap_or_default();
    if status.attached {
        return Ok(Some(status.attachment_metadata.unwrap_or_default()));
    }
    match status.attach_error.and_then(|error| error.message) {
        Some(why) => Err(why),
        None => Ok(None),
    }
}
