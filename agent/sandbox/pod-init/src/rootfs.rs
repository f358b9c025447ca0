//! What a container sees as its files: overlay, fixed mounts, the plan's mounts, and what is hidden or read-only.
//!
//! Runs in the child: what is the machine's is taken while the child sees the machine's mounts, the rest is done in mounts of its
//! own, which begin with devices and empty folders (`sandbox::bare`) or, for a pod with users of its own, as a copy of the machine's.
//!
//! Every place inside the root is resolved with the root taken for `/` (`linux::beneath`), so an image full of hostile links cannot make us touch the machine. All mounts forbid device files;
//! the devices that a container has are bound one by one, which makes CAP_MKNOD harmless without a device filter in BPF.

use crate::users::Users;
use crate::volume;
use linux::beneath::Folder;
use linux::mounts::{self, Attributes, NotMounted};
use rustix::fs::{FileType, Mode, OFlags};
use sandbox::ContainerPlan;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Why a root could not be built.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A file system could not be made.
    #[error("{0}")]
    Mount(#[from] NotMounted),
    /// Something at a place inside the container.
    #[error("{what} {place} in the container: {cause}")]
    Place {
        /// What was tried.
        what: &'static str,
        /// Where.
        place: PathBuf,
        /// Why it failed.
        cause: linux::Error,
    },
    /// A file or folder of the machine.
    #[error("{what} {path}: {cause}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        cause: linux::Error,
    },
    /// A file system whose files cannot belong to others than they do on disk.
    #[error(
        "show {path} to the pod's own users (hostUsers: false), which its file system or this kernel may not be able to: {cause}"
    )]
    Owners {
        /// What.
        path: PathBuf,
        /// Why it failed.
        cause: linux::Error,
    },
    /// What should be a device is none.
    #[error("mount {0} into the container: it is no device")]
    NoDevice(PathBuf),
    /// A mount would cover a part of /proc.
    #[error("mount {0} in the container: it leads into /proc, which may not be covered")]
    IntoProc(PathBuf),
    /// A link leads out of a volume.
    #[error("mount {0} in the container: a link leads out of {1}")]
    Escape(PathBuf, PathBuf),
}

/// Where a pod's own things are.
pub struct Places<'a> {
    /// The mount namespace that the root is built in, unless the pod has users of its own.
    pub bare: BorrowedFd<'a>,
    /// An empty folder to put the overlay on.
    pub root: &'a Path,
    /// The memory that the pod's containers share.
    pub shm: &'a Path,
    /// An empty folder to put mounts on of which the container sees a part.
    pub stage: &'a Path,
    /// Whether there is a cgroup v2 tree to show.
    pub cgroups: bool,
}

/// For /dev: programs may not be put there, and its devices are mounts of their own.
const DEV: Attributes = Attributes {
    readonly: false,
    nosuid: true,
    nodev: true,
    noexec: true,
};
/// The group `tty` of every distribution.
const TERMINALS: u32 = 5;
/// Device files that every container has (OCI runtime spec, "Default Devices").
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links that every container has, "Default Dev symbolic links".
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Folders of /dev that something is mounted on.
const FOLDERS: [&str; 3] = ["pts", "shm", "mqueue"];

/// Builds the container's root and makes it the process's own.
pub fn build(plan: &ContainerPlan, places: &Places<'_>, users: Option<&Users>) -> Result<(), RootError> {
    // The pod's memory; what a container mounts in it is its own.
    let shm = mounts::copy_apart(places.shm).map_err(host("copy the mount", places.shm))?;
    let taken = volume::take(&plan.mounts, users)?;
    let overlay = match users {
        None => {
            let overlay = overlay(plan, &plan.root.lower)?;
            keep_apart(|| {
                linux::namespaces::enter_mounts(places.bare)?;
                linux::namespaces::unshare_mounts()
            })?;
            overlay
        }
        Some(users) => {
            keep_apart(|| {
                linux::namespaces::unshare_mounts()?;
                mounts::make_slave()
            })?;
            owned_overlay(plan, places.stage, users)?
        }
    };
    let at = places.root;
    let folder = Folder::open(at).map_err(host("open", at))?;
    mounts::attach(overlay.as_fd(), folder.as_fd()).map_err(host("mount the container's root on", at))?;
    let root = Folder::open(at).map_err(host("open", at))?;
    if let Some(users) = users {
        users
            .make_files()
            .map_err(place("make the pod's root the owner of", Path::new("/")))?;
    }
    fixed_mounts(&root, plan, shm, places.cgroups, users)?;
    let surroundings = volume::Surroundings {
        forbidden: general(plan),
        stage: places.stage,
        users,
    };
    for (mount, taken) in plan.mounts.iter().zip(taken) {
        volume::add(&root, mount, taken, &surroundings)?;
    }
    root.make_folder(&plan.cwd, 0o755)
        .map_err(place("make working folder", &plan.cwd))?;
    if !plan.privileged {
        let mut nothing = None;
        for path in &plan.masked_paths {
            mask(&root, path, &mut nothing)?;
        }
        for path in &plan.readonly_paths {
            freeze(&root, path)?;
        }
    }
    if plan.root.readonly {
        mounts::restrict(root.as_fd(), readonly(general(plan)), false)
            .map_err(place("make read-only", Path::new("/")))?;
    }
    mounts::enter(root.as_fd()).map_err(host("enter", places.root))
}

