//! The machine's mounts that need no disk: a table, and how one line of it is made real.

use crate::console;
use crate::provider::Provider;
use nix::mount::{MsFlags, mount};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const PLAIN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const WITH_DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);
/// Programs may run from /run and /tmp: sandboxes are put together there.
const WITH_PROGRAMS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// One mount.
#[derive(Debug)]
struct Mount {
    fstype: &'static str,
    target: &'static str,
    flags: MsFlags,
    options: &'static str,
    /// Whether the mount point is made where it is missing; else a missing one says that the kernel or firmware has none.
    made: bool,
}

/// What both stages need, in this order; the second stage finds it mounted by the first.
const FIRST: [Mount; 4] = [
    Mount {
        fstype: "devtmpfs",
        target: "/dev",
        flags: WITH_DEVICES,
        options: "mode=0755",
        made: true,
    },
    Mount {
        fstype: "proc",
        target: "/proc",
        flags: PLAIN,
        options: "",
        made: true,
    },
    Mount {
        fstype: "sysfs",
        target: "/sys",
        flags: PLAIN,
        options: "",
        made: true,
    },
    Mount {
        fstype: "tmpfs",
        target: "/run",
        flags: WITH_PROGRAMS,
        options: "mode=0755",
        made: true,
    },
];

/// What only a running machine needs.
const SECOND: [Mount; 8] = [
    Mount {
        fstype: "devpts",
        target: "/dev/pts",
        flags: WITH_DEVICES,
        options: "mode=0620,ptmxmode=0666",
        made: true,
    },
    Mount {
        fstype: "tmpfs",
        target: "/dev/shm",
        flags: WITH_PROGRAMS,
        options: "mode=1777",
        made: true,
    },
    Mount {
        fstype: "mqueue",
        target: "/dev/mqueue",
        flags: PLAIN,
        options: "",
        made: true,
    },
    Mount {
        fstype: "tmpfs",
        target: "/tmp",
        flags: WITH_PROGRAMS,
        options: "mode=1777",
        made: false,
    },
    Mount {
        fstype: "cgroup2",
        target: "/sys/fs/cgroup",
        flags: PLAIN,
        options: "",
        made: false,
    },
    Mount {
        fstype: "bpf",
        target: "/sys/fs/bpf",
        flags: PLAIN,
        options: "mode=0700",
        made: false,
    },
    Mount {
        fstype: "securityfs",
        target: "/sys/kernel/security",
        flags: PLAIN,
        options: "",
        made: false,
    },
    Mount {
        fstype: "efivarfs",
        target: "/sys/firmware/efi/efivars",
        flags: PLAIN,
        options: "",
        made: false,
    },
];

/// File systems that show the one kernel there is, whichever namespace asks: in namespaces it is the host's.
const OF_THE_KERNEL: [&str; 2] = ["securityfs", "efivarfs"];

/// A mount that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("mount {fstype} on {}", target.display())]
pub struct MountError {
    /// File system type.
    pub fstype: &'static str,
    /// Mount point.
    pub target: PathBuf,
    /// The kernel's reason.
    #[source]
    pub cause: linux::Error,
}

/// The first stage's four, on a machine of our own: without them nothing works.
pub fn first() -> Result<(), MountError> {
    FIRST
        .iter()
        .filter(|line| !is_mount_point(Path::new(line.target)))
        .try_for_each(make)
}

/// Everything, skipping what is there. A failure is said and the rest still made: most of a machine is better than none.
pub fn all(provider: Provider) {
    if provider == Provider::Namespaces {
        fresh_proc();
        crate::devices::make_where_missing();
    }
    for line in FIRST.iter().chain(&SECOND) {
        let target = Path::new(line.target);
        let missing = !line.made && !target.exists();
        let is_the_hosts = provider == Provider::Namespaces && OF_THE_KERNEL.contains(&line.fstype);
        if missing || is_the_hosts || is_mount_point(target) {
            continue;
        }
        if let Err(error) = make(line) {
            console::warn(format_args!("{}; going on without", console::chain(&error)));
        }
    }
    // Volumes that pods share with the host have to travel between mount namespaces (mount_namespaces(7)).
    if let Err(errno) = mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SHARED,
        None::<&str>,
    ) {
        console::warn(format_args!(
            "make / a shared mount: {errno}; mounts of pods will not reach other pods"
        ));
    }
}

/// Whether something is mounted there: a mount point has another device than its parent folder.
pub fn is_mount_point(target: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    match target.parent() {
        Some(parent) => device(target).is_some() && device(target) != device(parent),
        None => true,
    }
}

/// A tmpfs in place of a volume that the machine does not have.
pub fn memory(target: &Path, options: &str) -> Result<(), MountError> {
    let failed = |errno| MountError {
        fstype: "tmpfs",
        target: target.to_owned(),
        cause: linux::Error::nix("mount")(errno),
    };
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::MS_NODEV, Some(options)).map_err(failed)
}

fn make(line: &Mount) -> Result<(), MountError> {
    let target = Path::new(line.target);
    if line.made {
        // A read-only root has the mount points; where it does not, the mount itself says what is missing.
        let _ = fs::create_dir_all(target);
    }
    let failed = |errno| MountError {
        fstype: line.fstype,
        target: target.to_owned(),
        cause: linux::Error::nix("mount")(errno),
    };
    mount(
        Some(line.fstype),
        target,
        Some(line.fstype),
        line.flags,
        Some(line.options),
    )
    .map_err(failed)
}

/// A /proc that was mounted for another PID namespace would show other processes under our numbers.
fn fresh_proc() {
    let ours = fs::read_link("/proc/self").is_ok_and(|pid| pid == Path::new("1"));
    if !ours && let Err(error) = make(&FIRST[1]) {
        console::warn(format_args!("{}; going on without", console::chain(&error)));
    }
}
