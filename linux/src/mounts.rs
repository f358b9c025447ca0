//! The new mount API, man 2 fsopen and man 2 mount_setattr: mounts are made without a place and put there when they are complete.

use crate::Error;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What a mount forbids; also which of them to set on an existing one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Writing.
    pub readonly: bool,
    /// Set-user-ID programs.
    pub nosuid: bool,
    /// Device files.
    pub nodev: bool,
    /// Programs.
    pub noexec: bool,
}

/// A file system that the kernel did not make, with its own words where it had some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mount {fstype}: {error}{}{said}", if said.is_empty() { "" } else { ": " })]
pub struct NotMounted {
    /// Kind of file system.
    pub fstype: &'static str,
    /// Call and number.
    pub error: Error,
    /// What the kernel wrote about it, or nothing.
    pub said: String,
}

/// What mount_setattr(2) reads.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

// === impl Attributes ===

impl Attributes {
    /// nosuid, nodev, noexec.
    pub const DATA: Attributes = Attributes {
        readonly: false,
        nosuid: true,
        nodev: true,
        noexec: true,
    };

    fn flags(self) -> MountAttrFlags {
        let mut flags = MountAttrFlags::empty();
        flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.readonly);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, self.nosuid);
        flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, self.nodev);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, self.noexec);
        flags
    }
}

/// Makes a file system; options in their order, one with an empty value as a word that stands alone.
pub fn make(fstype: &'static str, options: &[(&str, &Path)], attributes: Attributes) -> Result<OwnedFd, NotMounted> {
    let refused = |call: &'static str| {
        move |errno| NotMounted {
            fstype,
            error: Error::rustix(call)(errno),
            said: String::new(),
        }
    };
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map_err(refused("fsopen"))?;
    let heard = |mut error: NotMounted| {
        error.said = listen(context.as_fd());
        error
    };
    for (key, value) in options {
        let set = match value.as_os_str().is_empty() {
            true => rustix::mount::fsconfig_set_flag(&context, *key),
            false => rustix::mount::fsconfig_set_string(&context, *key, *value),
        };
        set.map_err(refused("fsconfig")).map_err(heard)?;
    }
    rustix::mount::fsconfig_create(&context)
        .map_err(refused("fsconfig(CREATE)"))
        .map_err(heard)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes.flags())
        .map_err(refused("fsmount"))
        .map_err(heard)
}

/// The kernel's messages about a file system context: lines that begin with a letter for their weight.
fn listen(context: BorrowedFd<'_>) -> String {
    let mut lines = Vec::new();
    let mut line = [0; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..length]);
        lines.push(
            text.trim_end()
                .trim_start_matches(['e', 'w', 'i'])
                .trim_start()
                .to_owned(),
        );
    }
    lines.join(", ")
}

/// A copy of the mount at `path`, with all that is mounted below it, not mounted anywhere yet.
pub fn copy(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(rustix::fs::CWD, path, flags).map_err(Error::rustix("open_tree"))
}

/// The same, and no later mount passes between it and any other.
pub fn copy_apart(path: &Path) -> Result<OwnedFd, Error> {
    let copy = copy(path)?;
    propagate(copy.as_fd(), Propagation::Private)?;
    Ok(copy)
}

/// What [`copy`] does, of something open.
pub fn copy_at(place: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(place, "", flags).map_err(Error::rustix("open_tree"))
}

/// Shows the file at `path` also at `target`, without what is mounted below: fewer calls than [`copy`] and [`attach`], for whoever
/// may trust the way to `target`.
pub fn bind(path: &Path, target: &Path) -> Result<(), Error> {
    rustix::mount::mount_bind(path, target).map_err(Error::rustix("mount(MS_BIND)"))
}

/// Puts a mount over an open file or folder.
pub fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Error> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", place, "", flags).map_err(Error::rustix("move_mount"))
}

/// Forbids on an existing mount whatever is set, and with `recursive` on all below it; what was forbidden stays so.
pub fn restrict(mount: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Result<(), Error> {
    set(mount, "", u64::from(attributes.flags().bits()), 0, recursive)
}

/// Which later mounts pass between a mount and its peers, man 7 mount_namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// None.
    Private,
    /// Theirs come here.
    Slave,
    /// Both ways.
    Shared,
}

/// From now on no mount leaves the calling process's mount namespace; those of others still come.
pub fn make_slave() -> Result<(), Error> {
    set(rustix::fs::CWD, "/", 0, libc::MS_SLAVE, true)
}

/// Changes a mount and all below it.
pub fn propagate(mount: BorrowedFd<'_>, propagation: Propagation) -> Result<(), Error> {
    let propagation = match propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
    };
    set(mount, "", 0, propagation, true)
}

/// What a user namespace calls a user is the owner, on disk, of what that user owns through this mount, which must not be
/// mounted anywhere yet; man 2 mount_setattr, "ID-mapped mounts". EINVAL: the file system cannot.
pub fn map_owners(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: 0,
        userns_fd: user_namespace.as_raw_fd() as u64,
    };
    apply(mount, "", &attr, false)
}

fn set(place: BorrowedFd<'_>, path: &str, set: u64, propagation: u64, recursive: bool) -> Result<(), Error> {
    let attr = MountAttr {
        set,
        clear: 0,
        propagation,
        userns_fd: 0,
    };
    apply(place, path, &attr, recursive)
}

fn apply(place: BorrowedFd<'_>, path: &str, attr: &MountAttr, recursive: bool) -> Result<(), Error> {
    let path = std::ffi::CString::new(path).map_err(|_| Error {
        call: "mount_setattr",
        errno: libc::EINVAL,
    })?;
    let mut flags = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the kernel reads one string and one mount_attr of the given size, and both outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            place.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if done < 0 {
        Err(Error::last("mount_setattr"))
    } else {
        Ok(())
    }
}

/// Makes an open folder, which must be a mount, the root of the calling process's mount namespace and lets go of the old one.
pub fn enter(root: BorrowedFd<'_>) -> Result<(), Error> {
    rustix::process::fchdir(root).map_err(Error::rustix("fchdir"))?;
    // The old root is put over the new one and taken away from there: man 2 pivot_root, "pivot_root(".", ".")".
    rustix::process::pivot_root(".", ".").map_err(Error::rustix("pivot_root"))?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH).map_err(Error::rustix("umount2"))?;
    rustix::process::chdir("/").map_err(Error::rustix("chdir"))
}

/// Takes the mount at `path` away, now or when nobody uses it any more.
pub fn detach(path: &Path) -> Result<(), Error> {
    use rustix::mount::UnmountFlags;
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(Error::rustix("umount2"))
}
