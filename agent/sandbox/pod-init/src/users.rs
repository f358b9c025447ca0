//! A pod's users: a user namespace in which the numbers from 0 on are a range of the machine's, and files that belong to them.
//!
//! pod-init itself keeps the machine's users, because it makes mounts that a user namespace may not make.

use crate::rootfs::{RootError, host};
use linux::beneath::Folder;
use linux::clone::SingleThreaded;
use linux::mounts::{self, Attributes};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// They live as long as this.
pub struct Users {
    namespace: OwnedFd,
    first: u32,
}

// === impl Users ===

impl Users {
    /// Makes the namespace, and others besides that belong to it; pod-init enters the others.
    pub fn make(proof: &SingleThreaded, users: sandbox::Users, others: i32) -> Result<Users, linux::Error> {
        // Whoever is born into a new user namespace has it made; afterwards it is kept by its descriptor.
        let midwife = linux::clone::fork(proof, libc::CLONE_NEWUSER | others, None, wait_for_death)?;
        let made = map(midwife.pid, users).and_then(|namespace| {
            linux::namespaces::enter(&midwife.pidfd, others)?;
            let first = users.first;
            Ok(Users { namespace, first })
        });
        linux::pidfd::signal(&midwife.pidfd, libc::SIGKILL)?;
        linux::pidfd::reap(&midwife.pidfd)?;
        made
    }

    /// Which of the machine's users or groups the pod's `number` is.
    pub fn outside(&self, number: u32) -> u32 {
        self.first + number
    }

    /// The calling process becomes the pod's root, who can do everything in the pod and nothing outside.
    pub fn enter(&self) -> Result<(), linux::Error> {
        linux::namespaces::enter_users(&self.namespace)?;
        linux::privileges::become_root()
    }

    /// What the calling process makes from here on belongs to the pod's root.
    pub fn make_files(&self) -> Result<(), linux::Error> {
        linux::privileges::make_files_as(self.first, self.first)
    }

    /// Through this mount of `path` files on disk belong to the pod's users of the same numbers.
    pub fn own(&self, mount: BorrowedFd<'_>, path: &Path) -> Result<(), RootError> {
        mounts::map_owners(mount, self.namespace.as_fd()).map_err(|cause| RootError::Owners {
            path: path.to_owned(),
            cause,
        })
    }

    /// Layers as the pod's users own them, mounted below `stage` until that is detached.
    pub fn own_layers(&self, layers: &[PathBuf], stage: &Path) -> Result<Vec<PathBuf>, RootError> {
        let memory = mounts::make("tmpfs", &[("mode", Path::new("700"))], Attributes::DATA)?;
        let on = Folder::open(stage).map_err(host("open", stage))?;
        mounts::attach(memory.as_fd(), on.as_fd()).map_err(host("mount memory on", stage))?;
        let mut owned = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            let copy = mounts::copy(layer).map_err(host("mount the layer", layer))?;
            self.own(copy.as_fd(), layer)?;
            let at = stage.join(number.to_string());
            fs::create_dir(&at).map_err(|cause| host("make folder", &at)(linux::Error::io("mkdir")(cause)))?;
            let on = Folder::open(&at).map_err(host("open", &at))?;
            mounts::attach(copy.as_fd(), on.as_fd()).map_err(host("mount a layer on", &at))?;
            owned.push(at);
        }
        Ok(owned)
    }
}

/// Says which users of the machine those of the process's namespace are; the namespace.
fn map(pid: u32, users: sandbox::Users) -> Result<OwnedFd, linux::Error> {
    let line = format!("0 {} {}\n", users.first, users.count);
    fs::write(format!("/proc/{pid}/uid_map"), &line).map_err(linux::Error::io("write(uid_map)"))?;
    fs::write(format!("/proc/{pid}/gid_map"), &line).map_err(linux::Error::io("write(gid_map)"))?;
    let namespace = fs::File::open(format!("/proc/{pid}/ns/user")).map_err(linux::Error::io("open(ns/user)"))?;
    Ok(namespace.into())
}

fn wait_for_death() -> i32 {
    if linux::privileges::die_with_parent().is_err() {
        return 1;
    }
    loop {
        std::thread::park();
    }
}
