//! The images of this node: a folder of unpacked layers, manifests and names.

use crate::Image;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The folder.
#[derive(Clone, Debug)]
pub struct Store {
    #[expect(dead_code, reason = "filled in by the next commit")]
    dir: PathBuf,
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
        cause: std::io::Error,
    },
}

/// Why an archive was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store's own trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes the folder when it is missing and removes what an interrupted pull left.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        Ok(Store { dir: dir.to_owned() })
    }

    /// Takes an OCI layout or docker-save archive, plain or compressed; blocks. Returns every image that it held.
    pub fn import(&self, archive: impl Read) -> Result<Vec<Image>, ImportError> {
        let _ = archive;
        unimplemented!()
    }

    /// By name (as people write it), image ID or manifest digest.
    pub fn get(&self, name_or_id: &str) -> Result<Option<Image>, StoreError> {
        let _ = name_or_id;
        unimplemented!()
    }

    /// All images, by their IDs.
    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        unimplemented!()
    }

    /// Forgets a name, or with an image ID the image and all its names; layers that no image needs any more go. Whether there was one.
    pub fn remove(&self, name_or_id: &str) -> Result<bool, StoreError> {
        let _ = name_or_id;
        unimplemented!()
    }
}
