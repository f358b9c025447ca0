//! One of a container's own mounts: a file or folder of the machine, a part of one, memory, layers of an image, a device.
//!
//! Like `rootfs`, runs in the child and resolves every place inside the root with the root taken for `/`.

use crate::rootfs::{RootError, host, place, readonly};
use crate::users::Users;
use linux::beneath::Folder;
use linux::mounts::{self, Attributes};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use sandbox::{Access, Forbids, Mount, Node, Opens, Propagation, Source};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What an image's files may not be used for.
const IMAGE: Attributes = Attributes {
    readonly: true,
    nosuid: true,
    nodev: true,
    // Upstream's image volumes may be executed from since 1.36.
    noexec: false,
};

/// What all mounts of a container have in common.
pub struct Surroundings<'a> {
    /// What none of them may be used for.
    pub forbidden: Attributes,
    /// An empty folder.
    pub stage: &'a Path,
    /// Whom their files belong to.
    pub users: Option<&'a Users>,
}

/// Sources that are copied before anything is mounted: those that pass mounts both ways, while this process still hears and is
/// heard; parts of volumes, whose missing folders belong to the machine's root on disk.
pub fn early(all: &[Mount]) -> Result<Vec<Option<OwnedFd>>, RootError> {
    let copy = |mount: &Mount| match (mount.propagation, &mount.source) {
        (Propagation::Both, Source::Bind(path) | Source::Foreign(path)) => mounts::copy(path)
            .map(Some)
            .map_err(host("mount into the container", path)),
        (_, Source::Inside { folder, path }) => inside(folder, path).map(Some),
        (_, _) => Ok(None),
    };
    all.iter().map(copy).collect()
}

/// Mounts it; `early` is its source if that was copied before.
pub fn add(
    root: &Folder,
    mount: &Mount,
    early: Option<OwnedFd>,
    surroundings: &Surroundings<'_>,
) -> Result<(), RootError> {
    let surroundings = &Surroundings {
        forbidden: with(surroundings.forbidden, mount.forbids),
        ..*surroundings
    };
    let source = match &mount.source {
        Source::Bind(path) => {
            let copy = early.map_or_else(|| mounts::copy(path), Ok);
            let copy = copy.map_err(host("mount into the container", path))?;
            restrict(copy, path, mount, surroundings)?
        }
        Source::Foreign(path) => {
            let copy = early.map_or_else(|| mounts::copy(path), Ok);
            let copy = copy.map_err(host("mount into the container", path))?;
            let unmapped = Surroundings {
                users: None,
                ..*surroundings
            };
            restrict(copy, path, mount, &unmapped)?
        }
        Source::Inside { folder, path } => {
            let copy = early.map_or_else(|| inside(folder, path), Ok)?;
            restrict(copy, &folder.join(path), mount, surroundings)?
        }
        Source::Tmpfs { size, mode } => tmpfs(*size, *mode, mount.access, surroundings.forbidden)?,
        Source::Layers { lower, path } => layers(lower, path, surroundings)?,
        Source::Device(path) => device(path)?,
        Source::Node(node) => self::node(*node, surroundings).map_err(place("make the device", &mount.target))?,
    };
    let make = place("make mount point", &mount.target);
    let target = if is_folder(&source, &mount.target)? {
        root.make_folder(&mount.target, 0o755).map_err(make)?
    } else {
        root.make_file(&mount.target, 0o644).map_err(make)?
    };
    let on = rustix::fs::fstatfs(&target)
        .map_err(linux::Error::rustix("fstatfs"))
        .map_err(place("look at", &mount.target))?;
    if on.f_type == libc::PROC_SUPER_MAGIC {
        return Err(RootError::IntoProc(mount.target.clone()));
    }
    mounts::attach(source.as_fd(), target.as_fd()).map_err(place("mount on", &mount.target))
}

/// The mount of what stands below `folder`, by the descriptor that was resolved: nobody can put a link there meanwhile.
fn inside(folder: &Path, path: &Path) -> Result<OwnedFd, RootError> {
    let volume = Folder::open(folder).map_err(host("open", folder))?;
    let stat = rustix::fs::fstat(&volume)
        .map_err(linux::Error::rustix("fstat"))
        .map_err(host("look at", folder))?;
    let found = volume.have_beneath(path, stat.st_mode & 0o7777);
    let found = found.map_err(|cause| escape(folder, path, cause))?;
    mounts::copy_at(found.as_fd()).map_err(host("mount into the container", &folder.join(path)))
}

fn escape(folder: &Path, path: &Path, cause: linux::Error) -> RootError {
    match cause.is(libc::EXDEV) {
        true => RootError::Escape(folder.join(path), folder.to_owned()),
        false => host("open", &folder.join(path))(cause),
    }
}

/// Forbids what this mount may not be used for, and cuts it off from the machine as far as it should be.
fn restrict(copy: OwnedFd, path: &Path, mount: &Mount, surroundings: &Surroundings<'_>) -> Result<OwnedFd, RootError> {
    let forbidden = surroundings.forbidden;
    let refused = || host("restrict the mount of", path);
    if let Some(users) = surroundings.users {
        users.own(copy.as_fd(), path)?;
    }
    mounts::restrict(copy.as_fd(), forbidden, true).map_err(refused())?;
    match mount.access {
        Access::Writable => {}
        Access::Readonly => mounts::restrict(copy.as_fd(), readonly(forbidden), false).map_err(refused())?,
        Access::ReadonlyRecursive => mounts::restrict(copy.as_fd(), readonly(forbidden), true).map_err(refused())?,
    }
    let propagation = match mount.propagation {
        Propagation::Private => mounts::Propagation::Private,
        Propagation::FromMachine => mounts::Propagation::Slave,
        Propagation::Both => mounts::Propagation::Shared,
    };
    mounts::propagate(copy.as_fd(), propagation).map_err(refused())?;
    Ok(copy)
}

