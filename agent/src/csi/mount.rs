//! Having a driver mount a volume: attached first, then staged once for all pods, then published for one.

use super::client::{Capabilities, Client, Refused};
use super::context::{self, Words};
use super::record::{gone, put};
use super::wanted::Wanted;
use super::{Drivers, Failure, plugin};
use crate::pods::host::Host;
use crate::pods::plan::Volume;
use crate::pods::volumes;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::CSIDriverSpec;
use proto::csi::v1 as api;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// All that a driver is told of one volume.
pub(super) struct Order<'a> {
    pub(super) host: &'a Host,
    pub(super) pod: &'a Pod,
    pub(super) uid: &'a str,
    pub(super) wanted: Wanted,
    pub(super) described: Option<CSIDriverSpec>,
    pub(super) client: Client,
    pub(super) can: Capabilities,
    /// What the attacher said.
    pub(super) context: Words,
    /// Whether nobody asked the driver for it before.
    pub(super) is_new: bool,
}

// === impl Wanted ===

impl Wanted {
    /// That a step of upstream's did not work.
    pub(super) fn failure(&self, step: &str, why: impl std::fmt::Display) -> Failure {
        let name = &self.record.name;
        let (reason, whole, step) = match (self.record.block, step) {
            (false, step) => ("FailedMount", "MountVolume", step),
            (true, "MountDevice") => ("FailedMapVolume", "MapVolume", "SetUpDevice"),
            (true, "SetUp") => ("FailedMapVolume", "MapVolume", "MapPodDevice"),
            (true, step) => ("FailedMapVolume", "MapVolume", step),
        };
        Failure {
            reason,
            message: format!("{whole}.{step} failed for volume {name:?} : {why}"),
        }
    }
}

