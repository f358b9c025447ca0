//! `fsGroup`: a group that owns all of a volume (upstream: pkg/volume/volume_linux.go).
//!
//! Walks by open folders and never follows a link: a container of another pod may be changing the volume meanwhile.

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{Gid, fchownat};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Group may read and write files.
const FILE: u32 = 0o660;
/// Group may do everything in folders, and what is made there is its own.
const FOLDER: u32 = 0o2770;

/// Who is to own a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The group.
    pub group: u32,
    /// Whether a volume whose root is as it should be is left alone (`fsGroupChangePolicy: OnRootMismatch`).
    pub trusts_root: bool,
}

impl Ownership {
    /// Gives everything at and below `root` to the group.
    pub fn apply(self, root: &Path) -> io::Result<()> {
        let folder = Dir::open(
            root,
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let found = fstat(&folder)?;
        if self.trusts_root && found.st_gid == self.group && found.st_mode & FOLDER == FOLDER {
            return Ok(());
        }
        self.folder(folder)
    }

    /// The root last: it says that all below is done.
    fn folder(self, mut folder: Dir) -> io::Result<()> {
        let names: Vec<_> = folder.iter().collect::<Result<_, _>>()?;
        for entry in names {
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => self.entry(folder.as_fd(), OsStr::from_bytes(name))?,
            }
        }
        let found = fstat(&folder)?;
        nix::unistd::fchown(&folder, None, Some(Gid::from_raw(self.group)))?;
        Ok(fchmod(
            &folder,
            Mode::from_bits_truncate(found.st_mode & 0o7777 | FOLDER),
        )?)
    }

    fn entry(self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let found = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(nix::errno::Errno::ENOENT) => return Ok(()),
            found => found?,
        };
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match kind(&found) {
            SFlag::S_IFDIR => self.folder(Dir::openat(parent, name, flags | OFlag::O_DIRECTORY, Mode::empty())?),
            SFlag::S_IFREG => {
                let file = nix::fcntl::openat(parent, name, flags, Mode::empty())?;
                nix::unistd::fchown(&file, None, Some(Gid::from_raw(self.group)))?;
                Ok(fchmod(&file, Mode::from_bits_truncate(found.st_mode & 0o7777 | FILE))?)
            }
            // Links have no permissions, and opening a socket or a pipe is no way to them.
            _ => Ok(fchownat(
                parent,
                name,
                None,
                Some(Gid::from_raw(self.group)),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )?),
        }
    }
}

fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn all_of_a_volume_becomes_the_groups_and_nothing_outside_does() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: giving files to another group needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        fs::create_dir_all(volume.join("deep")).unwrap();
        fs::write(volume.join("deep/file"), "").unwrap();
        fs::set_permissions(volume.join("deep/file"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&outside, "").unwrap();
        symlink(&outside, volume.join("link")).unwrap();
        let of = |path: &Path| {
            let found = fs::metadata(path).unwrap();
            (found.gid(), found.mode() & 0o7777)
        };

        let ownership = |group, trusts_root| Ownership { group, trusts_root };
        ownership(77, false).apply(&volume).unwrap();
        assert_eq!(of(&volume), (77, 0o2775));
        assert_eq!(of(&volume.join("deep/file")), (77, 0o660));
        assert_eq!(of(&outside).0, 0);

        // A root that is right vouches for the rest, where the pod says so.
        fs::set_permissions(volume.join("deep/file"), fs::Permissions::from_mode(0o600)).unwrap();
        ownership(77, true).apply(&volume).unwrap();
        assert_eq!(of(&volume.join("deep/file")).1, 0o600);
        ownership(78, true).apply(&volume).unwrap();
        assert_eq!(of(&volume.join("deep/file")), (78, 0o660));
    }
}
