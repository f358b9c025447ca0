//! The initramfs stage: from the root hash on the kernel command line to a verified, wholly read, mounted root.

mod check;
mod root_hash;
mod switch;
mod verity;

use crate::cmdline::CommandLine;
use crate::console;
use crate::disk::partitions::{self, Partition};
use crate::marks::{self, Marks};
use crate::mounts;
use linux::device_mapper::{DeviceMapper, Target};
use nix::mount::{MsFlags, mount};
use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use root_hash::{NotAHash, RootHash};

/// Ten times the slowest disk that we measured (virtio under TCG, 0.3 s); USB sticks take a few seconds to appear.
const PARTITIONS_DEADLINE: Duration = Duration::from_secs(30);
/// How often the kernel is asked for new partitions meanwhile.
const PARTITIONS_POLL: Duration = Duration::from_millis(10);
/// Long enough to read the sentence on a screen, short enough for a boot loader that counts tries to reach its other slot.
const GIVE_UP_DELAY: Duration = Duration::from_secs(10);

/// The name of the verified device; `dmsetup` would show it.
const MAPPED: &str = "pintle-root";
/// Where the new root is put together.
const NEW_ROOT: &str = "/new-root";

/// Why this image does not start. The sentences go to the console.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("the kernel command line has no roothash=; the image was put together wrongly")]
    NoHash,
    #[error(transparent)]
    BadHash(#[from] NotAHash),
    #[error(transparent)]
    FirstMounts(#[from] mounts::MountError),
    #[error("after {} s there is still no partition with UUID {missing}; attach the disk that this image is on", PARTITIONS_DEADLINE.as_secs())]
    NoPartition { missing: String },
    #[error("read the superblock of {name} ({device})")]
    Superblock {
        name: String,
        device: String,
        #[source]
        cause: io::Error,
    },
    #[error("partition {name} ({device}) is corrupt: {why}; write the image anew or boot the other slot")]
    BadSuperblock {
        name: String,
        device: String,
        why: verity::SuperblockError,
    },
    #[error("set up dm-verity over {name} ({device}) with the root hash of the command line")]
    Verity {
        name: String,
        device: String,
        #[source]
        cause: linux::Error,
    },
    #[error(
        "partition {name} ({device}) is corrupt: its block at byte {at} does not match the hash tree on {tree}; write the image anew or boot the other slot"
    )]
    Corrupt {
        name: String,
        device: String,
        at: u64,
        tree: String,
    },
    #[error("the root of {name} ({device}) is verified but cannot be entered")]
    Enter {
        name: String,
        device: String,
        #[source]
        cause: switch::SwitchError,
    },
}

/// Runs the stage: ends in the next one, or in a restart of the machine.
pub fn run() -> ! {
    let Err(stop) = to_next_stage();
    give_up(&stop)
}

fn to_next_stage() -> Result<Infallible, Stop> {
    mounts::first()?;
    console::use_kernel_log();
    crate::sysctl::apply();
    let mut marks = Marks::since_kernel_start();
    marks.note("initramfs");
    let hash: RootHash = CommandLine::of_this_boot()
        .value("roothash")
        .ok_or(Stop::NoHash)?
        .parse()?;
    let (root, verity) = wait_for_partitions(&hash)?;
    marks.note("disk-found");
    let (device, bytes) = map(&hash, &root, &verity)?;
    marks.note("verity-ready");
    check_whole(&device, bytes, &root, &verity)?;
    marks.note("root-checked");
    let enter = |cause| Stop::Enter {
        name: root.name.clone(),
        device: root.device.clone(),
        cause,
    };
    mount_root(&device).map_err(enter)?;
    marks.note("root-mounted");
    leave(&marks);
    switch::into(Path::new(NEW_ROOT), "/sbin/init").map_err(enter)
}