impl Drivers {
    /// Mounts a volume for a pod, from wherever it stands.
    pub async fn mount(&self, host: &Host, pod: &Pod, wanted: &Wanted) -> Result<Volume, Failure> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut order = self.order(host, pod, &uid, wanted.clone()).await?;
        let unique = order.wanted.record.unique();
        let _alone = self.alone(&unique).await;
        order.is_new = !order.wanted.record.is_known(&self.shared.places, &uid);
        self.remember(&order)
            .map_err(|error| order.wanted.failure("SetUp", format!("remember the volume: {error}")))?;
        if order.can.stages && !order.wanted.record.ephemeral {
            self.stage(&order).await?;
        }
        self.publish(&order).await?;
        self.give_to_group(&order).await?;
        self.link(&order)
            .map_err(|error| order.wanted.failure("SetUp", format!("link the device: {error}")))?;
        order.wanted.record.published = true;
        let places = &self.shared.places;
        let kept = order.wanted.record.write(places, &uid);
        kept.map_err(|error| order.wanted.failure("SetUp", format!("remember the volume: {error}")))?;
        self.expand(&order).await;
        tracing::info!(pod = %uid, volume = %order.wanted.record.name, driver = %order.wanted.record.driver, "volume is mounted");
        Ok(order.wanted.record.shown(places, &uid))
    }

    /// Tells a driver that wants to hear it anew what there is to know, e.g. fresh tokens.
    pub async fn publish_again(&self, host: &Host, pod: &Pod, wanted: &Wanted) -> Result<(), Failure> {
        let described = context::described(host, &wanted.record.driver).await;
        let is_wanted = described
            .is_ok_and(|described| described.is_some_and(|described| described.spec.requires_republish == Some(true)));
        if !is_wanted {
            return Ok(());
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let order = self.order(host, pod, &uid, wanted.clone()).await?;
        let _alone = self.alone(&order.wanted.record.unique()).await;
        let request = self.publish_request(&order).await?;
        let said = order.client.publish(request).await;
        said.map_err(|refused| order.wanted.failure("SetUp", refused))
    }

    /// Everything that has to be known, waiting for what takes its time.
    pub(super) async fn order<'a>(
        &self,
        host: &'a Host,
        pod: &'a Pod,
        uid: &'a str,
        mut wanted: Wanted,
    ) -> Result<Order<'a>, Failure> {
        let set_up = |wanted: &Wanted, why: String| {
            let why = plugin(format_args!("mounter.SetUpAt failed to {why}"));
            wanted.failure("SetUp", why)
        };
        let described = context::described(host, &wanted.record.driver).await;
        let described = described.map_err(|why| set_up(&wanted, format!("get CSIDriver: {why}")))?;
        let described = described.map(|described| described.spec.clone());
        context::takes(&wanted, described.as_ref())
            .map_err(|why| set_up(&wanted, format!("check volume lifecycle mode: {why}")))?;
        let attach = described.as_ref().and_then(|described| described.attach_required);
        wanted.record.attach = !wanted.record.ephemeral && attach != Some(false);
        let context = if wanted.record.attach {
            self.attached(host, uid, &wanted).await?
        } else {
            Words::new()
        };
        let client = self.client(&wanted.record.driver).map_err(|why| {
            if wanted.record.ephemeral {
                return set_up(&wanted, format!("get CSI client: {why}"));
            }
            let why = plugin(format_args!(
                "attacher.MountDevice failed to create newCsiDriverClient: {why}"
            ));
            wanted.failure("MountDevice", why)
        })?;
        let can = client.capabilities().await;
        let can =
            can.map_err(|refused| set_up(&wanted, format!("check for STAGE_UNSTAGE_VOLUME capability: {refused}")))?;
        Ok(Order {
            host,
            pod,
            uid,
            wanted,
            described,
            client,
            can,
            context,
            is_new: false,
        })
    }

    /// From here on the driver is told when the pod goes. What was published before stays so.
    fn remember(&self, order: &Order<'_>) -> io::Result<()> {
        let (places, record) = (&self.shared.places, &order.wanted.record);
        record.write(places, order.uid)?;
        put(&places.note(order.uid, record), &record.note(&order.host.machine.node))
    }

    async fn stage(&self, order: &Order<'_>) -> Result<(), Failure> {
        let (wanted, record) = (&order.wanted, &order.wanted.record);
        let unique = record.unique();
        if self.lock().staged.contains(&unique) {
            return Ok(());
        }
        let failed = |why: String| wanted.failure("MountDevice", why);
        let staging = self.shared.places.staging(record);
        make(&staging).map_err(|error| failed(format!("make {}: {error}", staging.display())))?;
        if let Some(note) = self.shared.places.staging_note(record) {
            let words = serde_json::json!({"driverName": record.driver, "volumeHandle": record.handle});
            put(&note, &words).map_err(|error| failed(format!("write {}: {error}", note.display())))?;
        }
        let secrets = context::secret(order.host, wanted.stage_secret.as_ref())
            .await
            .map_err(|why| {
                let name = wanted.stage_secret.as_ref();
                let name = name.map(|name| format!("{}/{}", name.namespace, name.name));
                failed(format!(
                    "fetching NodeStageSecretRef {} failed: {why}",
                    name.unwrap_or_default()
                ))
            })?;
        let request = api::NodeStageVolumeRequest {
            volume_id: record.handle.clone(),
            publish_context: order.context.clone().into_iter().collect(),
            staging_target_path: staging.display().to_string(),
            volume_capability: Some(wanted.capability(order.can, order.group())),
            secrets: secrets.into_iter().collect(),
            volume_context: wanted.attributes.clone().into_iter().collect(),
        };
        match order.client.stage(request).await {
            Ok(()) => {
                self.lock().staged.insert(unique);
                Ok(())
            }
            Err(refused) => {
                self.give_up(order, &refused);
                Err(wanted.failure("MountDevice", refused))
            }
        }
    }

    async fn publish(&self, order: &Order<'_>) -> Result<(), Failure> {
        let wanted = &order.wanted;
        let request = self.publish_request(order).await?;
        let target = Path::new(&request.target_path);
        // The driver makes the target itself.
        if let Some(folder) = target.parent() {
            make(folder).map_err(|error| wanted.failure("SetUp", format!("make {}: {error}", folder.display())))?;
        }
        let said = order.client.publish(request).await;
        said.map_err(|refused| {
            self.give_up(order, &refused);
            wanted.failure("SetUp", refused)
        })
    }

    async fn publish_request(&self, order: &Order<'_>) -> Result<api::NodePublishVolumeRequest, Failure> {
        let (wanted, record) = (&order.wanted, &order.wanted.record);
        let told = context::told(order.host, order.pod, wanted, order.described.as_ref()).await?;
        let (attributes, secrets) = told;
        let places = &self.shared.places;
        let is_staged = order.can.stages && !record.ephemeral;
        let staging = is_staged.then(|| places.staging(record).display().to_string());
        Ok(api::NodePublishVolumeRequest {
            volume_id: record.handle.clone(),
            publish_context: order.context.clone().into_iter().collect(),
            staging_target_path: staging.unwrap_or_default(),
            target_path: places.target(order.uid, record).display().to_string(),
            volume_capability: Some(wanted.capability(order.can, order.group())),
            readonly: record.readonly,
            secrets: secrets.into_iter().collect(),
            volume_context: attributes.into_iter().collect(),
        })
    }

    /// A driver that has surely done nothing needs not be told that the pod goes.
    fn give_up(&self, order: &Order<'_>, refused: &Refused) {
        let record = &order.wanted.record;
        let is_staged = self.lock().staged.contains(&record.unique());
        if refused.is_final() && order.is_new && !is_staged {
            let places = &self.shared.places;
            let forgotten =
                gone(fs::remove_file(places.note(order.uid, record))).and_then(|()| record.remove(places, order.uid));
            if let Err(error) = forgotten {
                tracing::warn!(volume = %record.name, %error, "a volume's record stays");
            }
        }
    }

    async fn give_to_group(&self, order: &Order<'_>) -> Result<(), Failure> {
        let policy = order
            .described
            .as_ref()
            .and_then(|described| described.fs_group_policy.as_deref());
        let Some(ownership) = volumes::ownership_of(order.pod) else {
            return Ok(());
        };
        if order.can.gives_to_group || !order.wanted.is_given_to_group(policy) {
            return Ok(());
        }
        let target = self.shared.places.target(order.uid, &order.wanted.record);
        let given = tokio::task::spawn_blocking(move || ownership.apply(&target)).await;
        let given = given.unwrap_or_else(|error| Err(io::Error::other(error)));
        given.map_err(|error| {
            let handle = &order.wanted.record.handle;
            order
                .wanted
                .failure("SetUp", format!("applyFSGroup failed for vol {handle}: {error}"))
        })
    }

    /// Where the pod has a link to its device, as upstream makes it.
    fn link(&self, order: &Order<'_>) -> io::Result<()> {
        let record = &order.wanted.record;
        if !record.block {
            return Ok(());
        }
        let link = self.shared.places.device_link(order.uid, record);
        if let Some(folder) = link.parent() {
            make(folder)?;
        }
        gone(fs::remove_file(&link))?;
        std::os::unix::fs::symlink(self.shared.places.target(order.uid, record), &link)
    }
}

// === impl Order ===

impl Order<'_> {
    fn group(&self) -> Option<u32> {
        volumes::ownership_of(self.pod).map(|ownership| ownership.group)
    }
}

fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)
}
