//! Volumes that storage drivers mount, from the worker's side: asked for in tasks of their own, so that a driver that hangs keeps
//! nothing but its pod waiting, and given back before the pod is gone.

use super::volumes::BEING_PULLED;
use super::{Input, Worker};
use crate::csi::{self, Failure, Wanted};
use crate::pods::observed::{Driven, Sandbox};
use crate::pods::plan::{self, Lookups};
use crate::pods::{spec, volumes};
use k8s_openapi::api::core::v1::{Pod, Volume};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// How far volumes are that drivers mount, by name.
pub type Mounts = BTreeMap<String, Mount>;

/// How far one is.
pub enum Mount {
    /// The driver is at it.
    Waiting(JoinHandle<()>),
    /// Mounted.
    Here(plan::Volume),
}

impl Worker {
    /// Takes over what is mounted already in a pod that outlived an agent.
    pub(super) fn adopt_mounts(&mut self) {
        let uid = self.uid();
        if self.host.serves_volumes(&uid) {
            self.observed.driven = Driven::Held;
        }
        if self.observed.sandbox == Sandbox::Up {
            let mounted = self.host.drivers.mounted(&uid).into_iter();
            self.mounts = mounted.map(|(name, volume)| (name, Mount::Here(volume))).collect();
        }
    }

    /// What drivers have mounted so far.
    pub(super) fn driven(&self) -> BTreeMap<String, plan::Volume> {
        let here = |(name, mount): (&String, &Mount)| match mount {
            Mount::Here(volume) => Some((name.clone(), volume.clone())),
            Mount::Waiting(_) => None,
        };
        self.mounts.iter().filter_map(here).collect()
    }

    /// Sees to it that drivers mount what the pod wants of them; an error while they have not.
    pub(super) async fn have_driven_volumes(&mut self) -> Result<(), (&'static str, String)> {
        let wanted = self.wanted_of_drivers().await;
        self.have_all(wanted, |wanted| &wanted.record.volume, Self::have_mounted)
    }

    /// Has `mount` begin with each of the volumes that nobody has begun with yet; an error while one of them is not here.
    pub(super) fn have_all<T>(
        &mut self,
        wanted: Result<Vec<T>, String>,
        volume: impl Fn(&T) -> &str,
        mount: impl Fn(&mut Self, T),
    ) -> Result<(), (&'static str, String)> {
        let mut waits = false;
        for wanted in wanted.map_err(|message| ("FailedMount", message))? {
            match self.mounts.get(volume(&wanted)) {
                Some(Mount::Here(_)) => continue,
                Some(Mount::Waiting(_)) => {}
                None => mount(self, wanted),
            }
            waits = true;
        }
        match waits {
            true => Err((BEING_PULLED, String::new())),
            false => Ok(()),
        }
    }

    /// What the pod wants of drivers; an error is one sentence.
    async fn wanted_of_drivers(&self) -> Result<Vec<Wanted>, String> {
        self.wanted_of_others(|volume| volume.csi.is_some(), csi::wanted).await
    }

    /// What the pod wants, by itself or by claims, of those who bring volumes to this node; `is_own` knows a volume that needs no claim.
    pub(super) async fn wanted_of_others<T>(
        &self,
        is_own: impl Fn(&Volume) -> bool,
        wanted: impl Fn(&Pod, &Volume, &Lookups) -> Result<Option<T>, String>,
    ) -> Result<Vec<T>, String> {
        let pod = &self.pod;
        let all = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let (mut claims, mut found) = (volumes::references(pod), Vec::new());
        if claims.claims.is_empty() && !all.clone().any(is_own) {
            return Ok(found);
        }
        (claims.config_maps, claims.secrets, claims.tokens) = Default::default();
        let lookups = self.host.look_up(pod, &claims).await?;
        for volume in all {
            let wanted = wanted(pod, volume, &lookups).map_err(|why| {
                let name = &volume.name;
                format!("MountVolume.SetUp failed for volume {name:?} : {why}")
            })?;
            found.extend(wanted);
        }
        Ok(found)
    }

