//! The partitions that the kernel knows, and which of them is meant by a name.

use super::gpt;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A partition as the kernel and its disk's GPT show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// The kernel's name, e.g. `vda2`.
    pub device: String,
    /// The name of its disk, e.g. `vda`.
    pub disk: String,
    /// The GPT's name for it, e.g. `root-a`; empty where it has none.
    pub name: String,
    /// PARTUUID, lower case; empty where the disk has no GPT.
    pub uuid: String,
    /// Length in bytes.
    pub bytes: u64,
}

impl Partition {
    /// Its device file.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.device)
    }
}

/// Every partition that there is now. Disks that cannot be read are left out: they may come back, or be nobody's.
pub fn list() -> io::Result<Vec<Partition>> {
    let mut guids: HashMap<String, Vec<String>> = HashMap::new();
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/block")?.flatten() {
        let Ok(folder) = fs::canonicalize(entry.path()) else {
            continue;
        };
        let Some((number, mut partition)) = describe(&folder) else {
            continue;
        };
        if partition.uuid.is_empty() {
            let of_disk = guids
                .entry(partition.disk.clone())
                .or_insert_with(|| guids_of(&partition.disk, &folder));
            partition.uuid = of_disk.get(number - 1).cloned().unwrap_or_default();
        }
        found.push(partition);
    }
    found.sort_by(|one, other| one.device.cmp(&other.device));
    Ok(found)
}

/// The partition in this sysfs folder and its number from 1; nothing where it is a whole disk.
fn describe(folder: &Path) -> Option<(usize, Partition)> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let number: usize = read("partition")?.trim().parse().ok().filter(|number| *number > 0)?;
    let sectors: u64 = read("size")?.trim().parse().ok()?;
    let uevent = read("uevent")?;
    let word = |key: &str| {
        uevent
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or_default()
            .to_owned()
    };
    let text = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let partition = Partition {
        device: word("DEVNAME="),
        disk: text(folder.parent()?)?,
        name: word("PARTNAME="),
        uuid: word("PARTUUID=").to_ascii_lowercase(),
        bytes: sectors.saturating_mul(512),
    };
    Some((number, partition))
}

fn guids_of(disk: &str, partition: &Path) -> Vec<String> {
    let block_size = partition.parent().map(|disk| disk.join("queue/logical_block_size"));
    let block_size = block_size
        .and_then(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .unwrap_or(512);
    File::open(Path::new("/dev").join(disk))
        .and_then(|disk| gpt::unique_guids(&disk, block_size))
        .unwrap_or_default()
}

/// Why a name means no partition.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Choice {
    #[error("no disk has a partition named {0}")]
    None(String),
    #[error(
        "partitions {devices} are all named {name} and none is on the disk that this boot came from; detach all but one"
    )]
    Several { name: String, devices: String },
}

/// The partition that `name` means: the one on the disk that this boot came from, else the only one there is.
pub fn choose<'a>(all: &'a [Partition], name: &str, boot_disk: Option<&str>) -> Result<&'a Partition, Choice> {
    let named: Vec<&Partition> = all.iter().filter(|partition| partition.name == name).collect();
    let ours = named
        .iter()
        .find(|partition| Some(partition.disk.as_str()) == boot_disk);
    match (ours, named.as_slice()) {
        (Some(ours), _) => Ok(ours),
        (None, []) => Err(Choice::None(name.to_owned())),
        (None, [only]) => Ok(only),
        (None, several) => {
            let devices = several
                .iter()
                .map(|partition| partition.device.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            Err(Choice::Several {
                name: name.to_owned(),
                devices,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(disk: &str, number: u32, name: &str) -> Partition {
        Partition {
            device: format!("{disk}{number}"),
            disk: disk.into(),
            name: name.into(),
            ..Partition::default()
        }
    }

    #[test]
    fn the_boot_disk_comes_first_and_doubt_is_refused() {
        let two = [
            partition("vda", 6, "state"),
            partition("vdb", 1, "state"),
            partition("vdb", 2, "data"),
        ];
        let device = |name, disk| choose(&two, name, disk).map(|found| found.device.clone());
        assert_eq!(device("state", Some("vda")), Ok("vda6".into()));
        assert_eq!(device("state", Some("vdb")), Ok("vdb1".into()));
        assert_eq!(device("data", Some("vda")), Ok("vdb2".into()));
        assert_eq!(device("data", None), Ok("vdb2".into()));
        assert_eq!(device("esp", None), Err(Choice::None("esp".into())));
        let several = Choice::Several {
            name: "state".into(),
            devices: "vda6, vdb1".into(),
        };
        assert_eq!(device("state", Some("vdc")), Err(several));
    }
}
