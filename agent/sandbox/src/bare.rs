//! What a container's process sees while it builds its root: empty folders and the machine's devices, and none of the machine's
//! other mounts. A container that began with a copy of all of them would take the longer to start the more pods there are.

use linux::mounts::{self, Attributes, NotMounted};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Where the container's root is put.
pub const ROOT: &str = "/root";
/// Where something is put of which a part is needed.
pub const STAGE: &str = "/stage";

/// Why there is no such namespace.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// Its memory.
    #[error("{0}")]
    Memory(#[from] NotMounted),
    /// Anything else of the kernel.
    #[error("{what}: {cause}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: linux::Error,
    },
}

/// A mount namespace that lives as long as somebody has it open. `at` is any folder of the machine; nothing is left there.
pub fn make(at: &Path) -> Result<OwnedFd, BareError> {
    let made = linux::namespaces::within_own_mounts(|| take_apart(at));
    made.map_err(kernel("copy the mounts"))?
}

fn take_apart(at: &Path) -> Result<OwnedFd, BareError> {
    mounts::make_slave().map_err(kernel("part from the machine's mounts"))?;
    let devices = mounts::copy(Path::new("/dev")).map_err(kernel("copy the devices"))?;
    mounts::propagate(devices.as_fd(), mounts::Propagation::Private).map_err(kernel("part from the devices' mount"))?;
    let memory = mounts::make("tmpfs", &[("mode", Path::new("755"))], Attributes::DATA)?;
    mounts::attach(memory.as_fd(), open(at)?.as_fd()).map_err(kernel("mount memory"))?;
    for folder in ["dev", &ROOT[1..], &STAGE[1..]] {
        std::fs::create_dir(at.join(folder))
            .map_err(linux::Error::io("mkdir"))
            .map_err(kernel("make a folder"))?;
    }
    mounts::attach(devices.as_fd(), open(&at.join("dev"))?.as_fd()).map_err(kernel("mount the devices"))?;
    // As long as /proc is there.
    let made = linux::namespaces::own_mount_namespace().map_err(kernel("open the namespace"))?;
    mounts::enter(memory.as_fd()).map_err(kernel("let go of the machine's mounts"))?;
    Ok(made)
}

fn open(path: &Path) -> Result<linux::beneath::Folder, BareError> {
    linux::beneath::Folder::open(path).map_err(kernel("open a folder"))
}

fn kernel(what: &'static str) -> impl FnOnce(linux::Error) -> BareError {
    move |cause| BareError::Kernel { what, cause }
}
