//! The images of this node: a folder of unpacked layers, and a small file for each image.

use crate::layers::{Layers, hex, sync};
use crate::{Config, Image, Reference, SignaturePolicy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The folder; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) layers: Layers,
    /// How many pulls and imports are on their way, whose layers no image names yet.
    arriving: Arc<Mutex<usize>>,
    /// Blobs on their way, each with a lock: two pulls that share a layer fetch it once.
    downloads: Arc<Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// Why the folder could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder of it.
    #[error("image store: {what} {path}: {cause}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
}

/// An image as its file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) digest: String,
    pub(crate) names: Vec<String>,
    /// Lowest first, as its config has them.
    pub(crate) diff_ids: Vec<String>,
    pub(crate) config: Config,
    #[serde(default)]
    pub(crate) origin: Origin,
}

/// Why an image may be trusted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// It came from a registry, as it was.
    #[default]
    Registry,
    /// It came from a registry and was signed with this key.
    Signed(String),
    /// Whoever administers the machine sent it.
    Archive,
}

/// While it lives, no layer is removed.
pub(crate) struct Arriving(Arc<Mutex<usize>>);

// === impl Store ===

impl Store {
    /// Makes the folder when it is missing and removes what an interrupted pull left torn; downloads go on where they stopped.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        for name in ["images", "blobs"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(failed("make folder", &path))?;
        }
        Ok(Store {
            layers: Layers::open(dir).map_err(failed("make the folder of layers in", dir))?,
            dir: dir.to_owned(),
            arriving: Arc::default(),
            downloads: Arc::default(),
        })
    }

    /// By name (as people write it), image ID or manifest digest.
    pub fn get(&self, name_or_id: &str) -> Result<Option<Image>, StoreError> {
        let records = self.records()?;
        Ok(records
            .into_iter()
            .find(|record| record.answers_to(name_or_id))
            .map(|record| self.image(record)))
    }

    /// Whether what the machine's config wants of signatures holds for an image that is here. One that was sent as an archive
    /// is trusted: who may do that administers the machine.
    pub fn is_trusted(&self, image: &Image, name: &Reference, policy: &SignaturePolicy) -> Result<bool, StoreError> {
        let Some(keys) = policy.keys_for(name) else {
            return Ok(true);
        };
        let record = self.records()?.into_iter().find(|record| record.id == image.id);
        Ok(record.is_some_and(|record| match record.origin {
            Origin::Registry => false,
            Origin::Signed(by) => keys.iter().any(|key| key.id() == by),
            Origin::Archive => true,
        }))
    }

    /// All images, by their IDs.
    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        Ok(self.records()?.into_iter().map(|record| self.image(record)).collect())
    }

    /// Forgets a name, or with an image ID the image and all its names; layers that no image needs any more go. Whether there was one.
    /// The caller sees to it that no container uses it.
    pub fn remove(&self, name_or_id: &str) -> Result<bool, StoreError> {
        let arriving = self.lock();
        let Some(mut record) = self.records()?.into_iter().find(|record| record.answers_to(name_or_id)) else {
            return Ok(false);
        };
        let is_name = !record.is_digest(name_or_id);
        record.names.retain(|name| is_name && !names_equal(name, name_or_id));
        if is_name && !record.names.is_empty() {
            self.write(&record)?;
        } else {
            let path = self.record_path(&record.id);
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        self.collect(&arriving)?;
        Ok(true)
    }

    /// Removes the layers that no image needs.
    pub(crate) fn remove_unneeded(&self) -> Result<(), StoreError> {
        self.collect(&self.lock())
    }

    /// Removes the layers that no image needs, unless one is arriving, whose layers cannot be told from those.
    fn collect(&self, arriving: &MutexGuard<'_, usize>) -> Result<(), StoreError> {
        if **arriving > 0 {
            return Ok(());
        }
        let needed: Vec<String> = self.records()?.into_iter().flat_map(|record| record.diff_ids).collect();
        self.layers
            .keep_only(&needed)
            .map_err(failed("remove unneeded layers in", &self.dir))
    }

    /// Adds an image whose layers are all here, or names to one; a name that another had is that one's no more.
    pub(crate) fn add(&self, mut record: Record) -> Result<Image, StoreError> {
        let _lock = self.lock();
        for mut other in self.records()? {
            if other.id == record.id {
                let new = std::mem::take(&mut record.names);
                record.names = other.names.into_iter().filter(|name| !new.contains(name)).collect();
                record.names.extend(new);
            } else if other.names.iter().any(|name| record.names.contains(name)) {
                other.names.retain(|name| !record.names.contains(name));
                self.write(&other)?;
            }
        }
        self.write(&record)?;
        Ok(self.image(record))
    }

    pub(crate) fn arrive(&self) -> Arriving {
        *self.lock() += 1;
        Arriving(self.arriving.clone())
    }

    /// Whoever holds its lock downloads this blob.
    pub(crate) fn download(&self, digest: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut downloads = self.downloads.lock().unwrap_or_else(PoisonError::into_inner);
        downloads.retain(|_, lock| Arc::strong_count(lock) > 1);
        downloads.entry(digest.to_owned()).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        // Whoever panicked left files behind that are whole, each being renamed into place.
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn image(&self, record: Record) -> Image {
        Image {
            size: record.diff_ids.iter().filter_map(|id| self.layers.size(id)).sum(),
            layers: record.diff_ids.iter().rev().map(|id| self.layers.files(id)).collect(),
            id: record.id,
            digest: record.digest,
            names: record.names,
            config: record.config,
        }
    }

    /// Those whose layers are all here: a disk that was tampered with makes an image be pulled again, not run torn.
    fn records(&self) -> Result<Vec<Record>, StoreError> {
        let dir = self.dir.join("images");
        let mut records: Vec<Record> = Vec::new();
        for entry in fs::read_dir(&dir).map_err(failed("read", &dir))? {
            let path = entry.map_err(failed("read", &dir))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read(&path).map_err(failed("read", &path))?;
            match serde_json::from_slice::<Record>(&text) {
                Ok(record) if record.diff_ids.iter().all(|id| self.layers.size(id).is_some()) => records.push(record),
                Ok(record) => tracing::warn!(image = %record.id, "an image lacks layers and is treated as absent"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an image's file cannot be read and is ignored")
                }
            }
        }
        records.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(records)
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.dir.join("images").join(format!("{}.json", hex(id)))
    }

    fn write(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.record_path(&record.id);
        let new = path.with_extension("new");
        let text = serde_json::to_vec(record).map_err(|cause| failed("write", &new)(cause.into()))?;
        fs::write(&new, text).map_err(failed("write", &new))?;
        sync(&new).map_err(failed("write to disk", &new))?;
        fs::rename(&new, &path).map_err(failed("rename to", &path))
    }
}

// === impl Record ===

impl Record {
    fn is_digest(&self, name: &str) -> bool {
        name == self.id || name == self.digest
    }

    fn answers_to(&self, name_or_id: &str) -> bool {
        self.is_digest(name_or_id) || self.names.iter().any(|name| names_equal(name, name_or_id))
    }
}

fn names_equal(full: &str, written: &str) -> bool {
    full == written
        || written
            .parse::<Reference>()
            .is_ok_and(|reference| reference.to_string() == full)
}

impl Drop for Arriving {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |cause| StoreError::Io { what, path, cause }
}
