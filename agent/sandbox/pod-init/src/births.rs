//! In which PID namespace a process is born: pod-init's own, a new one, or one that others live in already.

use crate::users::Users;
use linux::clone::{Child, SingleThreaded};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// CLONE_NEWPID.
const NEW: i32 = libc::CLONE_NEWPID;

/// What is needed to bear children elsewhere and to come back.
pub struct Births {
    own_pids: OwnedFd,
    proof: SingleThreaded,
    users: Option<Users>,
    /// Number 1 of the namespace that containers of the pod share, if one asked for it and it lives.
    holder: Option<Child>,
}

/// Where a child is born.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// In pod-init's own namespace, which is the machine's.
    Here,
    /// In a new one, as its number 1.
    New,
    /// Beside the process that a pidfd stands for.
    Beside(BorrowedFd<'a>),
}

// === impl Births ===

impl Births {
    pub fn new(own_pids: OwnedFd, proof: SingleThreaded, users: Option<Users>) -> Births {
        Births {
            own_pids,
            proof,
            users,
            holder: None,
        }
    }

    /// Users of the pod's own, as whom its containers live.
    pub fn users(&self) -> Option<&Users> {
        self.users.as_ref()
    }

    /// Runs `child` in a new process.
    pub fn fork(
        &self,
        place: Place<'_>,
        cgroup: Option<BorrowedFd<'_>>,
        child: impl FnOnce() -> i32,
    ) -> Result<Child, linux::Error> {
        match place {
            Place::Here => linux::clone::fork(&self.proof, 0, cgroup, child),
            Place::New => linux::clone::fork(&self.proof, NEW, cgroup, child),
            Place::Beside(process) => {
                // Only children are born into it; pod-init itself stays where it is and takes itself back after this one.
                linux::namespaces::bear_children_in(process)?;
                let child = linux::clone::fork(&self.proof, 0, cgroup, child);
                linux::namespaces::bear_children_in(&self.own_pids)?;
                child
            }
        }
    }

    /// A pidfd of number 1 of the namespace that containers of the pod share, which is made when the first of them asks. `empty`
    /// is a folder with nothing in it.
    pub fn shared(&mut self, empty: &Path) -> Result<OwnedFd, linux::Error> {
        let holder = match self.holder.take() {
            Some(holder) => holder,
            None => linux::clone::fork(&self.proof, NEW, None, || hold(empty))?,
        };
        let holder = self.holder.insert(holder);
        rustix::io::fcntl_dupfd_cloexec(&holder.pidfd, 0).map_err(linux::Error::rustix("fcntl(F_DUPFD_CLOEXEC)"))
    }

    /// Whether it was the shared namespace's number 1 that ended; all that lived in it has ended with it.
    pub fn is_holder_gone(&mut self, pid: u32) -> bool {
        self.holder.take_if(|holder| holder.pid == pid).is_some()
    }

    /// Ends the shared namespace; whether there is none any more.
    pub fn is_over(&self) -> bool {
        if let Some(holder) = &self.holder {
            // ESRCH: it has just ended by itself.
            let _ = linux::pidfd::signal(&holder.pidfd, libc::SIGKILL);
        }
        self.holder.is_none()
    }
}

/// Number 1 of a shared namespace: does nothing and can do nothing, for it is what every container of it may look at. Whoever
/// loses its parent there is taken in by it, and forgotten by the kernel at its end, because SIGCHLD is ignored.
fn hold(empty: &Path) -> i32 {
    let held = || -> Result<(), linux::Error> {
        linux::clone::close_everything()?;
        linux::signals::ignore(&[linux::signals::Number::SIGCHLD])?;
        let dies_with_parent = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(dies_with_parent).map_err(linux::Error::rustix("prctl"))?;
        rustix::thread::set_name(c"pause").map_err(linux::Error::rustix("prctl(PR_SET_NAME)"))?;
        rustix::process::chroot(empty).map_err(linux::Error::rustix("chroot"))?;
        rustix::process::chdir("/").map_err(linux::Error::rustix("chdir"))?;
        linux::privileges::limit_capabilities(linux::privileges::CapabilitySet::empty())
    };
    if held().is_err() {
        return 1;
    }
    loop {
        // Only a signal that nobody in the namespace can send it ends this.
        std::thread::park();
    }
}
