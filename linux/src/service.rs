//! Starting a long-running program in a cgroup of its own, as a user of its own: what happens between fork and exec.

use crate::Error;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// What a service gets besides its command line.
#[derive(Debug)]
pub struct Confinement {
    /// An open `cgroup.procs`; where the host has no cgroup v2, nothing.
    pub cgroup_procs: Option<OwnedFd>,
    /// Who it runs as; nothing means that it stays root with all capabilities.
    pub user: Option<User>,
    /// Soft and hard limit of open files.
    pub open_files: (u64, u64),
}

/// An unprivileged user: no supplementary groups, no capabilities (not even in the bounding set), `no_new_privs`.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
}

/// Starts `command` confined; it leads a session of its own and starts with no signal blocked.
pub fn spawn(mut command: Command, confinement: Confinement) -> io::Result<Child> {
    let enter = move || confine(&confinement).map_err(|error| io::Error::from_raw_os_error(error.errno));
    // SAFETY: `confine` makes system calls and nothing else: no allocation, no locks, no logging.
    unsafe { command.pre_exec(enter) };
    command.spawn()
}

/// Runs in the child; order matters: the cgroup and the bounding set need privileges that the user's IDs no longer have.
fn confine(confinement: &Confinement) -> Result<(), Error> {
    if let Some(procs) = &confinement.cgroup_procs {
        enter_cgroup(procs.as_raw_fd())?;
    }
    // SAFETY: no pointer is passed.
    check("setsid", unsafe { libc::setsid() })?;
    limit_open_files(confinement.open_files)?;
    unblock_signals()?;
    match confinement.user {
        Some(user) => become_user(user),
        None => Ok(()),
    }
}

/// A host may have given us a lower hard limit and no right to raise it: then that one is the limit.
fn limit_open_files((soft, hard): (u64, u64)) -> Result<(), Error> {
    let mut current = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit, and `current` outlives the call.
    check("getrlimit", unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut current)
    })?;
    // SAFETY: the kernel reads one rlimit, which outlives the call.
    let raised = unsafe {
        libc::setrlimit(
            libc::RLIMIT_NOFILE,
            &libc::rlimit {
                rlim_cur: soft,
                rlim_max: hard,
            },
        )
    };
    if raised == 0 {
        return Ok(());
    }
    let most = hard.min(current.rlim_max);
    let within = libc::rlimit {
        rlim_cur: soft.min(most),
        rlim_max: most,
    };
    // SAFETY: the kernel reads one rlimit, and `within` outlives the call.
    check("setrlimit", unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &within) })
}

/// Whoever reads its signals from a descriptor has them blocked, and the mask outlives exec (signal(7)).
fn unblock_signals() -> Result<(), Error> {
    // SAFETY: sigset_t is plain data for which all zeros is a value: on Linux the empty set.
    let nothing: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel reads one sigset_t, and a null pointer asks for no old mask.
    check("sigprocmask", unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, &nothing, std::ptr::null_mut())
    })
}

fn enter_cgroup(procs: RawFd) -> Result<(), Error> {
    // SAFETY: the kernel reads one byte of a literal; "0" means the writer itself (cgroup-v2.rst).
    let written = unsafe { libc::write(procs, b"0".as_ptr().cast(), 1) };
    if written == 1 {
        Ok(())
    } else {
        Err(Error::last("write(cgroup.procs)"))
    }
}

fn become_user(user: User) -> Result<(), Error> {
    for capability in 0..64 {
        // SAFETY: no pointer is passed. EINVAL says that the kernel knows no capability of this number or above.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } < 0 {
            break;
        }
    }
    // SAFETY: a count of zero reads nothing from the pointer. Raw, because glibc's wrapper takes a lock to tell its threads.
    check(
        "setgroups",
        unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) } as i32,
    )?;
    // SAFETY: no pointer is passed. Raw for the same reason.
    check(
        "setresgid",
        unsafe { libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) } as i32,
    )?;
    // SAFETY: no pointer is passed. Leaving uid 0 clears every capability set of the process (capabilities(7)).
    check(
        "setresuid",
        unsafe { libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) } as i32,
    )?;
    // SAFETY: no pointer is passed.
    check("prctl(PR_SET_NO_NEW_PRIVS)", unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    })
}

fn check(call: &'static str, result: i32) -> Result<(), Error> {
    if result < 0 { Err(Error::last(call)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_service_runs_as_its_user_without_capabilities() {
        // SAFETY: no pointer is passed.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: becoming another user needs root");
            return;
        }
        nix::sys::signal::SigSet::all()
            .thread_block()
            .expect("a thread may block its signals");
        let mut command = Command::new("/bin/cat");
        command.arg("/proc/self/status").stdout(Stdio::piped());
        let confinement = Confinement {
            cgroup_procs: None,
            user: Some(User { uid: 60, gid: 60 }),
            open_files: (1000, 2000),
        };
        let child = spawn(command, confinement).expect("cat starts because it is everywhere");
        let output = child
            .wait_with_output()
            .expect("its output can be read because it is our child");
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in [
            "Uid:\t60\t60\t60\t60",
            "Gid:\t60\t60\t60\t60",
            "NoNewPrivs:\t1",
            "SigBlk:\t0000000000000000",
            "CapBnd:\t0000000000000000",
        ] {
            assert!(status.contains(line), "{line:?} is not in\n{status}");
        }
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let confinement = Confinement {
            cgroup_procs: None,
            user: None,
            open_files: (1000, 1000),
        };
        assert!(spawn(Command::new("/no/such/program"), confinement).is_err());
    }
}
