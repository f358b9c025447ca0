//! A machine's disk onto another image: what the OS brings is the new image's, STATE and DATA stay.

use super::arguments::Files;
use crate::{Artifacts, MachinePlan, tools};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

const SECTOR: u64 = 512;
/// A partition whose content the image brings and a running machine writes to: boot counting renames files in it.
const WRITTEN_BY_BOTH: &str = "esp";
/// Partitions that the image does not bring; they must lie where they lay.
const KEPT: [&str; 2] = ["state", "data"];

/// One partition of a GPT, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Partition {
    name: String,
    offset: u64,
    length: u64,
}

/// Put the disk of the stopped machine of `plan` on top of the image of `artifacts`. A machine without disk has nothing
/// to carry over.
pub fn carry_over(plan: &MachinePlan, artifacts: &Artifacts) -> Result<()> {
    let files = Files::of(plan);
    if !files.disk.exists() {
        return Ok(());
    }
    let (old, new) = (partitions(&plan.artifacts.disk)?, partitions(&artifacts.disk)?);
    for name in KEPT {
        ensure!(
            old.iter().find(|part| part.name == name) == new.iter().find(|part| part.name == name),
            "the new image has its partition {name:?} elsewhere: the disk of {} cannot be kept",
            plan.spec.name
        );
    }
    let mut rebase = tools::command(&artifacts.tools, "qemu-img");
    rebase
        .args(["rebase", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(&artifacts.disk)
        .arg(&files.disk);
    run(&mut rebase, "put the disk on top of the new image")?;
    // What the machine wrote there hides the new image's; the table itself it does not write.
    for part in new.iter().filter(|part| part.name == WRITTEN_BY_BOTH) {
        overwrite(artifacts, part, &files.disk)?;
    }
    Ok(())
}

fn overwrite(artifacts: &Artifacts, part: &Partition, disk: &Path) -> Result<()> {
    let mut content = vec![0; usize::try_from(part.length)?];
    File::open(&artifacts.disk)?.read_exact_at(&mut content, part.offset)?;
    let piece = tempfile::NamedTempFile::new()?;
    std::fs::write(piece.path(), &content)?;
    let mut write = tools::command(&artifacts.tools, "qemu-io");
    let command = format!("write -q -s {} {} {}", piece.path().display(), part.offset, part.length);
    write.args(["-f", "qcow2", "-c", &command]).arg(disk);
    run(&mut write, &format!("write partition {:?} of the new image", part.name))
}

fn run(command: &mut Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| what.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}: {}", output.status, said.trim());
    Ok(())
}

/// The partitions of the raw image at `path`.
fn partitions(path: &Path) -> Result<Vec<Partition>> {
    let file = File::open(path).with_context(|| format!("open the disk image {}", path.display()))?;
    let mut header = [0; 512];
    file.read_exact_at(&mut header, SECTOR)?;
    ensure!(&header[..8] == b"EFI PART", "{} has no GPT", path.display());
    let entries = number::<4>(&header, 80);
    let size = number::<4>(&header, 84);
    let mut table = vec![0; usize::try_from(entries * size)?];
    file.read_exact_at(&mut table, number::<8>(&header, 72) * SECTOR)?;
    Ok(table
        .chunks_exact(usize::try_from(size)?)
        .filter_map(partition)
        .collect())
}

/// One entry (UEFI specification 5.3.3); an all-zero type means that it is unused.
fn partition(entry: &[u8]) -> Option<Partition> {
    if entry[..16].iter().all(|byte| *byte == 0) {
        return None;
    }
    let (first, last) = (number::<8>(entry, 32), number::<8>(entry, 40));
    let units = entry[56..128]
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let name: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    Some(Partition {
        name: String::from_utf16_lossy(&name),
        offset: first * SECTOR,
        length: (last + 1 - first) * SECTOR,
    })
}

/// A little-endian number of `N` bytes.
fn number<const N: usize>(bytes: &[u8], offset: usize) -> u64 {
    bytes[offset..offset + N]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_entry() {
        let mut entry = [0; 128];
        assert_eq!(partition(&entry), None);
        entry[0] = 1;
        entry[33] = 8; // first sector 2048
        entry[41] = 8; // last sector 2049
        entry[40] = 1;
        entry[56..62].copy_from_slice(b"e\0s\0p\0");
        let expected = Partition {
            name: "esp".to_owned(),
            offset: 1 << 20,
            length: 1024,
        };
        assert_eq!(partition(&entry), Some(expected));
    }
}
