//! File systems on disks that persistent volumes of the kind `local` name: an empty disk gets one, whatever else is on one is left
//! alone (upstream: pkg/volume/local, and FormatAndMount of k8s.io/mount-utils).

use super::claim;
use super::mounted;
use super::ownership::Ownership;
use crate::pods::plan::{Lookups, Volume, What};
use k8s_openapi::api::core::v1::{Pod, Volume as Spec};
use linux::mounts::{self, Attributes};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The only one that this node makes, and upstream's default.
const EXT4: &str = "ext4";
/// Those that its kernel mounts from a disk.
const KNOWN: [&str; 2] = [EXT4, "xfs"];
/// Where the image keeps programs of others, with their libraries.
const TOOLS: &str = "/usr/lib/pintle/tools";
/// All that marks a disk as somebody's is in its first or last bytes: partition tables, RAID and LVM, file systems' superblocks.
const ENDS: u64 = 4 << 20;

/// One volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the pod.
    pub volume: String,
    /// The persistent volume's.
    pub name: String,
    device: PathBuf,
    fstype: String,
    readonly: bool,
    ownership: Option<Ownership>,
}

/// What is wanted of a disk; none if the volume is no disk with a file system. An error is upstream's sentence.
pub fn wanted(pod: &Pod, volume: &Spec, lookups: &Lookups) -> Result<Option<Wanted>, String> {
    let Some((name, readonly)) = claim::name(pod, volume) else {
        return Ok(None);
    };
    let (claim, spec) = claim::bound(pod, volume, &name, lookups)?;
    let Some(source) = spec
        .local
        .as_ref()
        .filter(|_| spec.volume_mode.as_deref() != Some("Block"))
    else {
        return Ok(None);
    };
    let is_disk = fs::metadata(&source.path).is_ok_and(|found| found.file_type().is_block_device());
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    Ok(is_disk.then(|| Wanted {
        volume: volume.name.clone(),
        name: name.unwrap_or_default(),
        device: PathBuf::from(&source.path),
        fstype: source
            .fs_type
            .clone()
            .filter(|kind| !kind.is_empty())
            .unwrap_or_else(|| EXT4.to_owned()),
        readonly,
        ownership: super::ownership_of(pod),
    }))
}

// === impl Wanted ===

impl Wanted {
    /// The mounted volume, if it is.
    pub fn found(&self, pod_dir: &Path) -> Option<Volume> {
        let target = self.target(pod_dir);
        let is_mounted = mounted::is_mounted(&target).unwrap_or(false);
        is_mounted.then_some(Volume {
            what: What::Path(target),
            readonly: self.readonly,
        })
    }

    /// Mounts it, with a new file system if the disk is empty; blocks. An error is one sentence.
    pub fn mount(&self, pod_dir: &Path) -> Result<Volume, String> {
        if let Some(found) = self.found(pod_dir) {
            return Ok(found);
        }
        let target = self.target(pod_dir);
        let disk = self.device.display();
        fs::create_dir_all(&target).map_err(|error| format!("make {}: {error}", target.display()))?;
        let Some(fstype) = KNOWN.into_iter().find(|known| *known == self.fstype) else {
            return Err(format!(
                "this node mounts {} from disks, not {:?}",
                KNOWN.join(" and "),
                self.fstype
            ));
        };
        if let Err(refused) = self.put(fstype, &target) {
            self.make(fstype, &refused)?;
            self.put(fstype, &target)
                .map_err(|why| format!("mount the new file system on {disk}: {why}"))?;
        }
        if let Some(ownership) = self.ownership.filter(|_| !self.readonly) {
            let given = ownership.apply(&target);
            given.map_err(|error| format!("give {disk} to the pod's group: {error}"))?;
        }
        Ok(Volume {
            what: What::Path(target),
            readonly: self.readonly,
        })
    }

    fn target(&self, pod_dir: &Path) -> PathBuf {
        pod_dir.join("volumes/kubernetes.io~local-volume").join(&self.name)
    }

    fn put(&self, fstype: &'static str, target: &Path) -> Result<(), String> {
        let attributes = Attributes {
            readonly: self.readonly,
            ..Attributes::default()
        };
        let mount = mounts::make(fstype, &[("source", &self.device)], attributes).map_err(|error| error.to_string())?;
        let place = File::open(target).map_err(|error| error.to_string())?;
        mounts::attach(mount.as_fd(), place.as_fd()).map_err(|error| error.to_string())
    }

    /// Makes a file system where there is nothing at all; `refused` is why the disk could not be mounted as it is.
    fn make(&self, fstype: &str, refused: &str) -> Result<(), String> {
        let disk = self.device.display();
        let empty = is_empty(&self.device).map_err(|error| format!("read {disk}: {error}"))?;
        if !empty {
            return Err(format!(
                "failed to mount {disk} as {fstype}: {refused}; it is not empty, so it is not formatted either"
            ));
        }
        if self.readonly {
            return Err(format!("{disk} is empty, and what is read-only is not formatted"));
        }
        if fstype != EXT4 {
            return Err(format!(
                "{disk} is empty, and this node makes no {fstype} but only {EXT4}"
            ));
        }
        let tools = Path::new(TOOLS);
        let made = Command::new(tools.join("ld-linux-x86-64.so.2"))
            .arg("--library-path")
            .arg(tools)
            .arg(tools.join("mke2fs"))
            // As upstream has it: forced, for disks without partitions; no blocks for root alone.
            .args(["-q", "-F", "-m0", "-t", EXT4])
            .arg(&self.device)
            .stdin(Stdio::null())
            .output();
        let made = made.map_err(|error| format!("start mke2fs: {error}"))?;
        match made.status.success() {
            true => {
                tracing::info!(disk = %disk, volume = %self.name, "an empty disk has a file system now");
                Ok(())
            }
            false => Err(format!(
                "format of disk {disk} failed: {}",
                String::from_utf8_lossy(&made.stderr).trim()
            )),
        }
    }
}

/// Whether both ends of a disk hold nothing but zeros.
fn is_empty(disk: &Path) -> io::Result<bool> {
    let mut disk = File::open(disk)?;
    let bytes = disk.seek(SeekFrom::End(0))?;
    for start in [0, bytes.saturating_sub(ENDS)] {
        disk.seek(SeekFrom::Start(start))?;
        let mut rest = (&mut disk).take(ENDS);
        let mut part = [0; 64 << 10];
        loop {
            let length = rest.read(&mut part)?;
            match part.get(..length).unwrap_or_default() {
                [] => break,
                part if part.iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }
    Ok(bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn whatever_is_at_an_end_of_a_disk_is_somebodys() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let is_empty_with = |bytes: u64, marks: &[u64]| {
            let mut disk = file.reopen().unwrap();
            disk.set_len(0).unwrap();
            disk.set_len(bytes).unwrap();
            for mark in marks {
                disk.seek(SeekFrom::Start(*mark)).unwrap();
                disk.write_all(b"x").unwrap();
            }
            is_empty(file.path()).unwrap()
        };
        let size = 64 << 20;
        assert!(is_empty_with(size, &[]) && is_empty_with(1 << 20, &[]));
        // Nothing to make a file system on.
        assert!(!is_empty_with(0, &[]));
        for mark in [0, 510, 1080, 65_536, size - 512, size - 1] {
            assert!(!is_empty_with(size, &[mark]), "{mark}");
        }
    }
}
