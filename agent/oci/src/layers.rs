//! Layers on disk: each unpacked once into a folder named by the digest of its archive, complete or not there at all.

use crate::extract::{self, BOUNDS, UnpackError};
use crate::intact;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder of unpacked layers, and beside it one for those that are being unpacked, and one for those that were damaged.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    complete: PathBuf,
    torn: PathBuf,
    aside: PathBuf,
}

/// What a complete layer's folder says of itself.
pub(crate) struct Record {
    size: u64,
    pub(crate) seal: Option<String>,
}

/// Why a layer is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Its contents.
    #[error("layer {diff_id}: {cause}")]
    Unpack {
        /// Digest of its archive, unpacked.
        diff_id: String,
        /// What is wrong.
        cause: UnpackError,
    },
    /// It is not what the image's config says.
    #[error("layer {expected} was unpacked and has the digest {found}; it is not what the image's config promises")]
    DiffId {
        /// In the config.
        expected: String,
        /// In truth.
        found: String,
    },
    /// The disk.
    #[error("layer {diff_id}: {what} {path}: {cause}")]
    Disk {
        /// Digest of its archive, unpacked.
        diff_id: String,
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
}

/// The unpacked files in a layer's folder; beside them `size`, which also has the [`intact::seal`].
const FILES: &str = "fs";
const SIZE: &str = "size";

// === impl Layers ===

impl Layers {
    /// Makes the folders and removes what an interrupted run left torn.
    pub(crate) fn open(dir: &Path) -> io::Result<Layers> {
        let layers = Layers {
            complete: dir.join("layers"),
            torn: dir.join("unpacking"),
            aside: dir.join("damaged"),
        };
        fs::create_dir_all(&layers.complete)?;
        if layers.torn.exists() {
            fs::remove_dir_all(&layers.torn)?;
        }
        fs::create_dir_all(&layers.torn)?;
        Ok(layers)
    }

    /// Where overlayfs finds it.
    pub(crate) fn files(&self, diff_id: &str) -> PathBuf {
        self.folder(diff_id).join(FILES)
    }

    /// Bytes of its files; nothing if it is not here.
    pub(crate) fn size(&self, diff_id: &str) -> Option<u64> {
        self.record(diff_id).map(|record| record.size)
    }

    /// Nothing if it is not here, or torn.
    pub(crate) fn record(&self, diff_id: &str) -> Option<Record> {
        let text = fs::read_to_string(self.folder(diff_id).join(SIZE)).ok()?;
        let mut words = text.split(' ');
        Some(Record {
            size: words.next()?.parse().ok()?,
            seal: words.next().map(str::to_owned),
        })
    }

    pub(crate) fn complete(&self) -> &Path {
        &self.complete
    }

    pub(crate) fn aside(&self) -> &Path {
        &self.aside
    }

    pub(crate) fn folder(&self, diff_id: &str) -> PathBuf {
        self.complete.join(hex(diff_id))
    }

    /// Unpacks an archive, plain or compressed, unless it is here already.
    pub(crate) fn unpack(&self, diff_id: &str, archive: impl Read) -> Result<(), LayerError> {
        if self.size(diff_id).is_some() {
            return Ok(());
        }
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let torn = self
            .torn
            .join(format!("{}.{}", hex(diff_id), NEXT.fetch_add(1, Ordering::Relaxed)));
        let done = self.unpack_into(diff_id, archive, &torn);
        if done.is_err() {
            // Otherwise the next start removes it.
            let _ = fs::remove_dir_all(&torn);
        }
        done
    }

    fn unpack_into(&self, diff_id: &str, archive: impl Read, torn: &Path) -> Result<(), LayerError> {
        let disk = |what, path: &Path| {
            let (diff_id, path) = (diff_id.to_owned(), path.to_owned());
            move |cause| LayerError::Disk {
                diff_id,
                what,
                path,
                cause,
            }
        };
        let unpack = |cause| LayerError::Unpack {
            diff_id: diff_id.to_owned(),
            cause,
        };
        let files = torn.join(FILES);
        fs::create_dir_all(&files).map_err(disk("make folder", &files))?;
        let mut archive = Hashing::new(plain(archive).map_err(|cause| unpack(UnpackError::Archive(cause)))?);
        let size = extract::extract(&mut archive, &files, BOUNDS).map_err(unpack)?;
        // The archive's padding is part of its digest; a bomb behind its end is cut off by the same bound.
        let rest = io::copy(&mut (&mut archive).take(BOUNDS.bytes), &mut io::sink());
        rest.map_err(|cause| unpack(UnpackError::Archive(cause)))?;
        let found = archive.digest();
        if found != diff_id {
            return Err(LayerError::DiffId {
                expected: diff_id.to_owned(),
                found,
            });
        }
        let record = format!("{size} {}", intact::seal(&files));
        fs::write(torn.join(SIZE), record).map_err(disk("write", torn))?;
        // What is renamed must be on disk before its name is, or a power cut makes a torn layer look complete.
        sync(torn).map_err(disk("write to disk", torn))?;
        let folder = self.folder(diff_id);
        match fs::rename(torn, &folder) {
            // Somebody else unpacked the same meanwhile.
            Err(_) if self.size(diff_id).is_some() => fs::remove_dir_all(torn).map_err(disk("remove", torn)),
            // Something stands there that is no layer any more.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                self.put_aside(diff_id).map_err(disk("put aside", &folder))?;
                fs::rename(torn, &folder).map_err(disk("rename to", &folder))
            }
            done => done.map_err(disk("rename to", &folder)),
        }
    }

    /// Removes every layer that is none of these.
    pub(crate) fn keep_only(&self, needed: &[String]) -> io::Result<()> {
        for entry in fs::read_dir(&self.complete)? {
            let entry = entry?;
            let is_needed = needed.iter().any(|id| entry.file_name() == hex(id));
            if !is_needed {
                // Renamed first, so that a half-removed layer is never seen as complete.
                let torn = self.torn.join(entry.file_name());
                fs::rename(entry.path(), &torn)?;
                fs::remove_dir_all(&torn)?;
            }
        }
        Ok(())
    }
}

/// Everything that was written to this file system is on disk afterwards.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(path)?).map_err(io::Error::from)
}

pub(crate) fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// What its first bytes say that it is: gzip (RFC 1952), zstd (RFC 8878) or nothing of that.
pub(crate) fn plain<'a>(archive: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut archive = BufReader::with_capacity(128 << 10, archive);
    let start = io::BufRead::fill_buf(&mut archive)?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(archive)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(zstd::stream::read::Decoder::with_buffer(archive)?));
    }
    Ok(Box::new(archive))
}

/// Hashes what is read through it.
pub(crate) struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Hashing {
            inner,
            hash: Sha256::new(),
        }
    }

    pub(crate) fn digest(self) -> String {
        name(&self.hash.finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

/// The digest of some bytes, as it is written.
pub(crate) fn digest(bytes: &[u8]) -> String {
    name(&Sha256::digest(bytes))
}

/// The digest of a file.
pub(crate) fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = Hashing::new(File::open(path)?);
    let mut buffer = vec![0; 256 << 10];
    while file.read(&mut buffer)? > 0 {}
    Ok(file.digest())
}

fn name(hash: &[u8]) -> String {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
