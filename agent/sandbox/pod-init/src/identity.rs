//! Who a program runs as and what it may ask of the kernel: the last steps before exec, in the only order that works.

use crate::seccomp;
use linux::privileges;
use sandbox::{Seccomp, User};

/// What a program is allowed.
pub struct Identity<'a> {
    pub user: &'a User,
    pub capabilities: &'a [String],
    pub ambient: &'a [String],
    pub no_new_privs: bool,
    pub seccomp: Seccomp,
}

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No such capability.
    #[error("{0} is no capability that Linux has")]
    Capability(String),
    /// The kernel refused.
    #[error("{what}: {cause}")]
    Kernel {
        /// What was tried.
        what: String,
        /// Why it failed.
        cause: linux::Error,
    },
}

fn instruction(given: &sandbox::filter::Instruction) -> linux::seccomp::Instruction {
    linux::seccomp::Instruction {
        code: given.code,
        jt: given.jt,
        jf: given.jf,
        k: given.k,
    }
}

/// Gives up everything else for good.
pub fn assume(identity: &Identity<'_>) -> Result<(), IdentityError> {
    let kernel = |what: &str| {
        let what = what.to_owned();
        move |cause| IdentityError::Kernel { what, cause }
    };
    let keep = privileges::capabilities(identity.capabilities).map_err(IdentityError::Capability)?;
    privileges::limit_bounding_set(keep).map_err(kernel("drop capabilities from the bounding set"))?;
    // Without no_new_privs only CAP_SYS_ADMIN may install a filter, so it comes before that is gone; the default filter
    // allows what follows. With it, the filter comes as late as can be.
    let filter = match &identity.seccomp {
        Seccomp::RuntimeDefault => Some(seccomp::runtime_default(identity.capabilities)),
        Seccomp::Unconfined => None,
        Seccomp::Program(program) => Some(program.clone()),
    };
    let filter: Option<Vec<_>> = filter.map(|program| program.iter().map(instruction).collect());
    let install = |filter: &[linux::seccomp::Instruction]| {
        linux::seccomp::install(filter).map_err(kernel("install the system call filter"))
    };
    if let (Some(filter), false) = (&filter, identity.no_new_privs) {
        install(filter)?;
    }
    let User { uid, gid, groups } = identity.user;
    privileges::become_user(*uid, *gid, groups).map_err(kernel(&format!("become user {uid} and group {gid}")))?;
    privileges::limit_capabilities(keep).map_err(kernel("give up capabilities"))?;
    let ambient = privileges::capabilities(identity.ambient).map_err(IdentityError::Capability)?;
    privileges::hand_down_capabilities(ambient).map_err(kernel("hand down capabilities"))?;
    // After the identity has changed, which would have undone it (man 2 prctl, PR_SET_PDEATHSIG).
    privileges::die_with_parent().map_err(kernel("die with pod-init"))?;
    if identity.no_new_privs {
        privileges::forbid_new_privileges().map_err(kernel("set no_new_privs"))?;
    }
    match (&filter, identity.no_new_privs) {
        (Some(filter), true) => install(filter),
        (Some(_), false) | (None, _) => Ok(()),
    }
}
