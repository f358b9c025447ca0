//! One layer's archive made into a folder that overlayfs understands; nothing in it can reach outside of that folder.
//!
//! Own extractor over the `tar` crate's parser: every place is opened beneath the folder by openat2(2). The layer stands alone:
//! what hides files of lower layers becomes overlayfs's own marks (overlayfs.rst, "whiteouts and opaque directories").

use linux::beneath::{self, Folder};
use rustix::fs::{AtFlags, Dev, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Entry, EntryType};

/// What an honest layer stays below by far; what is above is a bomb.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Files, folders, links.
    pub(crate) entries: u64,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

/// Ten times the largest layers that are in use (CUDA: 100 k files, 6 GB).
pub(crate) const BOUNDS: Bounds = Bounds {
    entries: 1_000_000,
    bytes: 64 << 30,
};

/// Some builders leave out an archive's last padding and its two empty blocks, and Go's reader, which is what all other
/// runtimes use, does not mind. What is torn off within a file is still found, by the layer's digest.
const MISSING_END: u64 = 3 * 512;

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// One entry of it.
    #[error("entry {entry:?} of the layer {why}")]
    Entry {
        /// As the archive names it.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// More than any honest layer has.
    #[error("the layer has more than {0}; it is refused as a bomb")]
    Bomb(String),
    /// It cannot be read to its end.
    #[error("the layer's archive cannot be read: {0}")]
    Archive(io::Error),
}

/// Unpacks into an empty folder; the bytes of all files.
pub(crate) fn extract(archive: impl Read, into: &Path, bounds: Bounds) -> Result<u64, UnpackError> {
    let root = Folder::open(into).map_err(|error| UnpackError::Archive(io::Error::from_raw_os_error(error.errno)))?;
    let mut layer = Layer {
        root,
        folders: Vec::new(),
        is_root: rustix::process::geteuid().is_root(),
    };
    let mut archive = tar::Archive::new(archive.chain(io::repeat(0).take(MISSING_END)));
    let (mut entries, mut bytes) = (0, 0);
    for entry in archive.entries().map_err(UnpackError::Archive)? {
        let mut entry = entry.map_err(UnpackError::Archive)?;
        entries += 1;
        bytes += entry.size();
        if entries > bounds.entries {
            return Err(UnpackError::Bomb(format!("{} entries", bounds.entries)));
        }
        if bytes > bounds.bytes {
            return Err(UnpackError::Bomb(format!("{} bytes", bounds.bytes)));
        }
        let name = entry.path_bytes().into_owned();
        layer.place(&mut entry, &name).map_err(|why| UnpackError::Entry {
            entry: String::from_utf8_lossy(&name).into_owned(),
            why: why.0,
        })?;
    }
    layer.restore_folder_times();
    Ok(bytes)
}

/// What is wrong, as the end of a sentence.
struct Why(String);

struct Layer {
    root: Folder,
    /// Times of folders, set last because filling a folder changes them.
    folders: Vec<(PathBuf, Timespec)>,
    is_root: bool,
}

/// Where an entry goes.
struct Spot {
    parent: OwnedFd,
    name: OsString,
    path: PathBuf,
}

// === impl Layer ===