    fn have_mounted(&mut self, wanted: Wanted) {
        self.observed.driven = Driven::Held;
        let (host, pod, sender) = (self.host.clone(), self.pod.clone(), self.sender.clone());
        let volume = wanted.record.volume.clone();
        let name = volume.clone();
        let task = tokio::spawn(async move {
            let result = host.drivers.mount(&host, &pod, &wanted).await;
            let is_here = result.is_ok();
            let _ = sender.send(Input::Mounted { volume: name, result });
            if is_here {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                host.drivers.count(uid, &wanted).await;
            }
        });
        self.mounts.insert(volume, Mount::Waiting(task));
    }

    /// Takes over how that went, and has the pod tried again.
    pub(super) fn mounted(&mut self, volume: &str, result: Result<plan::Volume, Failure>) {
        match result {
            Ok(here) => {
                self.mounts.insert(volume.to_owned(), Mount::Here(here));
                if matches!(self.observed.sandbox, Sandbox::Failed { .. }) {
                    self.observed.sandbox = Sandbox::Absent;
                }
            }
            Err(Failure { reason, message }) => {
                self.mounts.remove(volume);
                tracing::warn!(pod = %spec::full_name(&self.pod), message, "a volume is not mounted");
                self.host.events.warning(&self.pod, "", reason, message);
            }
        }
    }

    /// Tells drivers what they want to hear again and again, and hears how full their volumes are.
    pub(super) async fn refresh_driven(&self) {
        let mounted = self.driven();
        if mounted.is_empty() || self.observed.sandbox != Sandbox::Up || self.observed.deleted.is_some() {
            return;
        }
        let wanted = self.wanted_of_drivers().await.unwrap_or_default();
        for wanted in wanted
            .into_iter()
            .filter(|wanted| mounted.contains_key(&wanted.record.volume))
        {
            let (host, pod) = (self.host.clone(), self.pod.clone());
            tokio::spawn(async move {
                let drivers = host.drivers.clone();
                if let Err(Failure { reason, message }) = drivers.publish_again(&host, &pod, &wanted).await {
                    host.events.warning(&pod, "", reason, message);
                }
                drivers.grow(&host, &pod, &wanted).await;
                drivers
                    .count(pod.metadata.uid.as_deref().unwrap_or_default(), &wanted)
                    .await;
            });
        }
    }

    /// They have; what the node itself made goes, too.
    pub(super) fn released(&mut self) {
        self.observed.driven = Driven::Nothing;
        if let Err(error) = volumes::take_away(&self.host.pod_dir(&self.uid())) {
            tracing::warn!(pod = %spec::full_name(&self.pod), %error, "volumes not taken away");
        }
    }

    /// Has drivers let go of everything; that they have is an input.
    pub(super) fn give_back(&mut self) {
        self.observed.driven = Driven::Leaving;
        let tasks: Vec<JoinHandle<()>> = std::mem::take(&mut self.mounts)
            .into_values()
            .filter_map(|mount| match mount {
                Mount::Waiting(task) => Some(task),
                Mount::Here(_) => None,
            })
            .collect();
        let (host, pod, sender, uid) = (self.host.clone(), self.pod.clone(), self.sender.clone(), self.uid());
        tokio::spawn(async move {
            for task in tasks {
                task.abort();
                let _ = task.await;
            }
            release(&host, &pod, &uid).await;
            let _ = sender.send(Input::Released);
        });
    }
}

async fn release(host: &Arc<super::Host>, pod: &Pod, uid: &str) {
    let told = |why: String| {
        tracing::warn!(pod = %spec::full_name(pod), why, "a volume is not unmounted yet, trying again");
        host.events.warning(pod, "", "FailedUnmount", why);
    };
    host.release_volumes(uid, told).await;
}
