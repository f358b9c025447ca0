//! The machine's mounts, from /proc/self/mountinfo (man 5 proc_pid_mountinfo), with the space that is left on those that
//! are the machine's own.

use nix::sys::statvfs::statvfs;
use proto::machine::v1::Mount;
use std::fs;

/// In the order they were made.
pub fn all() -> Vec<Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts = text.lines().filter_map(parse).collect::<Vec<_>>();
    // A server that hangs would be waited for.
    for mount in mounts.iter_mut().filter(|mount| !mount.fstype.starts_with("nfs")) {
        if let Ok(space) = statvfs(mount.target.as_str()) {
            mount.size_bytes = space.blocks() * space.fragment_size();
            mount.available_bytes = space.blocks_available() * space.fragment_size();
        }
    }
    mounts
}

/// Whether `/` lies on a device-mapper device, which in a Pintle image is always dm-verity.
pub fn root_is_verified() -> bool {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut roots = text.lines().filter_map(parse).filter(|mount| mount.target == "/");
    roots.any(|mount| {
        mount.fstype == "erofs" && (mount.source.starts_with("/dev/dm-") || mount.source.starts_with("/dev/mapper/"))
    })
}

/// `36 35 98:0 /sub /target rw,noatime shared:1 - ext4 /dev/vda6 rw`
fn parse(line: &str) -> Option<Mount> {
    let (first, second) = line.split_once(" - ")?;
    let mut first = first.split(' ').skip(4);
    let target = unescape(first.next()?);
    let options = first.next()?.to_owned();
    let mut second = second.split(' ');
    let fstype = second.next()?.to_owned();
    let source = unescape(second.next()?);
    Some(Mount {
        target,
        source,
        fstype,
        options,
        size_bytes: 0,
        available_bytes: 0,
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(word: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(word.to_owned(), |word, (escape, letter)| word.replace(escape, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_mounts() {
        let mount =
            parse("36 35 98:0 / /a\\040b rw,noatime shared:1 master:2 - ext4 /dev/vda6 rw,errors=continue").unwrap();
        assert_eq!((mount.target.as_str(), mount.fstype.as_str()), ("/a b", "ext4"));
        assert_eq!(
            (mount.source.as_str(), mount.options.as_str()),
            ("/dev/vda6", "rw,noatime")
        );
    }
}
