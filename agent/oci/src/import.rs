//! Images from an archive: OCI image layout or what `docker save` writes, plain or compressed.

use crate::layers::{self, LayerError, digest, digest_of};
use crate::manifest::{self, ConfigFile, Descriptor, Manifest, ManifestError};
use crate::store::{Origin, Record};
use crate::{Image, Reference, Store, StoreError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Manifests and configs are a few KiB.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// Why an archive was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no archive, or ends too early.
    #[error("import: the archive cannot be read: {0}")]
    Archive(io::Error),
    /// It holds no image.
    #[error(
        "import: the archive is neither an OCI image layout nor from docker save: it has no index.json and no manifest.json"
    )]
    NoImage,
    /// A part of an image is not in it.
    #[error("import: the archive lacks {0}")]
    Missing(String),
    /// A part is not what its name says.
    #[error("import: {expected} in the archive has the digest {found}")]
    Digest {
        /// Its name.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Documents that are of no use.
    #[error("import: an image of the archive: {0}")]
    Manifest(#[from] ManifestError),
    /// A layer that is of no use.
    #[error("import: {0}")]
    Layer(#[from] LayerError),
    /// The store's own trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One entry of docker save's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The archive's files on disk, since they come in any order.
struct Spool {
    dir: PathBuf,
    files: BTreeMap<PathBuf, PathBuf>,
}

impl Store {
    /// Takes an archive; blocks. Returns every image that it held. All of it is taken, or nothing of it stays.
    pub fn import(&self, archive: impl Read) -> Result<Vec<Image>, ImportError> {
        let arriving = self.arrive();
        let taken = self.take(archive);
        drop(arriving);
        if taken.is_err() {
            // Layers of it that were good are nobody's now.
            self.remove_unneeded()?;
        }
        taken
    }

    fn take(&self, archive: impl Read) -> Result<Vec<Image>, ImportError> {
        let spool = Spool::read(&self.dir.join("unpacking"), archive)?;
        let records = if spool.has("index.json") {
            self.import_layout(&spool)?
        } else if spool.has("manifest.json") {
            self.import_saved(&spool)?
        } else {
            return Err(ImportError::NoImage);
        };
        records.into_iter().map(|record| Ok(self.add(record)?)).collect()
    }

    fn import_layout(&self, spool: &Spool) -> Result<Vec<Record>, ImportError> {
        let Manifest::List(manifests) = Manifest::parse(&spool.document("index.json")?)? else {
            return Err(ImportError::NoImage);
        };
        manifests
            .iter()
            .map(|descriptor| self.import_manifest(spool, descriptor))
            .collect()
    }

    fn import_manifest(&self, spool: &Spool, descriptor: &Descriptor) -> Result<Record, ImportError> {
        let names = name_of(descriptor).into_iter().collect();
        let text = spool.blob_document(&descriptor.digest)?;
        let (digest, config, layers) = match Manifest::parse(&text)? {
            Manifest::Image { config, layers } => (descriptor.digest.clone(), config, layers),
            Manifest::List(variants) => {
                let chosen = manifest::choose(&variants)?;
                match Manifest::parse(&spool.blob_document(&chosen.digest)?)? {
                    Manifest::Image { config, layers } => (chosen.digest.clone(), config, layers),
                    Manifest::List(_) => return Err(ImportError::NoImage),
                }
            }
        };
        let file = ConfigFile::parse(&spool.blob_document(&config.digest)?, layers.len())?;
        for (diff_id, layer) in file.diff_ids().iter().zip(&layers) {
            let path = spool.path(&blob_name(&layer.digest))?;
            let found = digest_of(path).map_err(ImportError::Archive)?;
            if found != layer.digest {
                return Err(ImportError::Digest {
                    expected: layer.digest.clone(),
                    found,
                });
            }
            self.layers
                .unpack(diff_id, File::open(path).map_err(ImportError::Archive)?)?;
        }
        Ok(Record {
            id: config.digest,
            digest,
            names,
            diff_ids: file.diff_ids().to_vec(),
            config: file.into_config(),
            origin: Origin::Archive,
        })
    }

    fn import_saved(&self, spool: &Spool) -> Result<Vec<Record>, ImportError> {
        let saved: Vec<Saved> =
            serde_json::from_slice(&spool.document("manifest.json")?).map_err(|cause| ManifestError::Unreadable {
                what: "manifest",
                why: cause.to_string(),
            })?;
        saved.iter().map(|image| self.import_one_saved(spool, image)).collect()
    }

    fn import_one_saved(&self, spool: &Spool, saved: &Saved) -> Result<Record, ImportError> {
        let text = spool.document(&saved.config)?;
        let id = digest(&text);
        let file = ConfigFile::parse(&text, saved.layers.len())?;
        for (diff_id, layer) in file.diff_ids().iter().zip(&saved.layers) {
            let archive = File::open(spool.path(layer)?).map_err(ImportError::Archive)?;
            self.layers.unpack(diff_id, archive)?;
        }
        let tags = saved.repo_tags.iter().flatten();
        Ok(Record {
            // docker save keeps no manifest, so there is no other digest to know it by.
            digest: id.clone(),
            id,
            names: tags
                .filter_map(|tag| tag.parse::<Reference>().ok())
                .map(|name| name.to_string())
                .collect(),
            diff_ids: file.diff_ids().to_vec(),
            config: file.into_config(),
            origin: Origin::Archive,
        })
    }
}

/// containerd's and docker's annotation first; the standard's is often a tag alone, which names nothing.
fn name_of(descriptor: &Descriptor) -> Option<String> {
    let annotation = |key: &str| descriptor.annotations.get(key);
    let full = annotation("io.containerd.image.name");
    let standard = annotation("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']));
    full.or(standard)?
        .parse::<Reference>()
        .ok()
        .map(|name| name.to_string())
}

fn blob_name(digest: &str) -> String {
    format!("blobs/sha256/{}", layers::hex(digest))
}

// === impl Spool ===

impl Spool {
    fn read(dir: &Path, archive: impl Read) -> Result<Spool, ImportError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut spool = Spool {
            dir: dir.join(format!("import.{}", NEXT.fetch_add(1, Ordering::Relaxed))),
            files: BTreeMap::new(),
        };
        fs::create_dir_all(&spool.dir).map_err(ImportError::Archive)?;
        let mut archive = tar::Archive::new(layers::plain(archive).map_err(ImportError::Archive)?);
        let mut links = Vec::new();
        for entry in archive.entries().map_err(ImportError::Archive)? {
            let mut entry = entry.map_err(ImportError::Archive)?;
            let name = normal(&entry.path().map_err(ImportError::Archive)?);
            if entry.header().entry_type().is_file() {
                // Named by us: nothing in the archive decides where it goes.
                let path = spool.dir.join(spool.files.len().to_string());
                let mut file = File::create(&path).map_err(ImportError::Archive)?;
                io::copy(&mut entry, &mut file).map_err(ImportError::Archive)?;
                spool.files.insert(name, path);
            } else if let Some(target) = entry.link_name().map_err(ImportError::Archive)? {
                let is_hard = entry.header().entry_type().is_hard_link();
                let base = if is_hard {
                    Path::new("")
                } else {
                    name.parent().unwrap_or(Path::new(""))
                };
                links.push((name.clone(), normal(&base.join(target))));
            }
        }
        // docker save links layers that are the same.
        for (name, target) in links {
            if let Some(path) = spool.files.get(&target).cloned() {
                spool.files.insert(name, path);
            }
        }
        Ok(spool)
    }

    fn has(&self, name: &str) -> bool {
        self.files.contains_key(Path::new(name))
    }

    fn path(&self, name: &str) -> Result<&Path, ImportError> {
        let path = self.files.get(&normal(Path::new(name)));
        path.map(PathBuf::as_path)
            .ok_or_else(|| ImportError::Missing(name.to_owned()))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, ImportError> {
        let mut text = Vec::new();
        let file = File::open(self.path(name)?).map_err(ImportError::Archive)?;
        file.take(LARGEST_DOCUMENT)
            .read_to_end(&mut text)
            .map_err(ImportError::Archive)?;
        Ok(text)
    }

    fn blob_document(&self, expected: &str) -> Result<Vec<u8>, ImportError> {
        let text = self.document(&blob_name(expected))?;
        let found = digest(&text);
        if found == expected {
            Ok(text)
        } else {
            Err(ImportError::Digest {
                expected: expected.to_owned(),
                found,
            })
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Otherwise the next start removes it.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Without `.` and with `..` taken back.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    normal
}
