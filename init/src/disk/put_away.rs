//! The last acts on the disks: seed for the next boot, unmount, wipe what a reset wipes, sync.

use super::partitions::Partition;
use super::wipe::wipe;
use crate::{console, entropy, mounts};
use init_protocol::Volume;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::sync;
use std::fs;
use std::io;
use std::path::Path;

/// Mount points that stay to the end: they are the kernel's or in memory.
const STAYING: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/// How much of it there is to do.
#[derive(Debug)]
pub enum Work {
    /// Forced: no more than a sync.
    SyncOnly,
    /// A machine of our own: unmount all, wipe these.
    Partitions(Vec<(Volume, Option<Partition>)>),
    /// Namespaces: the file systems are the host's; a reset empties folders.
    Folders(Vec<Volume>),
}

/// Does it; what fails is said, and the rest still done.
pub fn run(work: Work) {
    match work {
        Work::SyncOnly => sync(),
        Work::Partitions(to_wipe) => {
            let keeps_state = !to_wipe.iter().any(|(volume, _)| *volume == Volume::State);
            if keeps_state
                && mounts::is_mount_point(Path::new("/state"))
                && let Err(why) = entropy::renew()
            {
                console::warn(format_args!("leave a random seed for the next boot: {why}"));
            }
            let_go_of_servers();
            sync();
            unmount_all();
            to_wipe
                .iter()
                .for_each(|(volume, partition)| wipe_partition(*volume, partition.as_ref()));
            sync();
        }
        Work::Folders(volumes) => volumes.into_iter().for_each(empty),
    }
}

fn wipe_partition(volume: Volume, partition: Option<&Partition>) {
    match partition.map(|partition| wipe(&partition.path(), partition.bytes)) {
        None => console::notice(format_args!("{volume} was in memory; there is nothing to wipe")),
        Some(Ok(())) => {}
        Some(Err(why)) => console::error(format_args!("wipe {volume}: {why}; it may still hold config and keys")),
    }
}

/// A server that does not answer would be waited for, and the disks would not be written. Whoever wrote to one has ended and closed its
/// files by now, which waits until the server has everything (man 5 nfs, "Close-to-open cache consistency").
fn let_go_of_servers() {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for target in to_unmount(&of_servers(&table)) {
        // What waits there fails; that the mount is busy still is no failure of ours.
        let _ = umount2(target.as_str(), MntFlags::MNT_FORCE);
        let _ = umount2(target.as_str(), MntFlags::MNT_DETACH);
    }
}

/// The lines of mountinfo that are NFS.
fn of_servers(mountinfo: &str) -> String {
    let lines = mountinfo.lines();
    let of_servers = lines.filter(|line| line.contains(" - nfs ") || line.contains(" - nfs4 "));
    of_servers.map(|line| format!("{line}\n")).collect()
}

/// Innermost mounts first. What is still busy becomes read-only, so that its file system is whole.
fn unmount_all() {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for target in to_unmount(&table) {
        let Err(errno) = umount2(target.as_str(), MntFlags::empty()) else {
            continue;
        };
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        match mount(None::<&str>, target.as_str(), None::<&str>, read_only, None::<&str>) {
            Ok(()) => console::warn(format_args!("unmount {target}: {errno}; made read-only instead")),
            Err(_) => console::warn(format_args!(
                "unmount {target}: {errno}; its journal is left to the next boot"
            )),
        }
    }
}

/// Mount points out of mountinfo (proc_pid_mountinfo(5)), last mounted first.
fn to_unmount(mountinfo: &str) -> Vec<String> {
    let targets = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| path.replace("\\040", " "));
    let stays = |path: &str| path == "/" || STAYING.iter().any(|staying| Path::new(path).starts_with(staying));
    let mut found: Vec<String> = targets.filter(|path| !stays(path)).collect();
    found.reverse();
    found
}

fn empty(volume: Volume) {
    let folder = match volume {
        Volume::State => "/state",
        Volume::Data => "/var",
    };
    if let Err(why) = empty_folder(Path::new(folder)) {
        console::error(format_args!("empty {folder}: {why}; it may still hold config and keys"));
    }
}

fn empty_folder(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_folder = entry.file_type()?.is_dir();
        if is_folder {
            fs::remove_dir_all(entry.path())?
        } else {
            fs::remove_file(entry.path())?
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_unmounted_from_the_inside_and_the_kernels_own_stay() {
        let table = "22 1 253:0 / / ro - erofs /dev/dm-0 ro\n\
            23 22 0:5 / /proc rw - proc proc rw\n\
            24 22 0:6 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
            25 22 254:7 / /var rw - ext4 /dev/vda7 rw\n\
            26 25 0:40 / /var/lib/a\\040b rw - overlay overlay rw\n\
            27 22 254:6 / /state rw - ext4 /dev/vda6 rw\n";
        assert_eq!(to_unmount(table), ["/state", "/var/lib/a b", "/var"]);
    }

    #[test]
    fn servers_are_known_by_their_file_system() {
        let table = "25 22 254:7 / /var rw - ext4 /dev/vda7 rw\n\
            26 25 0:40 / /var/v\\040w rw - nfs4 10.0.0.1:/x rw,vers=4.2\n\
            27 25 0:41 / /var/w rw - nfs 10.0.0.1:/y rw,vers=3\n";
        assert_eq!(to_unmount(&of_servers(table)), ["/var/w", "/var/v w"]);
    }

    #[test]
    fn a_folder_is_emptied_but_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::create_dir_all(folder.path().join("a/b")).expect("it is writable");
        fs::write(folder.path().join("secrets.toml"), "x").expect("it is writable");
        empty_folder(folder.path()).expect("all of it can go");
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
    }
}
