//! STATE and DATA on their mount points: made on the first boot, checked on later ones, replaced by memory where they
//! cannot be used. What looks like data is never formatted.

use super::partitions::{Choice, Partition, choose};
use super::{blank, ext4, pending, signature, tools};
use crate::marks::boottime_us;
use crate::{console, mounts};
use init_protocol::{Found, Volume, VolumeReport};
use nix::mount::{MsFlags, mount};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

/// Where a volume belongs.
#[derive(Debug)]
pub struct Place {
    pub volume: Volume,
    /// The partition's name in the GPT.
    pub partition: &'static str,
    /// Its mount point.
    pub target: &'static str,
    flags: MsFlags,
    /// Of the tmpfs that stands in for it.
    memory: &'static str,
}

/// Config and keys: nothing there is a program or a device.
pub const STATE: Place = Place {
    volume: Volume::State,
    partition: "state",
    target: "/state",
    flags: MsFlags::MS_NODEV
        .union(MsFlags::MS_NOSUID)
        .union(MsFlags::MS_NOEXEC)
        .union(MsFlags::MS_NOATIME),
    memory: "mode=0700,size=16m",
};

/// Containers' roots and volumes lie here, so programs and their set-user-ID bits must work.
pub const DATA: Place = Place {
    volume: Volume::Data,
    partition: "data",
    target: "/var",
    flags: MsFlags::MS_NODEV.union(MsFlags::MS_NOATIME),
    memory: "mode=0755,size=75%",
};

/// A volume that is in place, one way or the other.
#[derive(Debug)]
pub struct Prepared {
    /// What it came to, for people and for the agent.
    pub report: VolumeReport,
    /// The partition that is meant, also where it could not be used; a reset wipes it.
    pub partition: Option<Partition>,
    /// Microseconds of CLOCK_BOOTTIME when it was in place.
    pub at_us: u64,
}

impl Prepared {
    /// It is in place now.
    pub fn now(volume: Volume, found: Found, note: String, partition: Option<&Partition>) -> Self {
        Prepared {
            report: VolumeReport { volume, found, note },
            partition: partition.cloned(),
            at_us: boottime_us(),
        }
    }
}

