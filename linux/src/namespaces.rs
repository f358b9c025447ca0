//! Entering and naming namespaces, man 7 namespaces.

use crate::Error;
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, OwnedFd};

/// The calling process's own cgroup becomes the root of what it sees of the tree.
pub fn unshare_cgroup() -> Result<(), Error> {
    nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP).map_err(Error::nix("unshare(CLONE_NEWCGROUP)"))
}

/// The calling process's own PID namespace, to come back to.
pub fn own_pid_namespace() -> Result<OwnedFd, Error> {
    std::fs::File::open("/proc/self/ns/pid")
        .map(OwnedFd::from)
        .map_err(Error::io("open(/proc/self/ns/pid)"))
}

/// Later children are born into this PID namespace: a pidfd of a process in it, or the namespace itself.
pub fn bear_children_in(pid_namespace: impl AsFd) -> Result<(), Error> {
    nix::sched::setns(pid_namespace, CloneFlags::CLONE_NEWPID).map_err(Error::nix("setns(CLONE_NEWPID)"))
}

/// Enters the mount and the cgroup namespace of the process that a pidfd stands for; it sees that process's root.
pub fn enter_files_of(pidfd: impl AsFd) -> Result<(), Error> {
    let both = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP;
    nix::sched::setns(pidfd, both).map_err(Error::nix("setns"))
}

/// Names the calling process's UTS namespace.
pub fn set_host_name(name: &str) -> Result<(), Error> {
    nix::unistd::sethostname(name).map_err(Error::nix("sethostname"))
}

/// Does `work` in the network namespace that a descriptor stands for, on a thread of its own that ends with it. A socket that
/// is made there stays there.
pub fn within_network<T: Send>(namespace: impl AsFd + Send, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let enter = || {
        nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET).map_err(Error::nix("setns(CLONE_NEWNET)"))?;
        Ok(work())
    };
    let done = std::thread::scope(|scope| scope.spawn(enter).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