/// What every mount of the container forbids: device files, unless all devices are its own anyway.
fn general(plan: &ContainerPlan) -> Attributes {
    Attributes {
        nodev: !plan.privileged,
        ..Attributes::default()
    }
}

/// From here on what this process mounts is seen by nobody else.
fn keep_apart(from_the_machine: impl FnOnce() -> Result<(), linux::Error>) -> Result<(), RootError> {
    from_the_machine().map_err(host("keep to itself what is mounted below", Path::new("/")))
}

/// Layers with a new one on top, which is nowhere yet.
fn overlay(plan: &ContainerPlan, lower: &[PathBuf]) -> Result<OwnedFd, RootError> {
    let [upper, work] = sandbox::sweep::SCRATCH.map(|name| plan.root.scratch.join(name));
    let mut options: Vec<(&str, &Path)> = lower.iter().map(|layer| ("lowerdir+", layer.as_path())).collect();
    options.push(("upperdir", &upper));
    options.push(("workdir", &work));
    // What is written here ends with the container at the latest, so nothing of it has to reach the disk before that: neither
    // fsync(2) nor the end of the container waits for it.
    options.push(("volatile", Path::new("")));
    match mounts::make("overlay", &options, general(plan)) {
        Err(refused) if refused.error.is(libc::EIO) => {
            hear_of_failed_writes(&upper);
            Ok(mounts::make("overlay", &options, general(plan))?)
        }
        made => Ok(made?),
    }
}

/// A volatile overlay is refused while some file of the disk, whosever it is, could not be written and nobody was told. The one whom
/// syncfs(2) tells is us; what is the matter with the disk shows in the kernel's log.
fn hear_of_failed_writes(upper: &Path) {
    if let Ok(folder) = std::fs::File::open(upper) {
        let _ = rustix::fs::syncfs(&folder);
    }
}

/// The same with layers that belong to the pod's own users. So does the new one, by its numbers on disk.
fn owned_overlay(plan: &ContainerPlan, stage: &Path, users: &Users) -> Result<OwnedFd, RootError> {
    let upper = plan.root.scratch.join(sandbox::sweep::SCRATCH[0]);
    let owner = Some(users.outside(0));
    std::os::unix::fs::chown(&upper, owner, owner)
        .map_err(|cause| host("change the owner of", &upper)(linux::Error::io("chown")(cause)))?;
    let overlay = overlay(plan, &users.own_layers(&plan.root.lower, stage)?)?;
    mounts::detach(stage).map_err(host("unmount", stage))?;
    Ok(overlay)
}

fn fixed_mounts(
    root: &Folder,
    plan: &ContainerPlan,
    shm: OwnedFd,
    cgroups: bool,
    users: Option<&Users>,
) -> Result<(), RootError> {
    put(root, "/proc", mounts::make("proc", &[], Attributes::DATA)?)?;
    if plan.privileged {
        put(root, "/dev", mounts::make("devtmpfs", &[], Attributes::default())?)?;
    } else {
        devices(root)?;
    }
    let terminals = users.map_or(TERMINALS, |users| users.outside(TERMINALS)).to_string();
    let pts = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", &terminals)];
    let pts = pts.map(|(key, value)| (key, Path::new(value)));
    let attributes = Attributes {
        nosuid: true,
        noexec: true,
        ..Attributes::default()
    };
    put(root, "/dev/pts", mounts::make("devpts", &pts, attributes)?)?;
    put(root, "/dev/shm", shm)?;
    put(root, "/dev/mqueue", mounts::make("mqueue", &[], Attributes::DATA)?)?;
    let sys = if plan.privileged {
        Attributes::DATA
    } else {
        readonly(Attributes::DATA)
    };
    put(root, "/sys", mounts::make("sysfs", &[], sys)?)?;
    if cgroups {
        linux::namespaces::unshare_cgroup().map_err(place("hide the cgroups above", Path::new("/sys/fs/cgroup")))?;
        put(root, "/sys/fs/cgroup", mounts::make("cgroup2", &[], sys)?)?;
    }
    Ok(())
}

