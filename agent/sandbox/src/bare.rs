//! What a container's process sees while it builds its root: empty folders and the machine's /dev with what is mounted in it, and
//! none of the machine's other mounts. A container that began with a copy of all of them would take the longer to start the more
//! pods there are.

use linux::beneath::Folder;
use linux::mounts::{self, Attributes, NotMounted};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

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
    #[error("{what} {path}: {cause}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        cause: linux::Error,
    },
}

/// A mount namespace that lives as long as somebody has it open. `at` is any folder of the machine; nothing is left there.
pub fn make(at: &Path) -> Result<OwnedFd, BareError> {
    let made = linux::namespaces::within_own_mounts(|| take_apart(at));
    made.map_err(kernel("copy the mounts below", Path::new("/")))?
}

fn take_apart(at: &Path) -> Result<OwnedFd, BareError> {
    let (all, dev) = (Path::new("/"), Path::new("/dev"));
    mounts::make_slave().map_err(kernel("part from the machine's mounts below", all))?;
    let devices = mounts::copy_apart(dev).map_err(kernel("copy the mount", dev))?;
    let memory = mounts::make("tmpfs", &[("mode", Path::new("755"))], Attributes::DATA)?;
    attach(&memory, at)?;
    for folder in ["dev", &ROOT[1..], &STAGE[1..]] {
        let path = at.join(folder);
        std::fs::create_dir(&path)
            .map_err(linux::Error::io("mkdir"))
            .map_err(kernel("make folder", &path))?;
    }
    attach(&devices, &at.join("dev"))?;
    // As long as /proc is there.
    let made =
        linux::namespaces::own_mount_namespace().map_err(kernel("open the namespace of the mounts below", at))?;
    mounts::enter(memory.as_fd()).map_err(kernel("enter", at))?;
    Ok(made)
}

fn attach(mount: &OwnedFd, at: &Path) -> Result<(), BareError> {
    Folder::open(at)
        .and_then(|folder| mounts::attach(mount.as_fd(), folder.as_fd()))
        .map_err(kernel("mount on", at))
}

fn kernel(what: &'static str, path: &Path) -> impl FnOnce(linux::Error) -> BareError {
    let path = path.to_owned();
    move |cause| BareError::Kernel { what, path, cause }
}
