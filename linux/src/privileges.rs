//! Giving up privileges for good: users, groups, capabilities, `no_new_privs`; man 7 capabilities.

use crate::Error;
pub use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;

/// Sets of capabilities by name, e.g. `CAP_CHOWN`; the name of the first that does not exist otherwise.
pub fn capabilities(names: &[String]) -> Result<CapabilitySet, String> {
    let known = |name: &str| CapabilitySet::from_name(name.strip_prefix("CAP_")?);
    names
        .iter()
        .map(|name| known(name).ok_or_else(|| name.clone()))
        .collect()
}

/// Drops all capabilities but these from the bounding set; those that this kernel knows and we do not, too.
pub fn limit_bounding_set(keep: CapabilitySet) -> Result<(), Error> {
    for number in 0..u64::BITS {
        if keep.bits() & (1 << number) != 0 {
            continue;
        }
        // SAFETY: no pointer is passed.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } < 0 {
            let error = Error::last("prctl(PR_CAPBSET_DROP)");
            // The kernel knows none of this number or above.
            return if error.is(libc::EINVAL) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// Becomes another user and keeps the permitted capabilities for [`limit_capabilities`].
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Error> {
    // SAFETY: no pointer is passed.
    check("prctl(PR_SET_KEEPCAPS)", unsafe {
        libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0)
    })?;
    // SAFETY: the kernel reads that many numbers of a live slice.
    check("setgroups", unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: no pointer is passed.
    check("setresgid", unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: no pointer is passed.
    check("setresuid", unsafe { libc::setresuid(uid, uid, uid) })?;
    // SAFETY: no pointer is passed.
    check("prctl(PR_SET_KEEPCAPS)", unsafe {
        libc::prctl(libc::PR_SET_KEEPCAPS, 0, 0, 0, 0)
    })
}

/// Files that the calling process makes from now on belong to this user and this group; its capabilities stay as they are.
pub fn make_files_as(uid: u32, gid: u32) -> Result<(), Error> {
    // SAFETY: no pointer is passed.
    unsafe { libc::setfsgid(gid) };
    // SAFETY: no pointer is passed.
    unsafe { libc::setfsuid(uid) };
    // Neither says whether it worked; both say what holds when they are asked for the impossible.
    // SAFETY: no pointer is passed.
    let group = unsafe { libc::setfsgid(u32::MAX) };
    // SAFETY: no pointer is passed.
    let user = unsafe { libc::setfsuid(u32::MAX) };
    if (user as u32, group as u32) != (uid, gid) {
        return Err(Error {
            call: "setfsuid",
            errno: libc::EPERM,
        });
    }
    // Whoever ceases to make files as root loses the capabilities about files, as far as they are effective.
    let held = held()?;
    hold(CapabilitySets {
        effective: held.permitted,
        ..held
    })
}

/// Becomes user and group 0 of the user namespace that the calling process has just entered; its capabilities stay.
pub fn become_root() -> Result<(), Error> {
    // SAFETY: no pointer is passed.
    check("setresgid", unsafe { libc::setresgid(0, 0, 0) })?;
    // SAFETY: no pointer is passed.
    check("setresuid", unsafe { libc::setresuid(0, 0, 0) })
}

/// Keeps of the permitted capabilities only these, makes them effective, and empties the inheritable and the ambient set.
pub fn limit_capabilities(keep: CapabilitySet) -> Result<(), Error> {
    // SAFETY: no pointer is passed.
    check("prctl(PR_CAP_AMBIENT)", unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    })?;
    // What this machine does not have itself it cannot give.
    let keep = keep & held()?.permitted;
    hold(CapabilitySets {
        effective: keep,
        permitted: keep,
        inheritable: CapabilitySet::empty(),
    })
}

/// Programs that are executed from now on keep these of the permitted capabilities, whoever runs them; what is not permitted is
/// left out.
pub fn hand_down_capabilities(which: CapabilitySet) -> Result<(), Error> {
    if which.is_empty() {
        return Ok(());
    }
    let held = held()?;
    let which = which & held.permitted;
    hold(CapabilitySets {
        inheritable: which,
        ..held
    })?;
    for number in (0..u64::BITS).filter(|number| which.bits() & (1 << number) != 0) {
        let number = libc::c_ulong::from(number);
        // SAFETY: no pointer is passed.
        check("prctl(PR_CAP_AMBIENT)", unsafe {
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, number, 0, 0)
        })?;
    }
    Ok(())
}

/// No program that is executed from now on gains privileges.
pub fn forbid_new_privileges() -> Result<(), Error> {
    // SAFETY: no pointer is passed.
    check("prctl(PR_SET_NO_NEW_PRIVS)", unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    })
}

/// The calling process dies with its parent.
pub fn die_with_parent() -> Result<(), Error> {
    // SAFETY: no pointer is passed.
    check("prctl(PR_SET_PDEATHSIG)", unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0)
    })
}

/// Nobody without CAP_SYS_PTRACE sees this process's memory or program file through /proc, until it executes another program.
pub fn hide_from_proc() -> Result<(), Error> {
    // SAFETY: no pointer is passed.
    check("prctl(PR_SET_DUMPABLE)", unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0)
    })
}

fn held() -> Result<CapabilitySets, Error> {
    rustix::thread::capabilities(None).map_err(Error::rustix("capget"))
}

fn hold(sets: CapabilitySets) -> Result<(), Error> {
    rustix::thread::set_capabilities(None, sets).map_err(Error::rustix("capset"))
}

fn check(call: &'static str, result: i32) -> Result<(), Error> {
    if result < 0 { Err(Error::last(call)) } else { Ok(()) }
}