/// A /dev with the standard devices. A mount of a single device keeps the flags of the machine's /dev, which allow it.
fn devices(root: &Folder) -> Result<(), RootError> {
    let options = [("mode", Path::new("755")), ("size", Path::new("65536k"))];
    put(root, "/dev", mounts::make("tmpfs", &options, DEV)?)?;
    let at = Path::new("/dev");
    let dev = root.resolve(at, OFlags::PATH).map_err(place("open", at))?;
    // Nobody else has this memory yet, so plain names lead to what they are.
    rustix::process::fchdir(&dev)
        .map_err(linux::Error::rustix("fchdir"))
        .map_err(place("enter", at))?;
    for name in DEVICES {
        let path = at.join(name);
        rustix::fs::mknodat(&dev, name, FileType::RegularFile, Mode::from_raw_mode(0o666), 0)
            .map_err(linux::Error::rustix("mknodat"))
            .map_err(place("make", &path))?;
        mounts::bind(&path, Path::new(name)).map_err(host("show the container the device", &path))?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name)
            .map_err(linux::Error::rustix("symlinkat"))
            .map_err(place("make the link", &at.join(name)))?;
    }
    for name in FOLDERS {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755))
            .map_err(linux::Error::rustix("mkdirat"))
            .map_err(place("make mount point", &at.join(name)))?;
    }
    Ok(())
}

fn put(root: &Folder, at: &str, mount: OwnedFd) -> Result<(), RootError> {
    let at = Path::new(at);
    let target = root.make_folder(at, 0o755).map_err(place("make mount point", at))?;
    mounts::attach(mount.as_fd(), target.as_fd()).map_err(place("mount on", at))
}

/// Hides a file or folder, if it is there; a folder by `nothing`, which the first one makes for all.
fn mask(root: &Folder, path: &Path, nothing: &mut Option<OwnedFd>) -> Result<(), RootError> {
    let Some(target) = existing(root, path)? else {
        return Ok(());
    };
    let stat = rustix::fs::fstat(&target)
        .map_err(linux::Error::rustix("fstat"))
        .map_err(place("look at", path))?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let cover = match (is_folder, &*nothing) {
        (true, Some(nothing)) => mounts::copy_at(nothing.as_fd()).map_err(place("hide", path))?,
        (true, None) => mounts::make("tmpfs", &[("size", Path::new("4k"))], readonly(Attributes::DATA))?,
        (false, _) => {
            let null = Path::new("/dev/null");
            mounts::copy(null).map_err(host("copy the device", null))?
        }
    };
    mounts::attach(cover.as_fd(), target.as_fd()).map_err(place("hide", path))?;
    if is_folder && nothing.is_none() {
        // Mounted by now, so it can be copied.
        *nothing = Some(cover);
    }
    Ok(())
}

/// Makes a file or folder read-only, if it is there.
fn freeze(root: &Folder, path: &Path) -> Result<(), RootError> {
    let Some(target) = existing(root, path)? else {
        return Ok(());
    };
    let copy = mounts::copy_at(target.as_fd()).map_err(place("copy the mount", path))?;
    let attributes = Attributes {
        readonly: true,
        ..Attributes::default()
    };
    mounts::restrict(copy.as_fd(), attributes, true).map_err(place("make read-only", path))?;
    mounts::attach(copy.as_fd(), target.as_fd()).map_err(place("make read-only", path))
}

fn existing(root: &Folder, path: &Path) -> Result<Option<OwnedFd>, RootError> {
    match root.resolve(path, OFlags::PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.is(libc::ENOENT) || error.is(libc::ENOTDIR) => Ok(None),
        Err(error) => Err(place("look at", path)(error)),
    }
}

pub fn readonly(attributes: Attributes) -> Attributes {
    Attributes {
        readonly: true,
        ..attributes
    }
}

pub fn place(what: &'static str, place: &Path) -> impl FnOnce(linux::Error) -> RootError {
    let place = place.to_owned();
    move |cause| RootError::Place { what, place, cause }
}

pub fn host(what: &'static str, path: &Path) -> impl FnOnce(linux::Error) -> RootError {
    let path = path.to_owned();
    move |cause| RootError::Host { what, path, cause }
}

/// Opens a file of the container for reading and writing, e.g. /dev/null, after [`build`].
pub fn open_null() -> Result<OwnedFd, linux::Error> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(linux::Error::rustix("open(/dev/null)"))
}
