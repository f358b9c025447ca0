//! Making a volume's file system as large as the volume has become (upstream: NodeExpandVolume and its words in the claim).

use super::mount::Order;
use super::{Drivers, Wanted, context};
use crate::pods::host::Host;
use crate::pods::quantity;
use client::{Api, Patch};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use proto::csi::v1 as api;
use serde_json::json;

impl Wanted {
    /// Bytes that the volume has, where its claim does not say yet that it has so many.
    fn growth(&self) -> Option<i64> {
        let (claim, size) = self.claim.as_ref()?;
        let status = claim.status.as_ref()?;
        let present = status.capacity.as_ref()?.get("storage").and_then(quantity::whole)?;
        (*size > present && !self.record.readonly).then_some(*size)
    }
}

impl Drivers {
    /// Has a volume that is mounted grow, if it is to.
    pub async fn grow(&self, host: &Host, pod: &Pod, wanted: &Wanted) {
        if wanted.growth().is_none() {
            return;
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if let Ok(order) = self.order(host, pod, &uid, wanted.clone()).await {
            let _alone = self.alone(&order.wanted.record.unique()).await;
            self.expand(&order).await;
        }
    }

    /// The same for one that is being mounted; what does not work stops nothing and is tried again later.
    pub(super) async fn expand(&self, order: &Order<'_>) {
        let (wanted, record) = (&order.wanted, &order.wanted.record);
        let Some(size) = wanted.growth().filter(|_| order.can.expands) else {
            return;
        };
        let events = &order.host.events;
        let (name, node) = (&record.name, &order.host.machine.node);
        match self.ask_to_grow(order, size).await {
            Ok(()) => {
                let message = format!("MountVolume.NodeExpandVolume succeeded for volume {name:?} {node}");
                events.normal(order.pod, "", "FileSystemResizeSuccessful", message);
            }
            Err(why) => {
                let message = format!("NodeExpandVolume.NodeExpandVolume failed for volume {name:?} : {why}");
                events.warning(order.pod, "", "VolumeResizeFailed", message);
            }
        }
    }

    async fn ask_to_grow(&self, order: &Order<'_>, size: i64) -> Result<(), String> {
        let (wanted, record, places) = (&order.wanted, &order.wanted.record, &self.shared.places);
        let secrets = context::secret(order.host, wanted.expand_secret.as_ref()).await?;
        let staging = order.can.stages.then(|| places.staging(record).display().to_string());
        let request = api::NodeExpandVolumeRequest {
            volume_id: record.handle.clone(),
            volume_path: places.target(order.uid, record).display().to_string(),
            capacity_range: Some(api::CapacityRange {
                required_bytes: size,
                limit_bytes: 0,
            }),
            staging_target_path: staging.unwrap_or_default(),
            volume_capability: Some(wanted.capability(order.can, None)),
            secrets: secrets.into_iter().collect(),
        };
        let said = order.client.expand(request).await;
        said.map_err(|refused| refused.to_string())?;
        say_grown(order, size).await.map_err(|error| crate::node::chain(&error))
    }
}

/// The claim has what it asked for.
async fn say_grown(order: &Order<'_>, size: i64) -> Result<(), client::Error> {
    let Some((claim, _)) = &order.wanted.claim else {
        return Ok(());
    };
    let meta = &claim.metadata;
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    let api = Api::<PersistentVolumeClaim>::namespaced(order.host.transport.clone(), namespace.unwrap_or_default());
    let asked = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref()?.requests.clone());
    // In the words in which it was asked for, where they mean the same.
    let asked = asked.unwrap_or_default().remove("storage");
    let same = asked.filter(|asked| quantity::whole(asked) == Some(size));
    let size = same.map_or(size.to_string(), |asked| asked.0);
    let conditions = claim.status.as_ref().and_then(|status| status.conditions.clone());
    let left: Vec<_> = conditions.unwrap_or_default();
    let left: Vec<_> = left
        .into_iter()
        .filter(|condition| !matches!(condition.type_.as_str(), "FileSystemResizePending" | "Resizing"))
        .collect();
    let status = json!({"status": {
        "capacity": {"storage": size}, "conditions": left, "allocatedResourceStatuses": null}});
    api.report_status(name.unwrap_or_default(), &Patch::Merge(status)).await
}
