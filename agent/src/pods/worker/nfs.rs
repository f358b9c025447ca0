//! Volumes of NFS servers, from the worker's side: mounted by tasks of their own, as those of drivers are, so that a server that hangs
//! keeps nothing but its pod waiting.

use super::drivers::Mount;
use super::{Input, Worker};
use crate::nfs;
use crate::pods::observed::Driven;

impl Worker {
    /// Sees to it that what the pod wants of servers is mounted; an error while it is not.
    pub(super) async fn have_nfs_volumes(&mut self) -> Result<(), (&'static str, String)> {
        let wanted = self.wanted_of_others(|volume| volume.nfs.is_some(), nfs::wanted).await;
        self.have_all(wanted, |wanted| &wanted.volume, Self::have_nfs_mounted)
    }

    fn have_nfs_mounted(&mut self, wanted: nfs::Wanted) {
        self.observed.driven = Driven::Held;
        let (dir, sender) = (self.host.pod_dir(&self.uid()), self.sender.clone());
        let volume = wanted.volume.clone();
        let name = volume.clone();
        let task = tokio::spawn(async move {
            let result = nfs::mount(&wanted, &dir).await;
            let _ = sender.send(Input::Mounted { volume: name, result });
        });
        self.mounts.insert(volume, Mount::Waiting(task));
    }

    /// Has what a killed container waits for at a server fail after a while; "" stands for whatever else runs in the pod.
    pub(super) fn unblock_nfs(&mut self, container: &str) {
        let dir = self.host.pod_dir(&self.uid());
        if self.unblocking.contains_key(container) || !nfs::holds(&dir) {
            return;
        }
        let task = tokio::spawn(async move { nfs::unblock(&dir).await });
        self.unblocking.insert(container.to_owned(), task.abort_handle());
    }
}
