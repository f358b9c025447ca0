//! One of a container's own mounts: a file or folder of the machine, a part of one, memory, layers of an image, a device.
//!
//! Like `rootfs`, runs in the child, takes first what is the machine's, and resolves every place inside the root with the root
//! taken for `/`.

use crate::rootfs::{RootError, host, place, readonly};
use crate::users::Users;
use linux::beneath::Folder;
use linux::mounts::{self, Attributes};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use sandbox::{Access, Forbids, Mount, Node, Opens, Propagation, Source};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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

/// What a mount will show.
pub enum Taken<'a> {
    /// A file or folder of the machine.
    Machine {
        copy: OwnedFd,
        path: PathBuf,
        /// Whose its files are, if they are not those on disk.
        users: Option<&'a Users>,
    },
    /// A device of the machine.
    Device(OwnedFd),
    /// Layers as one folder, and what of it.
    Whole { layers: OwnedFd, part: &'a Path },
    /// Layers that become the pod's users' first, which needs mounts that nobody else sees.
    Owned {
        layers: &'a [PathBuf],
        part: &'a Path,
        users: &'a Users,
    },
    /// Memory of its own.
    Tmpfs { size: u64, mode: u32 },
    /// A device file of its own.
    Node(Node),
}

/// Takes from the machine what is its, while this process sees the machine's mounts: mounts that pass others both ways hear and are
/// heard only as peers of these, and missing folders of a volume belong to the machine's root on disk. What the machine mounts between
/// this and [`add`] does not arrive (Linux before 6.15 tells nothing to mounts that are mounted nowhere).
pub fn take<'a>(all: &'a [Mount], users: Option<&'a Users>) -> Result<Vec<Taken<'a>>, RootError> {
    all.iter().map(|mount| take_one(mount, users)).collect()
}

fn take_one<'a>(mount: &'a Mount, users: Option<&'a Users>) -> Result<Taken<'a>, RootError> {
    let machine = |copy: OwnedFd, path: PathBuf, users| {
        // At once: as long as it is a peer, others that start may become its slaves, and a mount that is mounted nowhere passes nothing on.
        pass(copy.as_fd(), mount.propagation).map_err(host("restrict the mount of", &path))?;
        Ok(Taken::Machine { copy, path, users })
    };
    let copy = |path: &Path| mounts::copy(path).map_err(host("mount into the container", path));
    match (&mount.source, users) {
        (Source::Bind(path), users) => machine(copy(path)?, path.clone(), users),
        (Source::Foreign(path), _) => machine(copy(path)?, path.clone(), None),
        (Source::Inside { folder, path }, users) => machine(inside(folder, path)?, folder.join(path), users),
        (Source::Device(path), _) => device(path).map(Taken::Device),
        (Source::Layers { lower, path: part }, None) => Ok(Taken::Whole {
            layers: layers(lower)?,
            part,
        }),
        (Source::Layers { lower, path: part }, Some(users)) => Ok(Taken::Owned {
            layers: lower,
            part,
            users,
        }),
        (&Source::Tmpfs { size, mode }, _) => Ok(Taken::Tmpfs { size, mode }),
        (&Source::Node(node), _) => Ok(Taken::Node(node)),
    }
}

/// Mounts what was taken for it.
pub fn add(root: &Folder, mount: &Mount, taken: Taken<'_>, surroundings: &Surroundings<'_>) -> Result<(), RootError> {
    let &Surroundings { stage, users, .. } = surroundings;
    let forbidden = with(surroundings.forbidden, mount.forbids);
    let source = match taken {
        Taken::Machine { copy, path, users } => {
            if let Some(users) = users {
                users.own(copy.as_fd(), &path)?;
            }
            restrict(copy, &path, mount, forbidden)?
        }
        Taken::Device(device) => device,
        Taken::Whole { layers, part } => self::part(layers, part, stage)?,
        Taken::Owned { layers, part, users } => self::part(owned_layers(layers, users, stage)?, part, stage)?,
        Taken::Tmpfs { size, mode } => tmpfs(size, mode, mount.access, forbidden)?,
        Taken::Node(node) => self::node(node, stage, users).map_err(place("make the device", &mount.target))?,
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

/// Which later mounts pass between it and the machine.
fn pass(copy: BorrowedFd<'_>, propagation: Propagation) -> Result<(), linux::Error> {
    let propagation = match propagation {
        Propagation::Private => mounts::Propagation::Private,
        Propagation::FromMachine => mounts::Propagation::Slave,
        Propagation::Both => mounts::Propagation::Shared,
    };
    mounts::propagate(copy, propagation)
}

/// Forbids what this mount may not be used for.
fn restrict(copy: OwnedFd, path: &Path, mount: &Mount, forbidden: Attributes) -> Result<OwnedFd, RootError> {
    let refused = || host("restrict the mount of", path);
    mounts::restrict(copy.as_fd(), forbidden, true).map_err(refused())?;
    match mount.access {
        Access::Writable => {}
        Access::Readonly => mounts::restrict(copy.as_fd(), readonly(forbidden), false).map_err(refused())?,
        Access::ReadonlyRecursive => mounts::restrict(copy.as_fd(), readonly(forbidden), true).map_err(refused())?,
    }
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

/// All layers as one folder.
fn layers(lower: &[PathBuf]) -> Result<OwnedFd, RootError> {
    match lower {
        // Overlay wants two at least.
        [only] => only_layer(only, None),
        all => stacked(all),
    }
}

/// The same as the pod's users own them.
fn owned_layers(lower: &[PathBuf], users: &Users, stage: &Path) -> Result<OwnedFd, RootError> {
    if let [only] = lower {
        return only_layer(only, Some(users));
    }
    let made = stacked(&users.own_layers(lower, stage)?)?;
    mounts::detach(stage).map_err(host("unmount", stage))?;
    Ok(made)
}

fn only_layer(layer: &Path, users: Option<&Users>) -> Result<OwnedFd, RootError> {
    let copy = mounts::copy_apart(layer).map_err(host("mount the layer", layer))?;
    if let Some(users) = users {
        users.own(copy.as_fd(), layer)?;
    }
    mounts::restrict(copy.as_fd(), IMAGE, true).map_err(host("restrict the mount of", layer))?;
    Ok(copy)
}

fn stacked(layers: &[PathBuf]) -> Result<OwnedFd, RootError> {
    let options: Vec<(&str, &Path)> = layers.iter().map(|layer| ("lowerdir+", layer.as_path())).collect();
    Ok(mounts::make("overlay", &options, IMAGE)?)
}

/// What stands at `path` in a folder that is mounted nowhere, or all of it.
fn part(whole: OwnedFd, path: &Path, stage: &Path) -> Result<OwnedFd, RootError> {
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
    let copy = mounts::copy_apart(path).map_err(host("mount the device", path))?;
    let stat = rustix::fs::fstat(&copy)
        .map_err(linux::Error::rustix("fstat"))
        .map_err(host("look at", path))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice | FileType::CharacterDevice => Ok(copy),
        _ => Err(RootError::NoDevice(path.to_owned())),
    }
}

/// A device file in memory of its own. Linux 6.12 copies no part of a mount that is mounted nowhere, so that is put on the stage.
fn node(node: Node, stage: &Path, users: Option<&Users>) -> Result<OwnedFd, linux::Error> {
    const NAME: &str = "device";
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