impl Layer {
    fn place(&mut self, entry: &mut Entry<'_, impl Read>, name: &[u8]) -> Result<(), Why> {
        let path = inner_path(Path::new(OsStr::from_bytes(name)))?;
        let Some(file_name) = path.file_name() else {
            return self.dress_root(entry);
        };
        let parent = self.make_parents(path.parent().unwrap_or(Path::new("")))?;
        let spot = Spot {
            parent,
            name: file_name.to_owned(),
            path: path.clone(),
        };
        if let Some(hidden) = file_name.as_bytes().strip_prefix(b".wh.") {
            return hide(&spot, OsStr::from_bytes(hidden));
        }
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(entry, &spot),
            EntryType::Directory => self.folder(entry, &spot),
            EntryType::Symlink => self.symlink(entry, &spot),
            EntryType::Link => self.hard_link(entry, &spot),
            EntryType::Char => self.node(entry, &spot, FileType::CharacterDevice),
            EntryType::Block => self.node(entry, &spot, FileType::BlockDevice),
            EntryType::Fifo => self.node(entry, &spot, FileType::Fifo),
            // Global pax headers say nothing about files.
            EntryType::XGlobalHeader => Ok(()),
            other => Err(Why(format!(
                "is of a kind that layers do not have ({:?})",
                other.as_byte() as char
            ))),
        }
    }

    /// `./`: the layer's own root.
    fn dress_root(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), Why> {
        if entry.header().entry_type() != EntryType::Directory {
            return Err(Why("has no name".to_owned()));
        }
        let root = self.open(Path::new(""), OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.dress(entry, root.as_fd())
    }

    fn make_parents(&self, path: &Path) -> Result<OwnedFd, Why> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.root.open_beneath(path, flags, 0) {
            Err(error) if error.is(libc::ENOENT) => {
                let name = path.file_name().ok_or_else(|| Why("has no place".to_owned()))?;
                let parent = self.make_parents(path.parent().unwrap_or(Path::new("")))?;
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
                    .map_err(failed("has a folder that cannot be made"))?;
                self.open(path, flags)
            }
            Err(error) if error.is(libc::EXDEV) => {
                Err(Why("leads out of the layer through a symbolic link".to_owned()))
            }
            done => done.map_err(|error| Why(format!("lies where no folder is: {error}"))),
        }
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Why> {
        self.root
            .open_beneath(path, flags, 0)
            .map_err(|error| Why(format!("cannot be opened: {error}")))
    }

    fn file(&self, entry: &mut Entry<'_, impl Read>, spot: &Spot) -> Result<(), Why> {
        spot.clear()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&spot.parent, &spot.name, flags, Mode::from_raw_mode(0o600))
            .map_err(failed("cannot be made"))?;
        let mut file = std::fs::File::from(file);
        let written = io::copy(entry, &mut file).map_err(|cause| Why(format!("cannot be written: {cause}")))?;
        if written != entry.size() {
            return Err(Why(format!("ends after {written} of {} bytes", entry.size())));
        }
        self.dress(entry, file.as_fd())?;
        rustix::fs::futimens(&file, &times(modified(entry))).map_err(failed("cannot get its time"))
    }

    fn folder(&mut self, entry: &mut Entry<'_, impl Read>, spot: &Spot) -> Result<(), Why> {
        let exists = spot.kind() == Some(FileType::Directory);
        if !exists {
            spot.clear()?;
            rustix::fs::mkdirat(&spot.parent, &spot.name, Mode::from_raw_mode(0o700))
                .map_err(failed("cannot be made"))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder =
            rustix::fs::openat(&spot.parent, &spot.name, flags, Mode::empty()).map_err(failed("cannot be opened"))?;
        self.folders.push((spot.path.clone(), modified(entry)));
        self.dress(entry, folder.as_fd())
    }

    fn symlink(&self, entry: &mut Entry<'_, impl Read>, spot: &Spot) -> Result<(), Why> {
        let target = entry
            .link_name_bytes()
            .ok_or_else(|| Why("is a link to nothing".to_owned()))?
            .into_owned();
        spot.clear()?;
        // Any target: it means something only inside the container, whose root is `/`.
        rustix::fs::symlinkat(OsStr::from_bytes(&target), &spot.parent, &spot.name)
            .map_err(failed("cannot be made"))?;
        self.own(entry, spot)?;
        rustix::fs::utimensat(
            &spot.parent,
            &spot.name,
            &times(modified(entry)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(failed("cannot get its time"))
    }

    fn hard_link(&self, entry: &mut Entry<'_, impl Read>, spot: &Spot) -> Result<(), Why> {
        let target = entry
            .link_name_bytes()
            .ok_or_else(|| Why("is a hard link to nothing".to_owned()))?
            .into_owned();
        let shown = String::from_utf8_lossy(&target).into_owned();
        let out = |why: &str| Why(format!("is a hard link to {shown:?}, which {why}"));
        let path = inner_path(Path::new(OsStr::from_bytes(&target))).map_err(|Why(why)| out(&why))?;
        let file = match self.root.open_beneath(&path, OFlags::PATH | OFlags::NOFOLLOW, 0) {
            Err(error) if error.is(libc::EXDEV) => return Err(out("leads out of the layer through a symbolic link")),
            done => done.map_err(|error| out(&format!("is not in the layer: {error}")))?,
        };
        if path == spot.path {
            return Err(out("is itself"));
        }
        spot.clear()?;
        rustix::fs::linkat(&file, "", &spot.parent, &spot.name, AtFlags::EMPTY_PATH).map_err(failed("cannot be linked"))
    }

    fn node(&self, entry: &mut Entry<'_, impl Read>, spot: &Spot, kind: FileType) -> Result<(), Why> {
        if kind != FileType::Fifo && !self.is_root {
            return Err(Why("is a device, which only root may make".to_owned()));
        }
        let number = |part: io::Result<Option<u32>>| part.ok().flatten().unwrap_or(0);
        let (major, minor) = (
            number(entry.header().device_major()),
            number(entry.header().device_minor()),
        );
        let device: Dev = if kind == FileType::Fifo {
            0
        } else {
            rustix::fs::makedev(major, minor)
        };
        spot.clear()?;
        rustix::fs::mknodat(&spot.parent, &spot.name, kind, Mode::from_raw_mode(0o600), device)
            .map_err(failed("cannot be made"))?;
        self.own(entry, spot)?;
        // Fresh and made by mknodat: no link that could be followed.
        rustix::fs::chmodat(&spot.parent, &spot.name, mode(entry)?, AtFlags::empty())
            .map_err(failed("cannot get its mode"))
    }

    fn own(&self, entry: &Entry<'_, impl Read>, spot: &Spot) -> Result<(), Why> {
        if !self.is_root {
            return Ok(());
        }
        let (uid, gid) = owner(entry)?;
        rustix::fs::chownat(
            &spot.parent,
            &spot.name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(failed("cannot get its owner"))
    }

    /// Owner, mode and extended attributes; the mode after the owner, which would take away set-user-ID.
    fn dress(&self, entry: &mut Entry<'_, impl Read>, file: BorrowedFd<'_>) -> Result<(), Why> {
        if self.is_root {
            let (uid, gid) = owner(entry)?;
            rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(failed("cannot get its owner"))?;
        }
        rustix::fs::fchmod(file, mode(entry)?).map_err(failed("cannot get its mode"))?;
        let Some(extensions) = entry
            .pax_extensions()
            .map_err(|cause| Why(format!("has unreadable attributes: {cause}")))?
        else {
            return Ok(());
        };
        for extension in extensions {
            let extension = extension.map_err(|cause| Why(format!("has unreadable attributes: {cause}")))?;
            let Some(name) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") else {
                continue;
            };
            // `trusted.` would let a layer forge overlayfs's own marks; others mean nothing in a container.
            let means_something = name.starts_with(b"user.") || name == b"security.capability";
            if means_something && self.is_root {
                rustix::fs::fsetxattr(
                    file,
                    OsStr::from_bytes(name),
                    extension.value_bytes(),
                    XattrFlags::empty(),
                )
                .map_err(failed("cannot get its extended attributes"))?;
            }
        }
        Ok(())
    }

    fn restore_folder_times(&self) {
        for (path, modified) in self.folders.iter().rev() {
            // A folder whose time cannot be set, or that a later entry replaced, is as good.
            if let Ok(folder) = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
                let _ = rustix::fs::futimens(&folder, &times(*modified));
            }
        }
    }
}

// === impl Spot ===

impl Spot {
    fn kind(&self) -> Option<FileType> {
        let stat = rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode))
    }

    /// A later entry of the same name wins; a folder with something in it stays and the entry is refused.
    fn clear(&self) -> Result<(), Why> {
        match self.kind() {
            None => Ok(()),
            Some(kind) => beneath::unlink(self.parent.as_fd(), &self.name, kind == FileType::Directory)
                .map_err(|error| Why(format!("stands where the layer already has something: {error}"))),
        }
    }
}

