//! `/dev` of a machine that lives in namespaces: a tmpfs with the few devices that every program may have.

use crate::console;
use crate::mounts::is_mount_point;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Name, mode, major and minor number (`admin-guide/devices.txt`). No disks, no kernel log: those are the host's.
const DEVICES: [(&str, u32, u64, u64); 8] = [
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("full", 0o666, 1, 7),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("tty", 0o666, 5, 0),
    ("net/tun", 0o666, 10, 200),
    ("fuse", 0o666, 10, 229),
];

const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes `/dev` unless the host gave one.
pub fn make_where_missing() {
    let dev = Path::new("/dev");
    if is_mount_point(dev) {
        return;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    if let Err(errno) = mount(
        Some("tmpfs"),
        dev,
        Some("tmpfs"),
        flags,
        Some("mode=0755,size=64k,nr_inodes=256"),
    ) {
        return console::warn(format_args!("mount tmpfs on /dev: {errno}; going on without devices"));
    }
    for (name, mode, major, minor) in DEVICES {
        if let Err(why) = make(&dev.join(name), mode, makedev(major, minor)) {
            console::warn(format_args!("make /dev/{name}: {why}; going on without"));
        }
    }
    for (name, target) in LINKS {
        if let Err(why) = symlink(target, dev.join(name)) {
            console::warn(format_args!("link /dev/{name}: {why}; going on without"));
        }
    }
}

fn make(path: &Path, mode: u32, device: u64) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(mode), device)?;
    // mknod obeys the umask.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}
