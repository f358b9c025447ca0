//! What containers and pods keep on disk, counted by looking at every file: file systems keep no count by folder.

use crate::node::Paths;
use std::fs;
use std::ops::Add;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files that are looked at below one folder, at most; a pod that has more is known to have many.
const MOST: u64 = 200_000;

/// Bytes and files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnDisk {
    pub bytes: u64,
    pub files: u64,
}

impl Add for OnDisk {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            files: self.files + other.files,
        }
    }
}

/// Below a folder, as `du` counts.
pub fn below(folder: &Path) -> OnDisk {
    let mut sum = OnDisk::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            sum.files += 1;
            sum.bytes += meta.blocks() * 512;
            if sum.files >= MOST {
                return sum;
            }
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    sum
}

/// A container's writable layer and its logs, those of attempts before this one included.
pub fn of_container(paths: &Paths, uid: &str, logs: &Path, name: &str, attempt: u32) -> (OnDisk, OnDisk) {
    let scratch = paths.pods.join(uid).join(name).join(attempt.to_string());
    (below(&scratch), below(&logs.join(name)))
}

/// A volume of the kind emptyDir.
pub fn of_empty_dir(paths: &Paths, uid: &str, volume: &str) -> OnDisk {
    let folder = paths.kubelet.join(uid).join("volumes/kubernetes.io~empty-dir");
    below(&folder.join(volume))
}
