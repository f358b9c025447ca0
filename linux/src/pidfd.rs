//! Processes that cannot be mistaken for later ones, man 2 pidfd_open.

use crate::Error;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Holds on to a process.
pub fn open(pid: u32) -> Result<OwnedFd, Error> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Error {
        call: "pidfd_open",
        errno: libc::ESRCH,
    })?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(Error::rustix("pidfd_open"))
}

/// Sends a signal by its number.
pub fn signal(pidfd: impl AsFd, signal: i32) -> Result<(), Error> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the only pointer is null, which stands for what kill(2) would send.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd,
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if done < 0 {
        Err(Error::last("pidfd_send_signal"))
    } else {
        Ok(())
    }
}

/// Takes the exit of a child so that nothing is left of it; ECHILD when it is somebody else's.
pub fn reap(pidfd: impl AsFd) -> Result<(), Error> {
    rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .map(drop)
        .map_err(Error::rustix("waitid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::zombie_processes)] // `reap` waits for it, which is what is tested
    fn a_process_is_signalled_and_reaped() {
        let child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        signal(&pidfd, libc::SIGKILL).unwrap();
        reap(&pidfd).unwrap();
        assert!(signal(&pidfd, 0).unwrap_err().is(libc::ESRCH));
    }
}