/// Why a partition cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it cannot be read or written")]
    Device(#[from] io::Error),
    #[error(transparent)]
    Tool(#[from] tools::ToolError),
    #[error("it holds {0}, which is not a file system of ours")]
    Foreign(&'static str),
    #[error("it is neither blank nor a file system that we know, so it is corrupt")]
    Corrupt,
    #[error("its file system is corrupt: {0}")]
    PlainlyWrong(&'static str),
    #[error("its file system is corrupt beyond what e2fsck repairs by itself")]
    BeyondRepair,
    #[error("mke2fs failed: {0}")]
    NotMade(String),
    #[error("mount ext4")]
    Mount(#[source] linux::Error),
}

/// What is to be done with a partition.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Check,
    Make,
    LeaveForeign(&'static str),
    LeaveCorrupt,
}

/// Puts the volume on its mount point; says on the console what a person should know.
pub fn prepare(place: &Place, all: &[Partition], boot_disk: Option<&str>) -> Prepared {
    let name = place.volume;
    let partition = match choose(all, place.partition, boot_disk) {
        Ok(partition) => partition,
        Err(none @ Choice::None(_)) => return in_memory(place, None, Found::Absent, none.to_string()),
        Err(several @ Choice::Several { .. }) => {
            return in_memory(place, None, Found::Unusable, several.to_string());
        }
    };
    match bring_up(place, partition) {
        Ok(found) => {
            let note = match found {
                Found::Created => format!("{name}: a new file system on {} ({})", partition.name, partition.device),
                Found::Repaired => format!("{name}: e2fsck repaired {} ({})", partition.name, partition.device),
                Found::Sound | Found::Absent | Found::Unusable | Found::Given => String::new(),
            };
            if !note.is_empty() {
                console::notice(&note);
            }
            Prepared::now(name, found, note, Some(partition))
        }
        Err(why) => {
            let why = format!(
                "partition {} ({}): {}",
                partition.name,
                partition.device,
                console::chain(&why)
            );
            in_memory(
                place,
                Some(partition),
                Found::Unusable,
                format!("{why}; it is left as it is"),
            )
        }
    }
}

fn in_memory(place: &Place, partition: Option<&Partition>, found: Found, why: String) -> Prepared {
    let (name, target) = (place.volume, place.target);
    let note = format!("{name}: {why}; {target} is in memory and lost with this boot");
    match found {
        Found::Unusable => console::error(&note),
        Found::Absent | Found::Sound | Found::Repaired | Found::Created | Found::Given => console::warn(&note),
    }
    if let Err(error) = mounts::memory(Path::new(target), place.memory) {
        console::error(console::chain(&error));
    }
    Prepared::now(name, found, note, partition)
}

fn bring_up(place: &Place, partition: &Partition) -> Result<Found, Unusable> {
    let path = partition.path();
    let found = match look(&path, partition.bytes)? {
        Plan::LeaveForeign(what) => return Err(Unusable::Foreign(what)),
        Plan::LeaveCorrupt => return Err(Unusable::Corrupt),
        Plan::Make => make(&path, partition.bytes, place.partition)?,
        Plan::Check => check(&path)?,
    };
    let failed = |errno| Unusable::Mount(linux::Error::nix("mount")(errno));
    mount(
        Some(&path),
        place.target,
        Some("ext4"),
        place.flags,
        Some("errors=remount-ro"),
    )
    .map_err(failed)?;
    Ok(found)
}

fn look(path: &Path, bytes: u64) -> io::Result<Plan> {
    let device = OpenOptions::new().read(true).open(path)?;
    if pending::is_noted(&device, bytes)? {
        return Ok(Plan::Make);
    }
    let found = signature::detect(&device);
    Ok(plan(found, found.is_none() && blank::is_blank(&device, bytes)?))
}

fn plan(found: Option<&'static str>, is_blank: bool) -> Plan {
    match found {
        Some("ext4") => Plan::Check,
        Some(other) => Plan::LeaveForeign(other),
        None if is_blank => Plan::Make,
        None => Plan::LeaveCorrupt,
    }
}

/// A new file system, with a note on the disk while it is not whole.
fn make(path: &PathBuf, bytes: u64, label: &str) -> Result<Found, Unusable> {
    let device = OpenOptions::new().read(true).write(true).open(path)?;
    pending::note(&device, bytes)?;
    let blocks = (bytes.saturating_sub(pending::TAIL) / 4096).to_string();
    let path = path.to_string_lossy();
    // No discard: the blank partition is sparse already. Lazy tables: a large disk must not hold up its first boot.
    let options = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
    let arguments = [
        "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-E", options, "-L", label, &path, &blocks,
    ];
    let ended = tools::run("mke2fs", &arguments)?;
    if ended.code != Some(0) {
        return Err(Unusable::NotMade(ended.said));
    }
    device.sync_all()?;
    pending::clear(&device, bytes)?;
    Ok(Found::Created)
}

fn check(path: &Path) -> Result<Found, Unusable> {
    let device = OpenOptions::new().read(true).open(path)?;
    if let Some(wrong) = ext4::plainly_wrong(&device)? {
        return Err(Unusable::PlainlyWrong(wrong));
    }
    if ext4::was_left_clean(&device)? {
        return Ok(Found::Sound);
    }
    let ended = tools::run("e2fsck", &["-p", &path.to_string_lossy()])?;
    // e2fsck(8): 1 corrected, 2 corrected and asks for a reboot, which concerns mounted file systems; more is worse.
    match ended.code {
        Some(0) => Ok(Found::Sound),
        Some(1..=3) => Ok(Found::Repaired),
        Some(_) | None => {
            console::warn(format_args!("e2fsck said: {}", ended.said));
            Err(Unusable::BeyondRepair)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_blank_partition_is_formatted() {
        let cases = [
            (Some("ext4"), false, Plan::Check),
            (Some("xfs"), false, Plan::LeaveForeign("xfs")),
            (None, true, Plan::Make),
            (None, false, Plan::LeaveCorrupt),
        ];
        for (found, is_blank, wanted) in cases {
            assert_eq!(plan(found, is_blank), wanted);
        }
    }

    #[test]
    fn a_partition_with_a_note_is_formatted_whatever_it_holds() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("partition");
        std::fs::write(&path, vec![7; 4 << 20]).expect("the folder is writable");
        assert_eq!(look(&path, 4 << 20).expect("it can be read"), Plan::LeaveCorrupt);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("it is there");
        pending::note(&file, 4 << 20).expect("it can be written");
        assert_eq!(look(&path, 4 << 20).expect("it can be read"), Plan::Make);
    }
}
