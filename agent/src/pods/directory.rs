//! Which pods this node has right now, for the node's face: looked up by name, written by the pods' workers.

use super::observed::{Observed, Run};
use super::probes::tally::Tally;
use super::starts::Starts;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// One pod.
#[derive(Clone)]
pub struct Entry {
    /// As the API has it, with the status that this node last computed.
    pub pod: Arc<Pod>,
    /// To run programs in it; nothing before it is made and after it is gone.
    pub sandbox: Option<sandbox::Pod>,
    /// Its logs: a folder for each container, a file for each attempt.
    pub logs: PathBuf,
    /// Container to its present or last attempt; nothing for those that never ran.
    pub attempts: BTreeMap<String, u32>,
    /// Names of the containers that run.
    pub running: Vec<String>,
}

/// All pods, by namespace and name.
#[derive(Default)]
pub struct Directory {
    entries: Mutex<BTreeMap<(String, String), Entry>>,
    /// What their probes were answered.
    pub probes: Tally,
    /// How often pods with users of their own were begun.
    pub starts: Starts,
    /// IDs of images that somebody else than a pod of the API uses, by who that is.
    held: Mutex<BTreeMap<String, String>>,
}

impl Entry {
    /// As a worker sees its pod now.
    pub fn new(pod: Arc<Pod>, sandbox: Option<sandbox::Pod>, logs: PathBuf, observed: &Observed) -> Self {
        let attempt = |(name, container): (&String, &super::observed::Container)| match &container.run {
            Run::Never => container.before.as_ref().map(|before| (name.clone(), before.attempt)),
            Run::Running { attempt, .. } => Some((name.clone(), *attempt)),
            Run::Ended(ended) => Some((name.clone(), ended.attempt)),
        };
        let attempts = observed.containers.iter().filter_map(attempt).collect();
        let running = observed.containers.iter().filter(|(_, container)| container.runs());
        let running = running.map(|(name, _)| name.clone()).collect();
        Self {
            pod,
            sandbox,
            logs,
            attempts,
            running,
        }
    }

    /// Its namespace and name.
    pub fn names(&self) -> (&str, &str) {
        let meta = &self.pod.metadata;
        (
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        )
    }

    /// What the status says of a container of any kind.
    pub fn container_status(&self, name: &str) -> Option<&ContainerStatus> {
        let status = self.pod.status.as_ref()?;
        let kinds = [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ];
        kinds.into_iter().flatten().flatten().find(|status| status.name == name)
    }

    /// A name may have moved on to another image while the pod runs, so its status counts as well.
    fn uses(&self, image: &oci::Image) -> bool {
        let spec = self.pod.spec.iter();
        let containers = spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let names = containers.filter_map(|container| container.image.as_deref());
        let names = names.chain(super::spec::volume_images(&self.pod).map(|(_, image, _)| image));
        let names = names.filter_map(|name| name.parse::<oci::Reference>().ok());
        let status = self.pod.status.iter();
        let mut ids = status.flat_map(|status| {
            let own = status.container_statuses.iter().flatten();
            own.chain(status.init_container_statuses.iter().flatten())
                .chain(status.ephemeral_container_statuses.iter().flatten())
        });
        self.sandbox.is_some()
            && (names.into_iter().any(|name| image.names.contains(&name.to_string()))
                || ids.any(|container| container.image_id.ends_with(&image.id)))
    }
}

impl Directory {
    /// The pod of that name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Entry> {
        self.entries().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All pods.
    pub fn all(&self) -> Vec<Entry> {
        self.entries().values().cloned().collect()
    }

    /// Keeps an image for somebody who is no pod of the API, until they let go of it.
    pub fn hold(&self, by: &str, image_id: &str) {
        self.held().insert(by.to_owned(), image_id.to_owned());
    }

    /// They need their image no more.
    pub fn let_go(&self, by: &str) {
        self.held().remove(by);
    }

    /// A pod that runs or may yet start something out of this image, as `pod namespace/name`, or who else holds it.
    pub fn user_of(&self, image: &oci::Image) -> Option<String> {
        if let Some((holder, _)) = self.held().iter().find(|(_, id)| **id == image.id) {
            return Some(holder.clone());
        }
        let entries = self.entries();
        let user = entries.iter().find(|(_, entry)| entry.uses(image));
        user.map(|((namespace, name), _)| format!("pod {namespace}/{name}"))
    }

    /// Puts or replaces a pod.
    pub fn put(&self, entry: Entry) {
        let key = key(&entry.pod);
        self.entries().insert(key, entry);
    }

    /// Removes a pod, unless a namesake has taken its place.
    pub fn remove(&self, pod: &Pod) {
        let mut entries = self.entries();
        if entries
            .get(&key(pod))
            .is_some_and(|entry| entry.pod.metadata.uid == pod.metadata.uid)
        {
            entries.remove(&key(pod));
        }
        if let Some(uid) = &pod.metadata.uid {
            self.probes.forget(uid);
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<(String, String), Entry>> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn key(pod: &Pod) -> (String, String) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    (text(&pod.metadata.namespace), text(&pod.metadata.name))
}
