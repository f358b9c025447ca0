//! What is mounted in a pod's folder: memory, and taking everything away.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Unmounts and removes every volume below `dir`; what is not there is gone already. What a driver has is
/// the driver's to unmount, and what a server has must be let go of first.
pub fn take_away(dir: &Path) -> io::Result<()> {
    let driven = dir.join("plugins/kubernetes.io~csi");
    if fs::read_dir(driven).is_ok_and(|mut records| records.next().is_some()) {
        return Err(io::Error::other("a storage driver has not let go of a volume yet"));
    }
    if crate::nfs::holds(dir) {
        return Err(io::Error::other("a volume of an NFS server is not unmounted yet"));
    }
    let volumes = dir.join("volumes");
    for mounted in below(&volumes)? {
        umount2(&mounted, MntFlags::MNT_DETACH)?;
    }
    match fs::remove_dir_all(&volumes) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Mount points below a folder, itself included, deepest first.
pub fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(unescape(point)));
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(folder)).collect();
    below.reverse();
    Ok(below)
}

/// Whether something is mounted there, which touches nothing of what is.
pub fn is_mounted(target: &Path) -> io::Result<bool> {
    Ok(below(target)?.iter().any(|point| point == target))
}

/// Whether a folder of this machine's own is the root of a mount. The table of all mounts, which grows with the pods, is not
/// read for it; a folder that a server has might be waited for.
fn is_root(folder: &Path) -> io::Result<bool> {
    let status = statx(CWD, folder, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())?;
    Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// mountinfo writes spaces as `\040`, man 5 proc_pid_mountinfo.
fn unescape(point: &str) -> String {
    point
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

/// Huge pages of so many bytes each on `path`; those that are there already stay.
pub fn hugetlbfs(path: &Path, page: i64) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if is_root(path)? {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = format!("pagesize={page}");
    Ok(mount(
        Some("nodev"),
        path,
        Some("hugetlbfs"),
        flags,
        Some(options.as_str()),
    )?)
}

/// A tmpfs on `path`, of at most `size` bytes (0: half of RAM); the one that is there already stays.
pub fn tmpfs(path: &Path, size: u64) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if is_root(path)? {
        return Ok(());
    }
    let options = if size == 0 {
        "mode=0755".to_owned()
    } else {
        format!("mode=0755,size={size}")
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )?)
}
