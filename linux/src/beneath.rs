//! Paths that cannot leave a folder, however hostile its contents: man 2 openat2.

use crate::Error;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// A folder whose inside may be written by somebody who wishes us harm.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// Symbolic links that are followed before a loop is suspected, as the kernel's `MAXSYMLINKS`.
const MOST_LINKS: u32 = 40;

// === impl Folder ===

impl Folder {
    /// Opens a folder whose own path is trusted.
    pub fn open(path: &Path) -> Result<Folder, Error> {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(Folder)
            .map_err(Error::rustix("open"))
    }

    /// Opens what `path` is when this folder is taken for `/`: absolute and `..` links lead to its inside.
    pub fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Error> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        openat2(self.as_fd(), path, flags, Mode::empty(), resolve)
    }

    /// Opens, or with `O_CREAT` makes, a file below; refuses with EXDEV whatever leaves this folder even for a moment.
    pub fn open_beneath(&self, path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd, Error> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        openat2(self.as_fd(), path, flags, Mode::from_raw_mode(mode), resolve)
    }

    /// Opens a regular file below to read it, as [`Folder::open_beneath`] does; none if something else is there. Whatever that is,
    /// it is not touched, and nobody is waited for: neither a pipe's writer nor who has a lease on the file.
    pub fn open_file_beneath(&self, path: &Path) -> Result<Option<File>, Error> {
        let found = self.open_beneath(path, OFlags::PATH, 0)?;
        let stat = rustix::fs::fstat(&found).map_err(Error::rustix("fstat"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        // What was looked at, and not what has its name by now: man 5 proc, /proc/pid/fd.
        let same = format!("/proc/self/fd/{}", found.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(same, flags, Mode::empty()).map_err(Error::rustix("open"))?;
        Ok(Some(File::from(file)))
    }

    /// Opens whatever is at `path`, as [`Folder::open_beneath`] does, or makes folders there with exactly these permissions.
    /// A link that leads out of this folder or nowhere is an error, whoever put it there.
    pub fn have_beneath(&self, path: &Path, mode: u32) -> Result<OwnedFd, Error> {
        match self.open_beneath(path, OFlags::PATH, 0) {
            Err(error) if error.is(libc::ENOENT) => {}
            done => return done,
        }
        let mut done = PathBuf::new();
        for part in parts(path) {
            let parent = self.open_beneath(&done, OFlags::PATH | OFlags::DIRECTORY, 0)?;
            done.push(part);
            match self.open_beneath(&done, OFlags::PATH, 0) {
                Err(error) if error.is(libc::ENOENT) => {}
                Err(error) => return Err(error),
                Ok(_) => continue,
            }
            make(parent.as_fd(), part, Last::Folder, mode)?;
            // What mkdirat(2) made has lost what the umask forbids. Opened without following: a link now is not what was made.
            let made = self.open_beneath(&done, OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)?;
            rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)).map_err(Error::rustix("fchmod"))?;
        }
        self.open_beneath(path, OFlags::PATH, 0)
    }

    /// Opens a folder below, making it and what leads to it; follows links as [`Folder::resolve`] does, dangling ones, too.
    pub fn make_folder(&self, path: &Path, mode: u32) -> Result<OwnedFd, Error> {
        match self.resolve(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.is(libc::ENOENT) => {
                let inside = self.walk(path, Last::Folder, mode)?;
                self.resolve(&inside, OFlags::PATH | OFlags::DIRECTORY)
            }
            done => done,
        }
    }

    /// Opens whatever is at `path`, or makes an empty file there.
    pub fn make_file(&self, path: &Path, mode: u32) -> Result<OwnedFd, Error> {
        match self.resolve(path, OFlags::PATH) {
            Err(error) if error.is(libc::ENOENT) => {
                let inside = self.walk(path, Last::File, mode)?;
                self.resolve(&inside, OFlags::PATH)
            }
            done => done,
        }
    }

    /// Makes what is missing on the way and returns the same place without links. Each step is resolved within the folder
    /// again, so somebody who changes it meanwhile can make this fail, not lead it out.
    fn walk(&self, path: &Path, last: Last, mode: u32) -> Result<PathBuf, Error> {
        let mut links = 0;
        let mut done = PathBuf::new();
        let mut left: VecDeque<OsString> = parts(path).map(OsStr::to_owned).collect();
        while let Some(part) = left.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&part);
            let is_last = left.is_empty();
            match self.resolve_link(&next)? {
                Found::Link(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Error {
                            call: "openat2",
                            errno: libc::ELOOP,
                        });
                    }
                    if target.is_absolute() {
                        done = PathBuf::new();
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        left.push_front(part.to_owned());
                    }
                }
                Found::Other => done = next,
                Found::Nothing => {
                    let parent = self.resolve(&done, OFlags::PATH | OFlags::DIRECTORY)?;
                    make(parent.as_fd(), &part, if is_last { last } else { Last::Folder }, mode)?;
                    done = next;
                }
            }
        }
        Ok(done)
    }

    fn resolve_link(&self, path: &Path) -> Result<Found, Error> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let fd = match openat2(
            self.as_fd(),
            path,
            OFlags::PATH | OFlags::NOFOLLOW,
            Mode::empty(),
            resolve,
        ) {
            Ok(fd) => fd,
            Err(error) if error.is(libc::ENOENT) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(&fd).map_err(Error::rustix("fstat"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(Found::Other);
        }
        let target = rustix::fs::readlinkat(&fd, "", Vec::new()).map_err(Error::rustix("readlinkat"))?;
        let target = <OsString as std::os::unix::ffi::OsStringExt>::from_vec(target.into_bytes());
        Ok(Found::Link(PathBuf::from(target)))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Folder {
    fn from(fd: OwnedFd) -> Folder {
        Folder(fd)
    }
}

/// What stands at the end of a path that is to be made.
#[derive(Clone, Copy)]
enum Last {
    Folder,
    File,
}

enum Found {
    Link(PathBuf),
    Other,
    Nothing,
}

fn make(parent: BorrowedFd<'_>, name: &OsStr, what: Last, mode: u32) -> Result<(), Error> {
    let mode = Mode::from_raw_mode(mode);
    let made = match what {
        Last::Folder => rustix::fs::mkdirat(parent, name, mode).map_err(Error::rustix("mkdirat")),
        Last::File => {
            rustix::fs::mknodat(parent, name, FileType::RegularFile, mode, 0).map_err(Error::rustix("mknodat"))
        }
    };
    match made {
        Err(error) if error.is(libc::EEXIST) => Ok(()),
        made => made,
    }
}

fn parts(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

fn openat2(
    folder: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Error> {
    // EAGAIN: something was renamed meanwhile and the kernel could not be sure (man 2 openat2).
    for _ in 0..MOST_LINKS {
        match rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
            done => return done.map_err(Error::rustix("openat2")),
        }
    }
    Err(Error {
        call: "openat2",
        errno: libc::EAGAIN,
    })
}

/// Removes an entry of a folder itself, never what a link leads to.
pub fn unlink(folder: BorrowedFd<'_>, name: &OsStr, is_folder: bool) -> Result<(), Error> {
    let flags = if is_folder {
        AtFlags::REMOVEDIR
    } else {
        AtFlags::empty()
    };
    rustix::fs::unlinkat(folder, name, flags).map_err(Error::rustix("unlinkat"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_to_the_inside_and_missing_folders_are_made() {
        let folder = std::env::temp_dir().join(format!("beneath-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("etc")).unwrap();
        symlink("../../../../run/resolve", folder.join("etc/resolv.conf")).unwrap();
        symlink("/data/deep", folder.join("link")).unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        let inside = Folder::open(&folder).unwrap();

        inside.make_file(Path::new("/etc/resolv.conf"), 0o644).unwrap();
        inside.make_folder(Path::new("link/a/../b"), 0o755).unwrap();

        assert!(folder.join("run/resolve").is_file());
        assert!(folder.join("data/deep/b").is_dir());
        assert!(
            inside
                .make_folder(Path::new("loop/x"), 0o755)
                .unwrap_err()
                .is(libc::ELOOP)
        );
        let beneath = inside.open_beneath(Path::new("link/x"), OFlags::PATH, 0).unwrap_err();
        assert!(beneath.is(libc::EXDEV), "{beneath}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn nothing_is_had_outside() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("have-beneath-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inside/data")).unwrap();
        std::fs::create_dir_all(folder.join("outside")).unwrap();
        for (target, name) in [
            ("data", "good"),
            ("/etc", "absolute"),
            ("../outside", "up"),
            ("nowhere", "dangling"),
        ] {
            symlink(target, folder.join("inside").join(name)).unwrap();
        }
        let inside = Folder::open(&folder.join("inside")).unwrap();
        let have = |path: &str| {
            inside
                .have_beneath(Path::new(path), 0o2775)
                .map_err(|error| error.errno)
        };

        have("good/deep/er").unwrap();
        have("good/deep").unwrap();
        let mode = std::fs::metadata(folder.join("inside/data/deep/er"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o2775);
        for path in ["absolute", "absolute/new", "up", "up/new", "good/../../outside"] {
            assert_eq!(have(path).unwrap_err(), libc::EXDEV, "{path}");
        }
        assert!(have("dangling").is_err());
        assert_eq!(std::fs::read_dir(folder.join("outside")).unwrap().count(), 0);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