/// Without `.`; refused with `..` or when it is absolute.
fn inner_path(path: &Path) -> Result<PathBuf, Why> {
    let mut inner = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inner.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err(Why("has .. in its path, which leads out of the layer".to_owned())),
            Component::RootDir | Component::Prefix(_) => {
                return Err(Why("has an absolute path, which leads out of the layer".to_owned()));
            }
        }
    }
    Ok(inner)
}

/// `.wh.` marks (OCI image spec, "Whiteouts") in overlayfs's form.
fn hide(spot: &Spot, hidden: &OsStr) -> Result<(), Why> {
    if hidden == ".wh..opq" {
        let parent = rustix::fs::openat(
            &spot.parent,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed("has a folder that cannot be opened"))?;
        return rustix::fs::fsetxattr(&parent, "trusted.overlay.opaque", b"y", XattrFlags::empty())
            .map_err(failed("cannot make its folder opaque"));
    }
    if hidden.as_bytes().starts_with(b".wh.") {
        // What aufs left behind; nobody else knows it.
        return Ok(());
    }
    if hidden.is_empty() || hidden == "." || hidden == ".." {
        return Err(Why("hides nothing that could have a name".to_owned()));
    }
    let spot = Spot {
        parent: spot
            .parent
            .try_clone()
            .map_err(|cause| Why(format!("cannot be made: {cause}")))?,
        name: hidden.to_owned(),
        path: spot.path.with_file_name(hidden),
    };
    spot.clear()?;
    rustix::fs::mknodat(&spot.parent, &spot.name, FileType::CharacterDevice, Mode::empty(), 0)
        .map_err(failed("cannot be made"))
}

fn owner(entry: &Entry<'_, impl Read>) -> Result<(Uid, Gid), Why> {
    let id = |id: io::Result<u64>| {
        id.ok()
            .and_then(|id| u32::try_from(id).ok())
            .filter(|&id| id != u32::MAX)
    };
    match (id(entry.header().uid()), id(entry.header().gid())) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(Why("has an owner that is no number".to_owned())),
    }
}

fn mode(entry: &Entry<'_, impl Read>) -> Result<Mode, Why> {
    let mode = entry
        .header()
        .mode()
        .map_err(|_| Why("has a mode that is no number".to_owned()))?;
    Ok(Mode::from_raw_mode(mode & 0o7777))
}

fn modified(entry: &Entry<'_, impl Read>) -> Timespec {
    Timespec {
        tv_sec: entry
            .header()
            .mtime()
            .ok()
            .and_then(|time| i64::try_from(time).ok())
            .unwrap_or(0),
        tv_nsec: 0,
    }
}

fn times(modified: Timespec) -> Timestamps {
    Timestamps {
        last_access: modified,
        last_modification: modified,
    }
}

fn failed(what: &'static str) -> impl Fn(rustix::io::Errno) -> Why {
    move |errno| {
        Why(format!(
            "{what}: {}",
            io::Error::from_raw_os_error(errno.raw_os_error())
        ))
    }
}