fn wait_for_partitions(hash: &RootHash) -> Result<(Partition, Partition), Stop> {
    let wanted = [hash.root_partition(), hash.verity_partition()];
    let deadline = Instant::now() + PARTITIONS_DEADLINE;
    loop {
        let all = partitions::list().unwrap_or_default();
        let found = |uuid: &String| all.iter().find(|partition| partition.uuid == *uuid).cloned();
        if let (Some(root), Some(verity)) = (found(&wanted[0]), found(&wanted[1])) {
            return Ok((root, verity));
        }
        if Instant::now() > deadline {
            let missing = wanted
                .iter()
                .filter(|uuid| found(uuid).is_none())
                .cloned()
                .collect::<Vec<_>>()
                .join(" or ");
            return Err(Stop::NoPartition { missing });
        }
        sleep(PARTITIONS_POLL);
    }
}

/// The verified device and how many bytes of it there are.
fn map(hash: &RootHash, root: &Partition, verity: &Partition) -> Result<(PathBuf, u64), Stop> {
    let (name, device) = (verity.name.clone(), verity.device.clone());
    let mut bytes = [0; verity::SUPERBLOCK];
    if let Err(cause) = File::open(verity.path()).and_then(|file| file.read_exact_at(&mut bytes, 0)) {
        return Err(Stop::Superblock { name, device, cause });
    }
    let superblock = verity::Superblock::parse(&bytes, root.bytes);
    let superblock = superblock.map_err(|why| Stop::BadSuperblock { name, device, why })?;
    let table = superblock.table(&root.path().to_string_lossy(), &verity.path().to_string_lossy(), hash);
    let target = Target {
        sectors: superblock.data_bytes() / 512,
        kind: "verity",
        parameters: &table,
    };
    let mapped = DeviceMapper::open().and_then(|mapper| {
        let mapped = mapper.create(MAPPED, &format!("PINTLE-VERITY-{}", hash.hex()))?;
        mapper.load_read_only(MAPPED, target)?;
        mapper.resume_read_only(MAPPED)?;
        Ok(mapped)
    });
    let mapped = mapped.map_err(|cause| Stop::Verity {
        name: root.name.clone(),
        device: root.device.clone(),
        cause,
    })?;
    Ok((
        PathBuf::from(format!("/dev/dm-{}", mapped.minor)),
        superblock.data_bytes(),
    ))
}

fn check_whole(mapped: &Path, bytes: u64, root: &Partition, verity: &Partition) -> Result<(), Stop> {
    let started = Instant::now();
    if let Err(error) = check::read_whole(mapped, bytes) {
        console::warn(console::chain(&error));
        return Err(Stop::Corrupt {
            name: root.name.clone(),
            device: root.device.clone(),
            at: error.at,
            tree: format!("{} ({})", verity.name, verity.device),
        });
    }
    let (mib, took) = (bytes as f64 / f64::from(1 << 20), started.elapsed().as_millis());
    console::notice(format_args!(
        "every block of {} matches its root hash: {mib:.1} MiB in {took} ms",
        root.name
    ));
    Ok(())
}

fn mount_root(mapped: &Path) -> Result<(), switch::SwitchError> {
    let failed = |call| switch::SwitchError::of(call, Path::new(NEW_ROOT));
    fs::create_dir_all(NEW_ROOT).map_err(|cause| failed("mkdir")(linux::Error::io("mkdir")(cause)))?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(Some(mapped), NEW_ROOT, Some("erofs"), flags, None::<&str>)
        .map_err(|errno| failed("mount erofs")(linux::Error::nix("mount")(errno)))
}

/// The marks travel in /run. A boot without them is a boot all the same.
fn leave(marks: &Marks) {
    let file = Path::new(marks::HANDOVER);
    let left = file
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| marks.leave(file));
    if let Err(why) = left {
        console::warn(format_args!("leave the boot marks in {}: {why}", file.display()));
    }
}

/// Nothing of a root that is not what was built may run: the machine says why, waits, and starts again.
fn give_up(stop: &Stop) -> ! {
    let delay = GIVE_UP_DELAY.as_secs();
    console::error(format_args!(
        "{}. Nothing was started; restarting in {delay} s",
        console::chain(stop)
    ));
    sleep(GIVE_UP_DELAY);
    crate::power::now(init_protocol::Down::Reboot)
}
