//! Whether unpacked layers are still what was unpacked: each keeps the digest of what is in its folder, names, kinds, modes and
//! sizes. Contents are not read again, which would cost what a pull does; what a disk lost shows in these.

use crate::layers::{Layers, hex};
use crate::{Store, StoreError};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The digest of what is in a folder. What cannot be looked at is part of it too, so that it cannot fail.
pub(crate) fn seal(files: &Path) -> String {
    let mut hash = Sha256::new();
    add(files, &mut hash);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn add(path: &Path, hash: &mut Sha256) {
    let mut number = |number: u64| hash.update(number.to_le_bytes());
    match fs::symlink_metadata(path) {
        Err(error) => number(u64::from(error.raw_os_error().unwrap_or_default().unsigned_abs())),
        Ok(meta) => {
            number(u64::from(meta.mode()));
            number(meta.rdev());
            // A folder's size is the file system's affair.
            number(if meta.is_dir() { 0 } else { meta.size() });
            if meta.is_dir() {
                add_folder(path, hash);
            }
        }
    }
}

fn add_folder(path: &Path, hash: &mut Sha256) {
    let Ok(entries) = fs::read_dir(path) else { return };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    hash.update((names.len() as u64).to_le_bytes());
    for name in names {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        add(&path.join(name), hash);
    }
}

// === impl Store ===

impl Store {
    /// Looks at every layer, and puts aside those that are not what was unpacked; their digests. Their images count as absent
    /// from then on and are pulled again when somebody needs them. Blocks, for about a second per 100,000 files.
    ///
    /// Who runs with a layer that was put aside keeps it until [`Store::forget_damaged`].
    pub fn put_damaged_aside(&self) -> Result<Vec<String>, StoreError> {
        let failed = |cause| StoreError::Io {
            what: "look for damaged layers in",
            path: self.dir.clone(),
            cause,
        };
        let mut damaged = Vec::new();
        for diff_id in self.layers.list().map_err(failed)? {
            if !self.layers.is_intact(&diff_id) {
                self.layers.put_aside(&diff_id).map_err(failed)?;
                damaged.push(diff_id);
            }
        }
        Ok(damaged)
    }

    /// Removes what was put aside; for when no container of before can run any more.
    pub fn forget_damaged(&self) -> Result<(), StoreError> {
        let path = self.layers.aside();
        match fs::remove_dir_all(path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StoreError::Io {
                what: "remove damaged layers in",
                path: path.to_owned(),
                cause,
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

// === impl Layers ===

impl Layers {
    /// Digests of those that are here, complete or not.
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.complete())?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn is_intact(&self, diff_id: &str) -> bool {
        let Some(record) = self.record(diff_id) else {
            return false;
        };
        // Layers that were unpacked before there were seals have none.
        record
            .seal
            .is_none_or(|expected| seal(&self.files(diff_id)) == expected)
    }

    /// Out of the way by one rename.
    pub(crate) fn put_aside(&self, diff_id: &str) -> io::Result<()> {
        fs::create_dir_all(self.aside())?;
        let mut nth = 0;
        loop {
            let aside = self.aside().join(format!("{}.{nth}", hex(diff_id)));
            match fs::rename(self.folder(diff_id), &aside) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => nth += 1,
                // Somebody removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                done => return done,
            }
        }
    }
}
