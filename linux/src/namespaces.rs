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

/// Enters those namespaces of the process that a pidfd stands for, as `CLONE_NEW…` of libc.
pub fn enter(pidfd: impl AsFd, namespaces: crate::clone::Namespaces) -> Result<(), Error> {
    nix::sched::setns(pidfd, CloneFlags::from_bits_retain(namespaces)).map_err(Error::nix("setns"))
}

/// Enters a user namespace, with all capabilities there and none outside of it. The user is one that it does not know yet.
pub fn enter_users(user_namespace: impl AsFd) -> Result<(), Error> {
    nix::sched::setns(user_namespace, CloneFlags::CLONE_NEWUSER).map_err(Error::nix("setns(CLONE_NEWUSER)"))
}

/// The calling process sees a copy of its mounts, which belongs to its user namespace. Under another one than before, the copied
/// mounts cannot be taken apart (man 7 mount_namespaces, "Restrictions on mount namespaces").
pub fn unshare_mounts() -> Result<(), Error> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(Error::nix("unshare(CLONE_NEWNS)"))
}

/// Enters a mount namespace; the calling process, which has one thread, sees its root.
pub fn enter_mounts(mount_namespace: impl AsFd) -> Result<(), Error> {
    nix::sched::setns(mount_namespace, CloneFlags::CLONE_NEWNS).map_err(Error::nix("setns(CLONE_NEWNS)"))
}

/// The calling thread's own mount namespace, to be entered later or by others.
pub fn own_mount_namespace() -> Result<OwnedFd, Error> {
    std::fs::File::open("/proc/thread-self/ns/mnt")
        .map(OwnedFd::from)
        .map_err(Error::io("open(/proc/thread-self/ns/mnt)"))
}

/// Does `work` on a thread of its own that sees a copy of the process's mounts and ends with it.
pub fn within_own_mounts<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let unshare = || {
        unshare_mounts()?;
        Ok(work())
    };
    on_a_thread(unshare)
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
    on_a_thread(enter)
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
