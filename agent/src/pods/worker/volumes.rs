//! The pod's volumes from the worker's side: fetching what they are made of, and bringing them up to date.

use super::act::pull_secrets;
use super::drivers::Mount;
use super::{Input, Worker};
use crate::csi::Failure;
use crate::pods::images::Missing;
use crate::pods::observed::{Driven, Sandbox};
use crate::pods::{plan, spec, volumes};
use std::collections::BTreeMap;

/// Not a reason for an event: an image that is a volume is still being pulled, or a driver is still mounting one.
pub const BEING_PULLED: &str = "";

/// How far the images are that are volumes, by the volume's name.
pub type Images = BTreeMap<String, Fetch>;

/// How far one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Being pulled.
    Pulling,
    /// On this node.
    Here,
}

impl Worker {
    /// Makes the pod's volumes or brings them up to date; an error is one sentence.
    pub(super) async fn prepare_volumes(&self) -> Result<plan::Volumes, String> {
        let wanted = volumes::references(&self.pod);
        let lookups = self.host.look_up_for(&self.pod, &wanted).await;
        let mut lookups = lookups?;
        for (volume, image, _) in spec::volume_images(&self.pod) {
            let layers = self.host.images.local(image).map(|image| image.layers);
            lookups.images.extend(layers.map(|layers| (volume.to_owned(), layers)));
        }
        lookups.driven = self.driven();
        let source = volumes::Source {
            pod: &self.pod,
            ips: &self.observed.ips,
            machine: &self.host.machine,
            lookups: &lookups,
        };
        volumes::prepare(&source, &self.host.pod_dir(&self.uid())).map_err(|error| error.to_string())
    }

    /// Sees to it that the images that are volumes are on this node; an error while they are not.
    pub(super) fn have_volume_images(&mut self) -> Result<(), (&'static str, String)> {
        let pod = self.pod.clone();
        let mut waits = false;
        for (volume, image, policy) in spec::volume_images(&pod) {
            match self.volume_images.get(volume) {
                Some(Fetch::Here) => {}
                Some(Fetch::Pulling) => waits = true,
                None => {
                    waits = true;
                    self.pull_volume(volume, image, policy);
                }
            }
        }
        match waits {
            true => Err((BEING_PULLED, String::new())),
            false => Ok(()),
        }
    }

    fn pull_volume(&mut self, volume: &str, image: &str, policy: &str) {
        self.volume_images.insert(volume.to_owned(), Fetch::Pulling);
        let (host, pod, sender) = (self.host.clone(), self.pod.clone(), self.sender.clone());
        let (volume, image, policy) = (volume.to_owned(), image.to_owned(), policy.to_owned());
        tokio::spawn(async move {
            let secrets = pull_secrets(&host, &pod).await;
            let result = host.images.have(&image, &policy, &secrets).await.map(drop);
            let _ = sender.send(Input::VolumePulled { volume, result });
        });
    }

    /// Takes over how that went, and has the pod tried again.
    pub(super) fn volume_pulled(&mut self, volume: &str, result: Result<(), Missing>) {
        match result {
            Ok(()) => {
                self.volume_images.insert(volume.to_owned(), Fetch::Here);
                if matches!(self.observed.sandbox, Sandbox::Failed { .. }) {
                    self.observed.sandbox = Sandbox::Absent;
                }
            }
            Err(Missing { reason, message }) => {
                self.volume_images.remove(volume);
                let message = format!("MountVolume.SetUp failed for volume {volume:?} : {reason}: {message}");
                self.host.events.warning(&self.pod, "", "FailedMount", message);
            }
        }
    }

    /// Sees to it that disks that are volumes are mounted; an error while they are not. Making a file system takes its time.
    pub(super) async fn have_raw_disks(&mut self) -> Result<(), (&'static str, String)> {
        let wanted = self.wanted_of_others(|_| false, volumes::raw_disk::wanted).await;
        self.have_all(wanted, |wanted| &wanted.volume, Self::have_disk_mounted)
    }

    /// Whoever gives the pod's volumes back waits for this to end: it cannot be stopped.
    fn have_disk_mounted(&mut self, wanted: volumes::raw_disk::Wanted) {
        self.observed.driven = Driven::Held;
        let (dir, sender) = (self.host.pod_dir(&self.uid()), self.sender.clone());
        let (volume, name) = (wanted.volume.clone(), wanted.name.clone());
        let task = tokio::task::spawn_blocking(move || {
            let result = wanted.mount(&dir).map_err(|why| Failure {
                reason: "FailedMount",
                message: format!("MountVolume.SetUp failed for volume {name:?} : {why}"),
            });
            let volume = wanted.volume;
            let _ = sender.send(Input::Mounted { volume, result });
        });
        self.mounts.insert(volume, Mount::Waiting(task));
    }

    pub(super) async fn refresh_volumes(&mut self) {
        if self.observed.sandbox != Sandbox::Up || self.observed.deleted.is_some() {
            return;
        }
        if let Err(error) = self.prepare_volumes().await {
            tracing::debug!(pod = %spec::full_name(&self.pod), cause = error, "volumes not brought up to date");
        }
    }
}