fn tmpfs(size: u64, mode: u32, access: Access, forbidden: Attributes) -> Result<OwnedFd, RootError> {
    let (size_text, mode) = (PathBuf::from(size.to_string()), PathBuf::from(format!("{mode:o}")));
    let mut options: Vec<(&str, &Path)> = vec![("mode", &mode)];
    if size > 0 {
        options.push(("size", &size_text));
    }
    let attributes = match access {
        Access::Writable => forbidden,
        Access::Readonly | Access::ReadonlyRecursive => readonly(forbidden),
    };
    Ok(mounts::make("tmpfs", &options, attributes)?)
}

/// All layers as one folder, or what stands at `path` in it.
fn layers(lower: &[PathBuf], path: &Path, surroundings: &Surroundings<'_>) -> Result<OwnedFd, RootError> {
    let Surroundings { stage, users, .. } = *surroundings;
    let whole = match lower {
        // Overlay wants two at least.
        [only] => {
            let copy = mounts::copy(only).map_err(host("mount the layer", only))?;
            if let Some(users) = users {
                users.own(copy.as_fd(), only)?;
            }
            mounts::restrict(copy.as_fd(), IMAGE, true).map_err(host("restrict the mount of", only))?;
            mounts::propagate(copy.as_fd(), mounts::Propagation::Private)
                .map_err(host("restrict the mount of", only))?;
            copy
        }
        all => {
            let owned = users.map(|users| users.own_layers(all, stage)).transpose()?;
            let shown = owned.as_deref().unwrap_or(all).iter();
            let options: Vec<(&str, &Path)> = shown.map(|layer| ("lowerdir+", layer.as_path())).collect();
            let made = mounts::make("overlay", &options, IMAGE)?;
            if owned.is_some() {
                mounts::detach(stage).map_err(host("unmount", stage))?;
            }
            made
        }
    };
    if path.as_os_str().is_empty() {
        return Ok(whole);
    }
    // Linux 6.12 copies no part of a mount that is mounted nowhere.
    let on = Folder::open(stage).map_err(host("open", stage))?;
    mounts::attach(whole.as_fd(), on.as_fd()).map_err(host("mount layers on", stage))?;
    let whole = Folder::open(stage).map_err(host("open", stage))?;
    let found = whole.open_beneath(path, OFlags::PATH, 0);
    let found = found.map_err(|cause| escape(stage, path, cause))?;
    mounts::copy_at(found.as_fd()).map_err(host("mount into the container", path))
}

/// Unlike a device file in a folder, this one may be opened: the machine's /dev allows it, and so does the copy.
fn device(path: &Path) -> Result<OwnedFd, RootError> {
    let copy = mounts::copy(path).map_err(host("mount the device", path))?;
    let stat = rustix::fs::fstat(&copy)
        .map_err(linux::Error::rustix("fstat"))
        .map_err(host("look at", path))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice | FileType::CharacterDevice => Ok(copy),
        _ => Err(RootError::NoDevice(path.to_owned())),
    }
}

/// A device file in memory of its own. Linux 6.12 copies no part of a mount that is mounted nowhere, so that is put on the stage.
fn node(node: Node, surroundings: &Surroundings<'_>) -> Result<OwnedFd, linux::Error> {
    const NAME: &str = "device";
    let Surroundings { stage, users, .. } = *surroundings;
    let (kind, major, minor) = match node.opens {
        Opens::Block(major, minor) => (FileType::BlockDevice, major, minor),
        Opens::Character(major, minor) => (FileType::CharacterDevice, major, minor),
        Opens::Fifo => (FileType::Fifo, 0, 0),
    };
    let attributes = Attributes {
        nosuid: true,
        noexec: true,
        ..Attributes::default()
    };
    let options = [("mode", Path::new("700")), ("nr_inodes", Path::new("2"))];
    let memory = mounts::make("tmpfs", &options, attributes).map_err(|refused| refused.error)?;
    let number = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(&memory, NAME, kind, Mode::from_raw_mode(0o600), number)
        .map_err(linux::Error::rustix("mknodat"))?;
    let outside = |number| users.map_or(number, |users| users.outside(number));
    let (uid, gid) = (Uid::from_raw(outside(node.uid)), Gid::from_raw(outside(node.gid)));
    rustix::fs::chownat(&memory, NAME, Some(uid), Some(gid), AtFlags::empty())
        .map_err(linux::Error::rustix("fchownat"))?;
    // After the owner, whose change takes bits away.
    rustix::fs::chmodat(&memory, NAME, Mode::from_raw_mode(node.mode), AtFlags::empty())
        .map_err(linux::Error::rustix("fchmodat"))?;
    let on = Folder::open(stage)?;
    mounts::attach(memory.as_fd(), on.as_fd())?;
    let copy = mounts::copy(&stage.join(NAME));
    mounts::detach(stage)?;
    copy
}

fn with(forbidden: Attributes, more: Forbids) -> Attributes {
    Attributes {
        nosuid: forbidden.nosuid || more.setuid,
        noexec: forbidden.noexec || more.programs,
        ..forbidden
    }
}

fn is_folder(source: &OwnedFd, target: &Path) -> Result<bool, RootError> {
    let stat = rustix::fs::fstat(source)
        .map_err(linux::Error::rustix("fstat"))
        .map_err(place("look at what is mounted on", target))?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
